//! The messages of the control socket.

use std::path::PathBuf;
use std::time::Duration;

use crate::step::{
    Exit, Limits, Mount, NameServers, Network, ResolvConf, Resource, RootFs, Security, Step,
    Ulimit, User,
};
use crate::tree::{TreeChange, TreeNode};
use crate::wire::{Bytes, Input, Malformed, Wire, wire_enum, wire_struct};

/// What the executable inside is asked to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Request {
    /// Run a step. Standard input comes with the message if there is any; `terminal` says that it
    /// is a terminal that becomes the step's own.
    Run {
        step: Step,
        means: Means,
        terminal: bool,
    },
    /// Try what steps need. `scratch` holds three empty directories: `lower`, `upper` and `work`.
    Probe { scratch: PathBuf, means: Means },
    /// Make a user namespace, and work on trees of files in it, as further messages say.
    Tree { map: IdMap },
}

/// How to isolate, as the probe of the host decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Means {
    /// The way of isolating.
    pub(crate) way: Way,
    /// The user namespace to join, as a file of `/proc`.
    pub(crate) user_namespace: Option<PathBuf>,
    /// What the step sees as `/etc/resolv.conf`, unless that is its image's.
    pub(crate) resolv_conf: Bytes,
    /// The cgroups that were made for the step, one a hierarchy.
    pub(crate) cgroups: Vec<CgroupPlace>,
    /// The program that connects a network of the step's own.
    pub(crate) network_program: Option<PathBuf>,
    /// The program that stacks layers where the kernel does not.
    pub(crate) stacker: Option<PathBuf>,
}

/// The ways of isolating.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Namespaces, without a user namespace.
    Namespaces,
    /// Namespaces, inside a user namespace.
    UserNamespace,
    /// No namespaces: chroot.
    Chroot,
}

/// Who maps the ids of a new user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdMap {
    /// The caller, after the first report; the first message after that says that it is done.
    ByCaller,
    /// The executable itself: root inside is this user and group outside, and there is nobody else.
    One { uid: u32, gid: u32 },
}

/// What is to be done in the user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TreeRequest {
    /// Go on: the ids are mapped.
    Mapped,
    /// Say what a tree holds, parents before what is in them.
    Walk { root: PathBuf },
    /// Open a file for reading. The descriptor comes with the reply.
    Open { root: PathBuf, path: PathBuf },
    /// Change things in a tree.
    Change {
        root: PathBuf,
        changes: Vec<TreeChange>,
    },
    /// Remove a tree.
    Remove { path: PathBuf },
}

/// The reply to a [`TreeRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TreeReply {
    Done,
    Walked { nodes: Vec<TreeNode> },
    Failed { failure: Failure },
}

/// A cgroup that was made for a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CgroupPlace {
    /// Its directory.
    pub(crate) directory: PathBuf,
    /// Whether a limit is set in it; the step can do without another one.
    pub(crate) limits: bool,
    /// The file in it that counts what the out-of-memory killer ended, if memory is limited.
    pub(crate) kills: Option<String>,
}

/// What the executable inside says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Report {
    /// The step's program runs.
    Started,
    /// The step ended and nothing of it is left.
    Ended { exit: Exit },
    /// The step could not be run.
    Failed { failure: Failure },
    /// What came of trying.
    Probed { findings: Vec<Finding> },
    /// The out-of-memory killer ended processes of the step.
    OutOfMemory { kills: u64 },
}

/// Why a step could not be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Whose fault it is.
    pub(crate) kind: FailureKind,
    /// What was being done, such as "mounting the root".
    pub(crate) doing: String,
    /// The path or word that it was done to; may be empty.
    pub(crate) subject: Bytes,
    /// The error number; 0 when there is none.
    pub(crate) errno: i32,
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The sandbox could not be made.
    Setup,
    /// The step's program could not be started.
    Start,
    /// The request cannot be met on this host or in this mode.
    Unsupported,
    /// The sandbox broke.
    Broken,
}

/// The names of findings.
pub(crate) const NAMESPACES: &str = "namespaces";
pub(crate) const MOUNTS: &str = "mounts";
pub(crate) const OVERLAY: &str = "overlayfs";
pub(crate) const FUSE: &str = "fuse-overlayfs";
pub(crate) const PROC: &str = "/proc";

/// Whether the host can do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What, by a fixed name.
    pub(crate) name: String,
    /// The error number of trying; 0 when it works.
    pub(crate) errno: i32,
}

/// A signal for the step's process group: the only message after the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deliver {
    /// The signal.
    pub(crate) signal: i32,
}

wire_enum!(Request {
    1 => Run { step, means, terminal },
    2 => Probe { scratch, means },
    3 => Tree { map },
});
wire_struct!(Means {
    way,
    user_namespace,
    resolv_conf,
    cgroups,
    network_program,
    stacker,
});
wire_enum!(Way { 1 => Namespaces, 2 => UserNamespace, 3 => Chroot });
wire_enum!(IdMap { 1 => ByCaller, 2 => One { uid, gid } });
wire_enum!(TreeRequest {
    1 => Mapped,
    2 => Walk { root },
    3 => Open { root, path },
    4 => Change { root, changes },
    5 => Remove { path },
});
wire_enum!(TreeReply { 1 => Done, 2 => Walked { nodes }, 3 => Failed { failure } });
wire_struct!(TreeNode {
    path,
    mode,
    uid,
    gid,
    seconds,
    nanos,
    changed,
    born,
    links,
    device,
    inode,
    special,
    target,
    xattrs,
});
wire_enum!(TreeChange {
    1 => Owner { path, uid, gid, mode },
    2 => Xattr { path, name, value },
    3 => ClearXattr { path, name },
    4 => Remove { path },
    5 => Times { path, seconds, nanos },
});
wire_struct!(CgroupPlace {
    directory,
    limits,
    kills
});
wire_enum!(Report {
    1 => Started,
    2 => Ended { exit },
    3 => Failed { failure },
    4 => Probed { findings },
    5 => OutOfMemory { kills },
});
wire_struct!(Failure {
    kind,
    doing,
    subject,
    errno
});
wire_enum!(FailureKind { 1 => Setup, 2 => Start, 3 => Unsupported, 4 => Broken });
wire_struct!(Finding { name, errno });
wire_struct!(Deliver { signal });

wire_struct!(Step {
    root,
    argv,
    env,
    cwd,
    user,
    hostname,
    mounts,
    network,
    security,
    readonly_root,
    ulimits,
    shm_bytes,
    resolv_conf,
    extra_hosts,
    cgroup_parent,
    limits,
    timeout,
});
wire_struct!(User { uid, gid, groups });
wire_struct!(NameServers {
    servers,
    search,
    options
});
wire_enum!(Network { 1 => Host, 2 => None, 3 => Pasta, 4 => Slirp4netns });
wire_enum!(Security { 1 => Sandbox, 2 => Insecure });
wire_struct!(Ulimit {
    resource,
    soft,
    hard
});
wire_struct!(Limits {
    memory_bytes,
    memory_swap_bytes,
    cpu_quota_us,
    cpu_period_us,
    cpu_shares,
    cpuset_cpus,
    cpuset_mems,
    pids,
});
wire_enum!(Mount {
    1 => Bind { source, target, readonly },
    2 => BindDiscard { source, target, upper, work },
    3 => Layers { lowers, source, target, scratch },
    4 => Tmpfs { target, size_bytes, mode },
    5 => Secret { bytes, target, mode, uid, gid },
    6 => Socket { source, target, mode, uid, gid },
    7 => Device { source, target },
});

impl Wire for RootFs {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Overlay {
                lowers,
                upper,
                work,
            } => {
                out.push(1);
                lowers.put(out);
                upper.put(out);
                work.put(out);
            }
            Self::Directory(path) => {
                out.push(2);
                path.put(out);
            }
        }
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        match u8::take(input)? {
            1 => Ok(Self::Overlay {
                lowers: Wire::take(input)?,
                upper: Wire::take(input)?,
                work: Wire::take(input)?,
            }),
            2 => Ok(Self::Directory(Wire::take(input)?)),
            _ => Err(Malformed),
        }
    }
}

impl Wire for ResolvConf {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Host => out.push(1),
            Self::With(servers) => {
                out.push(2);
                servers.put(out);
            }
            Self::Image => out.push(3),
        }
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        match u8::take(input)? {
            1 => Ok(Self::Host),
            2 => Ok(Self::With(Wire::take(input)?)),
            3 => Ok(Self::Image),
            _ => Err(Malformed),
        }
    }
}

impl Wire for Exit {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Code(code) => {
                out.push(1);
                code.put(out);
            }
            Self::Signal(signal) => {
                out.push(2);
                signal.put(out);
            }
        }
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        match u8::take(input)? {
            1 => Ok(Self::Code(Wire::take(input)?)),
            2 => Ok(Self::Signal(Wire::take(input)?)),
            _ => Err(Malformed),
        }
    }
}

impl Wire for Resource {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self as u8);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let number = u8::take(input)?;
        Self::ALL.get(number as usize).copied().ok_or(Malformed)
    }
}

impl Wire for Duration {
    fn put(&self, out: &mut Vec<u8>) {
        (self.as_nanos()).put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let nanos = u128::take(input)?;
        let seconds = u64::try_from(nanos / 1_000_000_000).map_err(|_| Malformed)?;
        let rest = u32::try_from(nanos % 1_000_000_000).map_err(|_| Malformed)?;
        Ok(Self::new(seconds, rest))
    }
}
