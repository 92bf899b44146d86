//! The process outside: takes the request, watches the caller, passes reports on.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use crate::enter;
use crate::message::{Failure, FailureKind, Means, Report, Request, Way};
use crate::step::{Network, Step};
use crate::sys;
use crate::trouble::Doing;
use crate::cgroups::Cgroups;
use crate::network::Connector;
use crate::stack::Stack;
use crate::{bare, probe, trees, wire};

/// The control socket.
pub(crate) fn control() -> BorrowedFd<'static> {
    // SAFETY is not needed here: descriptor 0 is open for the whole life of this program.
    sys::standard_input()
}

/// Takes the request and does it.
pub(crate) fn serve() {
    let Some((bytes, stdin)) = receive_message() else { return };
    let report = match wire::parse::<Request>(&bytes) {
        Ok(Request::Run { step, means, terminal }) => {
            let input = Input { stdin, terminal };
            match means.way {
                Way::Chroot => bare::run(&step, &means, input),
                _ => run(step, means, input),
            }
        }
        Ok(Request::Tree { map }) => trees::serve(map),
        Ok(Request::Probe { scratch, means }) => probe::serve(&scratch, &means),
        Err(_) => Err(unsupported("a request that is not of this version")),
    };
    if let Err(failure) = report {
        send(&Report::Failed { failure });
    }
}

pub(crate) fn unsupported(what: &str) -> Failure {
    Failure {
        kind: FailureKind::Unsupported,
        doing: format!("{what} is not supported"),
        subject: wire::Bytes(Vec::new()),
        errno: 0,
    }
}

/// Sends a report to the caller, if it is still there.
pub(crate) fn send(report: &Report) {
    let _ = sys::send_all(control(), &wire::message(report));
}

/// Receives a message, and the step's standard input if it has one.
pub(crate) fn receive_message() -> Option<(Vec<u8>, Option<OwnedFd>)> {
    let (length, stdin) = receive_exactly(4)?;
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    if length > wire::MESSAGE_BYTES_MAX {
        return None;
    }
    let (bytes, _) = receive_exactly(length)?;
    Some((bytes, stdin))
}

fn receive_exactly(count: usize) -> Option<(Vec<u8>, Option<OwnedFd>)> {
    let mut bytes = vec![0; count];
    let mut descriptor = None;
    let mut filled = 0;
    while filled < count {
        let (received, came) = sys::receive(control(), &mut bytes[filled..]).ok()?;
        if received == 0 {
            return None;
        }
        filled += received;
        descriptor = descriptor.or(came);
    }
    Some((bytes, descriptor))
}

/// The standard input of a step.
pub(crate) struct Input {
    /// Nothing for none.
    pub(crate) stdin: Option<OwnedFd>,
    /// Whether it is a terminal that becomes the step's own.
    pub(crate) terminal: bool,
}

fn run(step: Step, means: Means, input: Input) -> Result<(), Failure> {
    let cgroups = Cgroups::open(&means.cgroups)?;
    let connector = Connector::prepare(step.network, &means)?;
    leave_mounts(&means)?;
    let stack = Stack::of(&step.root, &means)?;
    leave_rest(step.network)?;
    if let Some(connector) = &connector {
        connector.connect(&means)?;
    }
    let (reports, report_to) = sys::pipe().doing("making a pipe", "")?;
    let child = sys::split().doing("starting process 1", "")?;
    if child == 0 {
        drop(reports);
        enter::process_one(&step, &means, &cgroups, input, report_to);
    }
    drop(input);
    drop(report_to);
    release_output();
    watch(child, &reports);
    if let Some(stack) = stack {
        stack.end();
    }
    if let Some(connector) = connector {
        connector.end();
    }
    match cgroups.kills() {
        0 => {}
        kills => send(&Report::OutOfMemory { kills }),
    }
    cgroups.remove();
    Ok(())
}

/// Leaves the caller's namespaces for those of a step.
pub(crate) fn leave(means: &Means, network: Network) -> Result<(), Failure> {
    leave_mounts(means)?;
    leave_rest(network)
}

/// Joins the user namespace, and sees and changes mounts of its own from here on.
fn leave_mounts(means: &Means) -> Result<(), Failure> {
    if let Some(namespace) = &means.user_namespace {
        sys::join_user_namespace(namespace).doing("joining the user namespace", namespace)?;
    }
    sys::unshare(sys::CLONE_NEWNS).doing("making namespaces", "")
}

fn leave_rest(network: Network) -> Result<(), Failure> {
    let mut namespaces = sys::CLONE_NEWPID | sys::CLONE_NEWIPC | sys::CLONE_NEWUTS;
    if network != Network::Host {
        namespaces |= sys::CLONE_NEWNET;
    }
    sys::unshare(namespaces).doing("making namespaces", "")
}

/// Lets go of the step's output, so that its end is the end of the step.
pub(crate) fn release_output() {
    if let Ok(null) = sys::open("/dev/null".as_ref(), sys::O_RDWR, 0) {
        let _ = sys::dup_onto(std::os::fd::AsFd::as_fd(&null), 1);
        let _ = sys::dup_onto(std::os::fd::AsFd::as_fd(&null), 2);
    }
}

/// Passes reports on until process 1 ends, and ends it when the caller goes.
fn watch(child: i32, reports: &OwnedFd) {
    let mut open = true;
    while open {
        let mut fds = [
            sys::PollFd { fd: control().as_raw_fd(), events: sys::POLLIN, revents: 0 },
            sys::PollFd { fd: reports.as_raw_fd(), events: sys::POLLIN, revents: 0 },
        ];
        if sys::poll(&mut fds, -1).is_err() {
            break;
        }
        if fds[0].revents != 0 {
            // Nothing follows the request: this is the end of the socket.
            sys::kill(child, sys::SIGKILL);
            break;
        }
        if fds[1].revents != 0 {
            open = pass_on(reports);
        }
    }
    sys::wait(child);
}

/// Passes on what has come of reports. Returns whether more can come.
pub(crate) fn pass_on(reports: &OwnedFd) -> bool {
    let mut bytes = [0; 4096];
    match sys::read(std::os::fd::AsFd::as_fd(reports), &mut bytes) {
        Ok(count) if count > 0 => {
            let _ = sys::send_all(control(), &bytes[..count]);
            true
        }
        _ => false,
    }
}
