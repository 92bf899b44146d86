//! Processes of a step that lost whoever would have ended them.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

/// How often they are looked for: what is not found the first time was just being started.
const PASSES_MAX: usize = 1000;
/// How long those that were killed are waited for: one ends no earlier than what the kernel does for it.
const END_MAX: Duration = Duration::from_secs(10);

/// Ends the processes whose root directory is a folder or lies in it.
///
/// Where no namespaces can be made, nothing but its root directory tells that a process belongs to a
/// step when both processes that watch over it were killed. No step may change that directory.
pub fn end_processes_in(folder: &Path) {
    let Ok(folder) = fs_err::canonicalize(folder) else {
        return;
    };
    let began = Instant::now();
    for _ in 0..PASSES_MAX {
        let found = processes_in(&folder);
        if found.is_empty() {
            return;
        }
        let killed: Vec<OwnedFd> = found
            .into_iter()
            .filter_map(|process| kill(process, &folder))
            .collect();
        // They lose their root directory before they have ended, and are found no more then.
        for process in killed {
            let Some(left) = END_MAX.checked_sub(began.elapsed()) else {
                return;
            };
            let left = Timespec::try_from(left).ok();
            let mut ended = [PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
            let _ = poll(&mut ended, left.as_ref());
        }
        std::thread::yield_now();
    }
}

/// Kills a process, and returns what tells when it has ended. One that has ended meanwhile is what is wanted.
fn kill(process: Pid, folder: &Path) -> Option<OwnedFd> {
    let Ok(held) = pidfd_open(process, PidfdFlags::empty()) else {
        // There are containers that refuse this.
        let _ = kill_process(process, Signal::KILL);
        return None;
    };
    // Another one may have got its number before it was held.
    if !is_in(process.as_raw_nonzero().get(), folder) {
        return None;
    }
    let _ = pidfd_send_signal(&held, Signal::KILL);
    Some(held)
}

fn processes_in(folder: &Path) -> Vec<Pid> {
    let all = fs_err::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        is_in(number, folder).then(|| Pid::from_raw(number))?
    })
    .collect()
}

/// Says whether the root directory of a process is a folder or lies in it.
fn is_in(process: i32, folder: &Path) -> bool {
    let root = fs_err::read_link(format!("/proc/{process}/root"));
    root.is_ok_and(|root| root.starts_with(folder))
}
