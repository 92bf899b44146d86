//! `RUN`.

use std::collections::BTreeMap;

use stagewright_dockerfile::mount::Mount;
use stagewright_oci::Platform;

/// Runs one command in a root file system (input 0).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOp {
    /// The program and its arguments, with the shell in front where the shell form was used.
    pub argv: Vec<String>,
    /// The environment that is part of the key: the image's `ENV` and every `ARG` in scope.
    pub env: BTreeMap<String, String>,
    /// Environment that is not part of the key: the predefined proxy arguments.
    pub env_unkeyed: BTreeMap<String, String>,
    /// The working directory, absolute.
    pub cwd: String,
    /// The user as `USER` has it; empty for root.
    pub user: String,
    /// The name of the host that it sees; the builder's default if absent.
    pub hostname: Option<String>,
    /// The platform of the root file system, whose programs are run.
    pub platform: Platform,
    /// The mounts, in the order given.
    pub mounts: Vec<PlanMount>,
    /// The network that it sees.
    pub network: NetworkMode,
    /// Whether it is confined.
    pub security: SecurityMode,
    /// A heredoc whose first line is `#!`: an executable put beside the command.
    pub script: Option<HeredocScript>,
}

/// A heredoc script that a step runs as its program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeredocScript {
    /// Where the step finds it: `/dev/pipes/NAME`.
    pub target: String,
    /// Its text.
    pub text: String,
}

/// A mount of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanMount {
    /// The mount as it was written, with variables expanded and its target absolute.
    pub mount: Mount,
    /// What it takes its files from.
    pub op: MountOp,
}

/// What a mount takes its files from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountOp {
    /// Files of another vertex: the place of that vertex among the inputs.
    Input(usize),
    /// Nothing: an empty cache directory, tmpfs, a secret, an ssh agent.
    None,
}

/// The network of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NetworkMode {
    /// The builder's default.
    #[default]
    Default,
    /// The host's network.
    Host,
    /// Loopback only.
    None,
}

/// The confinement of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecurityMode {
    /// Docker's default capabilities and system call filter.
    #[default]
    Sandbox,
    /// All that the builder may do. Needs the entitlement `security.insecure`.
    Insecure,
}
