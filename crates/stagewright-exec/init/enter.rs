//! Process 1 of a step: makes the root, starts the program, reaps, cleans up.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use crate::cgroups::Cgroups;
use crate::message::{Failure, Means, Report};
use crate::outside::Input;
use crate::step::{Exit, Network, Step};
use crate::guards::without;
use crate::sys;
use crate::trouble::Doing;
use crate::program::{self, Confinement};
use crate::{root, wire};

/// Runs the step and ends.
pub(crate) fn process_one(
    step: &Step,
    means: &Means,
    cgroups: &Cgroups,
    input: Input,
    report_to: OwnedFd,
) -> ! {
    let send = |report: &Report| {
        // Who does not listen any more has killed this process.
        let _ = sys::write_all(report_to.as_fd(), &wire::message(report));
    };
    match run(step, means, cgroups, input, &report_to) {
        Ok(Some(exit)) => send(&Report::Ended { exit }),
        Ok(None) => {}
        Err(failure) => send(&Report::Failed { failure }),
    }
    sys::exit(0)
}

fn run(
    step: &Step,
    means: &Means,
    cgroups: &Cgroups,
    input: Input,
    report_to: &OwnedFd,
) -> Result<Option<Exit>, Failure> {
    sys::die_with_parent().doing("tying the step to its caller", "")?;
    if nobody_listens(report_to) {
        // The parent was gone before the tie was made.
        sys::exit(1);
    }
    if !without("tracing") {
        sys::forbid_tracing().doing("protecting process 1", "")?;
    }
    // First, so that the step sees its own as the top one.
    cgroups.enter()?;
    match sys::unshare(sys::CLONE_NEWCGROUP) {
        // A kernel without cgroups.
        Err(error) if error.raw_os_error() == Some(sys::EINVAL) => {}
        other => other.doing("making a cgroup namespace", "")?,
    }
    if !without("keyring") {
        new_keyring()?;
    }
    match sys::set_hostname(&step.hostname) {
        // The filter of a container may refuse what its namespaces would allow: the step then has
        // the container's name.
        Err(error)
            if means.user_namespace.is_some() && error.raw_os_error() == Some(sys::EPERM) => {}
        other => other.doing("setting the host's name", &step.hostname)?,
    }
    if step.network != Network::Host {
        sys::loopback_up().doing("bringing the loopback interface up", "lo")?;
    }
    let stubs = root::enter(step, means)?;
    let child = sys::split().doing("starting the program", "")?;
    if child == 0 {
        program::start(step, &Confinement::Namespaces, &input, report_to);
    }
    drop(input);
    let mut exit = None;
    while exit.is_none() {
        match sys::wait(-1) {
            Some((pid, status)) if pid == child => exit = Some(exit_of(status)),
            Some(_) => {}
            None => break,
        }
    }
    // What the program left running ends with it.
    sys::kill(-1, sys::SIGKILL);
    while sys::wait(-1).is_some() {}
    stubs.remove();
    Ok(exit)
}

/// Returns whether the other end of the reports, which only the parent holds, is closed.
fn nobody_listens(report_to: &OwnedFd) -> bool {
    let mut fds = [sys::PollFd { fd: report_to.as_raw_fd(), events: 0, revents: 0 }];
    sys::poll(&mut fds, 0).unwrap_or(false) && fds[0].revents & sys::POLLERR != 0
}

/// Keys of the caller's session are not the step's.
fn new_keyring() -> Result<(), Failure> {
    match sys::new_keyring() {
        // Without keyrings, or where they are forbidden, the step reaches none either.
        Err(error) if [sys::ENOSYS, sys::EPERM].contains(&error.raw_os_error().unwrap_or(0)) => {
            Ok(())
        }
        other => other.doing("making a keyring", ""),
    }
}

pub(crate) fn exit_of(status: i32) -> Exit {
    match status & 0x7f {
        0 => Exit::Code(status >> 8 & 0xff),
        signal => Exit::Signal(signal),
    }
}
