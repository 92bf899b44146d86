//! What to run, and in what: plain data that the sandbox and the executable inside it share.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// One process to run in a root file system.
///
/// Everything is given: nothing is read from the caller's environment. Names of users and groups
/// are looked up by the caller, who knows the root file system's `/etc/passwd`.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The root file system.
    pub root: RootFs,
    /// The program and its arguments. A program without a slash is looked up in `PATH` of `env`.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// The working directory inside the root, absolute. It must be there.
    pub cwd: PathBuf,
    /// Who the process runs as.
    pub user: User,
    /// The host name that the process sees.
    pub hostname: String,
    /// What else is mounted, in order; a later mount may cover an earlier one.
    pub mounts: Vec<Mount>,
    /// Which network the process sees.
    pub network: Network,
    /// How much the process may do.
    pub security: Security,
    /// Whether the root is read-only (mounts keep their own setting).
    pub readonly_root: bool,
    /// Resource limits. A limit above what the host allows is lowered to what it allows.
    pub ulimits: Vec<Ulimit>,
    /// The size of `/dev/shm`.
    pub shm_bytes: u64,
    /// What `/etc/resolv.conf` shows.
    pub resolv_conf: ResolvConf,
    /// Lines added to `/etc/hosts`.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// The cgroup, below the host's cgroup root, that the step's own is made in; made if it is
    /// missing. Without it, the step's is made below or beside that of this process.
    pub cgroup_parent: Option<PathBuf>,
    /// Limits that need a cgroup.
    pub limits: Limits,
    /// The longest that the process may run; then everything in the step is killed.
    pub timeout: Option<Duration>,
}

impl Step {
    /// Returns a step with the defaults of an image build: root's ids, the host's network,
    /// sandboxed, 64 MiB of shared memory, the host's name servers.
    #[must_use]
    pub fn new(root: RootFs, argv: Vec<OsString>) -> Self {
        Self {
            root,
            argv,
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            user: User::default(),
            hostname: "buildkitsandbox".to_owned(),
            mounts: Vec::new(),
            network: Network::Host,
            security: Security::Sandbox,
            readonly_root: false,
            ulimits: Vec::new(),
            shm_bytes: 64 << 20,
            resolv_conf: ResolvConf::Host,
            extra_hosts: Vec::new(),
            cgroup_parent: None,
            limits: Limits::default(),
            timeout: None,
        }
    }
}

/// A root file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootFs {
    /// Layers under a writable directory, by overlayfs. Paths may hold any character.
    Overlay {
        /// The read-only layers, the topmost first; none for an empty root.
        lowers: Vec<PathBuf>,
        /// Where changes go. After the step it holds the step's changes and nothing of the
        /// sandbox.
        upper: PathBuf,
        /// An empty directory of the same file system as `upper`, for this step alone. The
        /// caller deletes it after the step.
        work: PathBuf,
    },
    /// A directory that holds the whole root and takes the changes.
    Directory(PathBuf),
}

/// Numeric ids, as the root file system knows them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The user.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// Something mounted into the root. Targets are absolute and resolved inside the root, symbolic
/// links included; what is missing is made for the step and leaves no trace in the layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    /// A directory or file of the host. A writable one changes the source: a cache directory.
    Bind {
        /// The path on the host.
        source: PathBuf,
        /// The path in the root.
        target: PathBuf,
        /// Whether writing is refused.
        readonly: bool,
    },
    /// A directory or file of the host that can be written, its changes thrown away.
    BindDiscard {
        /// The path on the host.
        source: PathBuf,
        /// The path in the root.
        target: PathBuf,
        /// An empty directory that takes the changes; the caller deletes it after the step.
        upper: PathBuf,
        /// An empty directory of the same file system as `upper`; likewise.
        work: PathBuf,
    },
    /// Layers of the host, stacked: read-only, or with changes going to a directory that the
    /// caller deletes after the step.
    Layers {
        /// The layers, the topmost first.
        lowers: Vec<PathBuf>,
        /// The path inside the stacked layers that is mounted; `/` or empty for all.
        source: PathBuf,
        /// The path in the root.
        target: PathBuf,
        /// Empty directories `(upper, work)` of one file system to make it writable, or `None`
        /// for read-only.
        scratch: Option<(PathBuf, PathBuf)>,
    },
    /// A file system in memory.
    Tmpfs {
        /// The path in the root.
        target: PathBuf,
        /// Its size, or `None` for the kernel's default.
        size_bytes: Option<u64>,
        /// The mode of its top directory.
        mode: u32,
    },
    /// A file that exists in memory only, read-only.
    Secret {
        /// What it holds.
        bytes: Vec<u8>,
        /// The path in the root.
        target: PathBuf,
        /// Its mode.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// A listening Unix socket of the host, such as an ssh agent's, that the step can connect
    /// to. The socket must be one that belongs to the build: its mode and owner are changed.
    Socket {
        /// The socket's path on the host.
        source: PathBuf,
        /// The path in the root.
        target: PathBuf,
        /// Its mode.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// A device of the host, or a directory of them, that the step can use as far as its user and the host let it.
    Device {
        /// The path on the host.
        source: PathBuf,
        /// The path in the root.
        target: PathBuf,
    },
}

impl Mount {
    /// Returns the path in the root.
    #[must_use]
    pub fn target(&self) -> &PathBuf {
        match self {
            Self::Bind { target, .. }
            | Self::BindDiscard { target, .. }
            | Self::Layers { target, .. }
            | Self::Tmpfs { target, .. }
            | Self::Secret { target, .. }
            | Self::Device { target, .. }
            | Self::Socket { target, .. } => target,
        }
    }
}

/// Which network a step sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The host's.
    Host,
    /// A loopback interface of its own and nothing else.
    None,
    /// One of its own, that the program `pasta` connects to the host's.
    Pasta,
    /// One of its own, that the program `slirp4netns` connects to the host's.
    Slirp4netns,
}

/// How much a step may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Docker's default capabilities and system calls, masked kernel files.
    Sandbox,
    /// Every capability that the mode can give, no filter, nothing masked.
    Insecure,
}

/// What `/etc/resolv.conf` shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ResolvConf {
    /// The host's.
    #[default]
    Host,
    /// The host's, with these in place of its own.
    With(NameServers),
    /// The root file system's own, if it has one.
    Image,
}

/// What stands in `/etc/resolv.conf`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameServers {
    /// The name servers; none leaves those that there are.
    pub servers: Vec<IpAddr>,
    /// The search domains; nothing leaves those that there are.
    pub search: Option<Vec<String>>,
    /// The options; none leaves those that there are.
    pub options: Vec<String>,
}

/// A resource limit of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ulimit {
    /// What is limited.
    pub resource: Resource,
    /// The limit in force.
    pub soft: u64,
    /// The highest that the process may raise it to.
    pub hard: u64,
}

/// What a [`Ulimit`] limits, named as `docker build --ulimit` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Resource {
    /// Processor time in seconds.
    Cpu = 0,
    /// Size of a file.
    Fsize = 1,
    /// Size of the data segment.
    Data = 2,
    /// Size of the stack.
    Stack = 3,
    /// Size of a core file.
    Core = 4,
    /// Resident memory (the kernel ignores it).
    Rss = 5,
    /// Processes of the user.
    Nproc = 6,
    /// Open files.
    Nofile = 7,
    /// Locked memory.
    Memlock = 8,
    /// Address space.
    As = 9,
    /// File locks.
    Locks = 10,
    /// Pending signals.
    Sigpending = 11,
    /// Bytes in message queues.
    Msgqueue = 12,
    /// Highest nice priority.
    Nice = 13,
    /// Highest real-time priority.
    Rtprio = 14,
    /// Real-time processor time in microseconds.
    Rttime = 15,
}

impl Resource {
    /// Every resource, in the kernel's order.
    pub const ALL: [Self; 16] = [
        Self::Cpu,
        Self::Fsize,
        Self::Data,
        Self::Stack,
        Self::Core,
        Self::Rss,
        Self::Nproc,
        Self::Nofile,
        Self::Memlock,
        Self::As,
        Self::Locks,
        Self::Sigpending,
        Self::Msgqueue,
        Self::Nice,
        Self::Rtprio,
        Self::Rttime,
    ];

    /// Returns the name that `--ulimit` uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Fsize => "fsize",
            Self::Data => "data",
            Self::Stack => "stack",
            Self::Core => "core",
            Self::Rss => "rss",
            Self::Nproc => "nproc",
            Self::Nofile => "nofile",
            Self::Memlock => "memlock",
            Self::As => "as",
            Self::Locks => "locks",
            Self::Sigpending => "sigpending",
            Self::Msgqueue => "msgqueue",
            Self::Nice => "nice",
            Self::Rtprio => "rtprio",
            Self::Rttime => "rttime",
        }
    }

    /// Returns the resource of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|resource| resource.name() == name)
    }
}

/// Limits that need a cgroup of the host. Asking for one where none can be had is an error that says
/// why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// The most memory.
    pub memory_bytes: Option<u64>,
    /// The most memory and swap together: the same as `memory_bytes` forbids swap, -1 does not limit
    /// it. Twice `memory_bytes` unless given.
    pub memory_swap_bytes: Option<i64>,
    /// Processor time in microseconds out of each `cpu_period_us`.
    pub cpu_quota_us: Option<u64>,
    /// The period of `cpu_quota_us`; 100,000 unless given.
    pub cpu_period_us: Option<u64>,
    /// The weight against others, 2 to 262,144, 1,024 being usual.
    pub cpu_shares: Option<u64>,
    /// The processors that may be used, such as `0-2,4`.
    pub cpuset_cpus: Option<String>,
    /// The memory nodes that may be used, such as `0,1`.
    pub cpuset_mems: Option<String>,
    /// The most processes.
    pub pids: Option<u64>,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It returned this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Exit {
    /// Returns whether the code is 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// Returns the code as a shell shows it: 128 and the signal's number for a signal.
    #[must_use]
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// Where `pasta` answers for the host's name servers, which may listen on the host alone.
pub(crate) const PASTA_NAME_SERVER: &str = "169.254.0.1";
