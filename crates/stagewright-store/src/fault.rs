//! Faults on purpose, for tests: what happens when the process ends, or an operation fails, at any
//! place where the store changes a file.
//!
//! Without the feature `fault-points`, and in every release build, nothing of this is there.

#[cfg(all(feature = "fault-points", debug_assertions))]
pub use armed::{Fault, Operation, arm, begin_boot, passed, trace};
#[cfg(all(feature = "fault-points", debug_assertions))]
pub(crate) use armed::{boot, point, tears};

#[cfg(not(all(feature = "fault-points", debug_assertions)))]
pub(crate) use absent::{boot, point, tears};

#[cfg(not(all(feature = "fault-points", debug_assertions)))]
mod absent {
    use std::io;
    use std::path::Path;

    #[inline(always)]
    pub(crate) fn point(_operation: &'static str, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    #[inline(always)]
    pub(crate) fn tears() -> bool {
        false
    }

    #[inline(always)]
    pub(crate) fn boot(real: &str) -> String {
        real.to_owned()
    }
}

#[cfg(all(feature = "fault-points", debug_assertions))]
mod armed {
    use std::io;
    use std::path::{Path, PathBuf};
    use std::sync::{Mutex, PoisonError};

    /// What happens at a point.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Fault {
        /// The process is killed.
        Kill,
        /// This operation fails with an error number.
        Error(i32),
        /// This operation and all after it fail with an error number.
        ErrorFromHere(i32),
    }

    /// An operation that was begun.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Operation {
        /// What it does.
        pub name: &'static str,
        /// With which file.
        pub path: PathBuf,
    }

    #[derive(Debug)]
    struct State {
        fault: Option<(u64, Fault)>,
        passed: u64,
        trace: Option<Vec<Operation>>,
        boot: Option<String>,
    }

    // A test's own process is all that this counts in: it is not there in a program.
    static STATE: Mutex<State> = Mutex::new(State {
        fault: None,
        passed: 0,
        trace: None,
        boot: None,
    });

    fn state() -> std::sync::MutexGuard<'static, State> {
        STATE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a fault happen at the `n`th point from here on, counted from 0, or none any more.
    pub fn arm(fault: Option<(u64, Fault)>) {
        let mut state = state();
        state.fault = fault;
        state.passed = 0;
    }

    /// Returns how many points were passed since [`arm`].
    pub fn passed() -> u64 {
        state().passed
    }

    /// Begins to note operations, and returns those noted before.
    pub fn trace() -> Vec<Operation> {
        state().trace.replace(Vec::new()).unwrap_or_default()
    }

    /// Has this process believe that the machine was started anew, under a name.
    pub fn begin_boot(name: &str) {
        state().boot = Some(name.to_owned());
    }

    /// Returns what names the boot, where the machine says `real`.
    pub(crate) fn boot(real: &str) -> String {
        state().boot.clone().unwrap_or_else(|| real.to_owned())
    }

    pub(crate) fn point(operation: &'static str, path: &Path) -> io::Result<()> {
        let mut state = state();
        let at = state.passed;
        state.passed += 1;
        if let Some(trace) = &mut state.trace {
            trace.push(Operation {
                name: operation,
                path: path.to_owned(),
            });
        }
        match state.fault {
            Some((n, Fault::Kill)) if n == at => {
                let own = rustix::process::getpid();
                let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
                Err(io::Error::other("the process is being killed"))
            }
            Some((n, Fault::Error(number))) if n == at => Err(io::Error::from_raw_os_error(number)),
            Some((n, Fault::ErrorFromHere(number))) if n <= at => {
                Err(io::Error::from_raw_os_error(number))
            }
            _ => Ok(()),
        }
    }

    /// Says whether writes are done in halves, with a point between them.
    pub(crate) fn tears() -> bool {
        state().fault.is_some()
    }
}
