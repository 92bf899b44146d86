//! Steps where no namespaces can be made: a changed root directory, and nothing else.
//!
//! As no process 1 takes all others with it, the processes of a step are found by their parents:
//! both the one that watches the caller and the one that starts the program adopt orphans, and what
//! either still has below it at the end of the step is ended. Each outlives the other's violent end:
//! one sees it by its child, the other by the end of the pipe that its reports go into.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use crate::cgroups::Cgroups;
use crate::covers::Covers;
use crate::enter::exit_of;
use crate::message::{Failure, Means, Report};
use crate::outside::{Input, control, pass_on, release_output, send, unsupported};
use crate::program::{self, Confinement};
use crate::step::{Exit, Network, RootFs, Step};
use crate::sys::{self, Children};
use crate::trouble::Doing;
use crate::wire;

/// Runs the step; the process that watches the caller.
pub(crate) fn run(step: &Step, means: &Means, input: Input) -> Result<(), Failure> {
    if step.network != Network::Host {
        return Err(unsupported("a network other than the host's, where no namespaces can be made,"));
    }
    let RootFs::Directory(root) = &step.root else {
        return Err(unsupported("a root of layers, where nothing can be mounted,"));
    };
    let cgroups = Cgroups::open(&means.cgroups)?;
    sys::adopt_orphans().doing("adopting orphans", "")?;
    let (reports, report_to) = sys::pipe().doing("making a pipe", "")?;
    let child = sys::split().doing("starting the step", "")?;
    if child == 0 {
        drop(reports);
        let send = |report: &Report| {
            let _ = sys::write_all(report_to.as_fd(), &wire::message(report));
        };
        match attend(step, means, root, &cgroups, input, &report_to) {
            Ok(Some(exit)) => send(&Report::Ended { exit }),
            Ok(None) => {}
            Err(failure) => send(&Report::Failed { failure }),
        }
        sys::exit(0);
    }
    drop(input);
    drop(report_to);
    release_output();
    watch(child, &reports);
    end_children();
    match cgroups.kills() {
        0 => {}
        kills => send(&Report::OutOfMemory { kills }),
    }
    cgroups.remove();
    Ok(())
}

/// Passes reports on until the child ends; when the caller goes, ends what is below the child, which
/// then puts the root in order and ends.
fn watch(child: i32, reports: &OwnedFd) {
    let mut open = true;
    while open {
        let mut fds = [
            sys::PollFd { fd: control().as_raw_fd(), events: sys::POLLIN, revents: 0 },
            sys::PollFd { fd: reports.as_raw_fd(), events: sys::POLLIN, revents: 0 },
        ];
        if sys::poll(&mut fds, -1).is_err() || fds[0].revents != 0 {
            while !sys::has_ended(child) {
                end_below(child);
                let _ = sys::poll(&mut [], 1);
            }
            return;
        }
        if fds[1].revents != 0 {
            open = pass_on(reports);
        }
    }
    sys::wait(child);
}

/// Prepares the root, runs the program in it, and puts the root in order.
fn attend(
    step: &Step,
    means: &Means,
    root: &std::path::Path,
    cgroups: &Cgroups,
    input: Input,
    report_to: &OwnedFd,
) -> Result<Option<Exit>, Failure> {
    sys::adopt_orphans().doing("adopting orphans", "")?;
    cgroups.enter()?;
    sys::umask(0);
    let mut covers = Covers::new(root)?;
    let result = covers
        .prepare(step, means)
        .and_then(|()| run_program(step, covers.root(), input, report_to));
    end_children();
    covers.undo()?;
    result
}

fn run_program(
    step: &Step,
    root: &OwnedFd,
    input: Input,
    report_to: &OwnedFd,
) -> Result<Option<Exit>, Failure> {
    let ends = sys::ends_of_children().doing("watching the program", "")?;
    let child = sys::split().doing("starting the program", "")?;
    if child == 0 {
        // The program takes signals as any does.
        sys::reset_signals();
        program::start(step, &Confinement::Root(root), &input, report_to);
    }
    drop(input);
    loop {
        match sys::reap_one() {
            Children::Ended(pid, status) if pid == child => return Ok(Some(exit_of(status))),
            Children::Ended(..) => {}
            Children::Running if await_change(&ends, report_to) => {}
            Children::Running | Children::Gone => return Ok(None),
        }
    }
}

/// Waits until a child has ended; returns whether the process that watches the caller is still there.
fn await_change(ends: &OwnedFd, report_to: &OwnedFd) -> bool {
    let mut fds = [
        sys::PollFd { fd: ends.as_raw_fd(), events: sys::POLLIN, revents: 0 },
        // Only that process holds the other end.
        sys::PollFd { fd: report_to.as_raw_fd(), events: 0, revents: 0 },
    ];
    if sys::poll(&mut fds, -1).is_err() || fds[1].revents != 0 {
        return false;
    }
    // What is read says only what `reap_one` is asked next.
    let _ = sys::read(ends.as_fd(), &mut [0; 128]);
    true
}

/// Ends all that is below this process.
fn end_children() {
    while !sys::reap() {
        end_below(sys::pid());
        let _ = sys::poll(&mut [], 1);
    }
}

/// Kills all that is below a process, as far as it is there by now.
fn end_below(pid: i32) {
    let below = below(pid);
    // What is stopped starts nothing that would have to be found.
    for signal in [sys::SIGSTOP, sys::SIGKILL] {
        for pid in &below {
            sys::kill(*pid, signal);
        }
    }
}

/// Returns the processes below one, parents before their children.
fn below(top: i32) -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for entry in processes {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name, in brackets, may hold anything; the state follows it, then the parent.
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| {
            rest.split_whitespace().nth(1)?.parse::<i32>().ok()
        });
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut waiting = vec![top];
    while let Some(pid) = waiting.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            found.push(child);
            waiting.push(child);
        }
    }
    found
}
