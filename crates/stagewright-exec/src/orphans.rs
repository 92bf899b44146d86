//! Processes of a step that lost whoever would have ended them.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// How often they are looked for: what is not found the first time was just being started.
const PASSES_MAX: usize = 1000;

/// Ends the processes whose root directory is a folder or lies in it.
///
/// Where no namespaces can be made, nothing but its root directory tells that a process belongs to a
/// step when both processes that watch over it were killed. No step may change that directory.
pub fn end_processes_in(folder: &Path) {
    let Ok(folder) = fs_err::canonicalize(folder) else {
        return;
    };
    for _ in 0..PASSES_MAX {
        let found = processes_in(&folder);
        if found.is_empty() {
            return;
        }
        for process in found {
            // One that has ended meanwhile is what is wanted.
            let _ = kill_process(process, Signal::KILL);
        }
        std::thread::yield_now();
    }
}

fn processes_in(folder: &Path) -> Vec<Pid> {
    let all = fs_err::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        let root = fs_err::read_link(entry.path().join("root")).ok()?;
        root.starts_with(folder).then(|| Pid::from_raw(number))?
    })
    .collect()
}
