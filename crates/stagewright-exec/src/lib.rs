//! Runs one process in a root file system, sandboxed.
//!
//! The library lives inside other people's programs with many threads, so that nothing of it may
//! run between `fork` and `exec`: a small executable without dependencies (`init/`) is embedded,
//! and each step is one start of it. [`Sandbox::probe`] finds out what the host can do,
//! [`Sandbox::run`] runs a [`Step`].

mod cgroup;
mod emulation;
mod error;
mod ids;
#[allow(
    dead_code,
    clippy::large_enum_variant,
    reason = "both ends share it; sent once a step"
)]
mod message;
mod namespace;
mod network;
mod orphans;
mod report;
mod sandbox;
mod step;
mod terminal;
mod tree;
#[allow(dead_code, reason = "both ends share it; the executable uses the rest")]
mod wire;

pub use emulation::{NoEmulator, emulator};
pub use error::{ExecError, ProbeError};
pub use ids::may_own_files;
pub use namespace::UserNamespace;
pub use orphans::end_processes_in;
pub use report::{HostFinding, HostReport, Mode, Stacking};
pub use sandbox::{CancelHandle, ProbeOptions, Sandbox, Stream};
pub use step::{
    Exit, Limits, Mount, NameServers, Network, ResolvConf, Resource, RootFs, Security, Step,
    Ulimit, User,
};
pub use tree::{TreeChange, TreeNode};
