//! What a host can do for steps.

use std::fmt;

use crate::namespace::UserNamespace;

/// A way of running steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// As root, with namespaces and overlayfs.
    Root,
    /// As a plain user with a range of subordinate ids, in a user namespace.
    Rootless,
    /// As a plain user in a user namespace that has no other id than the user's.
    OneId,
    /// None that is supported.
    None,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Rootless => "rootless",
            Self::OneId => "rootless with one id",
            Self::None => "none",
        })
    }
}

/// What was found out about a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostReport {
    /// The mode that is used.
    pub mode: Mode,
    /// Why.
    pub reason: String,
    /// What was looked at, one by one.
    pub findings: Vec<HostFinding>,
}

/// One thing that a host can do, or cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFinding {
    /// What.
    pub name: &'static str,
    /// Whether it works.
    pub works: bool,
    /// What was seen, and what to change where it does not work.
    pub detail: String,
}

impl HostReport {
    /// Looks at this host. `namespace` is the user namespace that steps would run in.
    pub(crate) fn of_this_host(namespace: Option<&UserNamespace>) -> Self {
        let overlay = overlay();
        match namespace {
            None => Self::as_root(overlay),
            Some(namespace) => Self::as_user(namespace, overlay),
        }
    }

    fn as_root(overlay: HostFinding) -> Self {
        let root = rustix::process::geteuid().is_root();
        let identity = HostFinding {
            name: "root",
            works: root,
            detail: if root {
                "this process is root".to_owned()
            } else {
                "this process is not root and was given no user namespace".to_owned()
            },
        };
        Self::of(
            Mode::Root,
            "root, with namespaces and overlayfs",
            vec![identity, overlay],
        )
    }

    fn as_user(namespace: &UserNamespace, overlay: HostFinding) -> Self {
        let lone = namespace.one_id();
        let made = HostFinding {
            name: "user namespace",
            works: lone.is_ok(),
            detail: match &lone {
                Ok(_) => "this user may make one, and is root in it".to_owned(),
                Err(error) => format!("{error}; {}", advice_on_namespaces()),
            },
        };
        let (mode, reason, ids) = match lone {
            Ok(Some(reason)) => (Mode::OneId, reason.to_owned(), reason.to_owned()),
            _ => (
                Mode::Rootless,
                "a user namespace with subordinate ids, and overlayfs".to_owned(),
                "newuidmap and newgidmap map those of this user".to_owned(),
            ),
        };
        let mut report = Self::of(mode, &reason, vec![made, overlay]);
        if report.mode != Mode::None {
            // Worse without, but it works.
            report.findings.push(HostFinding {
                name: "subordinate ids",
                works: mode == Mode::Rootless,
                detail: ids,
            });
        }
        report
    }

    /// The first finding that does not work is why no step can be run.
    fn of(mode: Mode, reason: &str, findings: Vec<HostFinding>) -> Self {
        let broken = findings.iter().find(|finding| !finding.works);
        let (mode, reason) = match broken {
            None => (mode, reason.to_owned()),
            Some(finding) => (Mode::None, format!("{}: {}", finding.name, finding.detail)),
        };
        Self {
            mode,
            reason,
            findings,
        }
    }
}

fn overlay() -> HostFinding {
    let works = fs_err::read_to_string("/proc/filesystems").is_ok_and(|text| {
        text.lines()
            .any(|line| line.trim_end().ends_with("\toverlay"))
    });
    HostFinding {
        name: "overlayfs",
        works,
        detail: if works {
            "the kernel has it".to_owned()
        } else {
            "the kernel does not list it: load the module `overlay`".to_owned()
        },
    }
}

/// Says what forbids user namespaces, as far as it can be seen.
fn advice_on_namespaces() -> String {
    let settings = [
        (
            "/proc/sys/user/max_user_namespaces",
            "0",
            "sysctl user.max_user_namespaces=28633",
        ),
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0",
            "sysctl kernel.unprivileged_userns_clone=1",
        ),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ];
    let set = |file: &str, value: &str| {
        fs_err::read_to_string(file).is_ok_and(|text| text.trim() == value)
    };
    match settings.iter().find(|(file, value, _)| set(file, value)) {
        Some((_, _, command)) => format!("allow user namespaces: `{command}`, or run as root"),
        None => "a container needs --privileged, or --security-opt seccomp=unconfined; otherwise run as root".to_owned(),
    }
}
