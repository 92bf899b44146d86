//! What a host can do for steps.

use std::fmt;

use crate::emulation::{NoEmulator, emulated};
use crate::ids::{may_change_root, may_map_root};
use crate::message::{FUSE, Finding, MOUNTS, NAMESPACES, OVERLAY, PROC};
use crate::namespace::UserNamespace;

/// A way of running steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// As root, with namespaces and overlayfs.
    Root,
    /// As a plain user with a range of subordinate ids, in a user namespace.
    Rootless,
    /// As root of a container without the right to mount, in a user namespace that keeps the
    /// container's ids.
    Nested,
    /// As a plain user in a user namespace that has no other id than the user's.
    OneId,
    /// As root of a container that may make no namespaces: with a root directory of their own, and
    /// nothing else.
    Chroot,
    /// None that is supported.
    None,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Rootless => "rootless",
            Self::Nested => "nested",
            Self::OneId => "rootless with one id",
            Self::Chroot => "chroot",
            Self::None => "none",
        })
    }
}

/// How the layers of an image become the root file system of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stacking {
    /// The kernel stacks them.
    Overlayfs,
    /// The program `fuse-overlayfs` stacks them.
    FuseOverlayfs,
    /// All files are copied, for each step.
    Copies,
}

impl fmt::Display for Stacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overlayfs => OVERLAY,
            Self::FuseOverlayfs => FUSE,
            Self::Copies => "copies",
        })
    }
}

/// What was found out about a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostReport {
    /// The mode that is used.
    pub mode: Mode,
    /// How layers become the root of a step.
    pub stacking: Stacking,
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
    /// Says nothing yet.
    pub(crate) fn unknown() -> Self {
        Self::of(Mode::Root, "", Vec::new())
    }

    /// Looks at this host. `namespace` is the user namespace that steps would run in, `tried` what
    /// came of trying what they need.
    pub(crate) fn of_this_host(
        namespace: Option<&UserNamespace>,
        tried: Option<&[Finding]>,
    ) -> Self {
        let tried = tried.map(|tried| tried.iter().filter_map(explained).collect());
        let tried = tried.unwrap_or_default();
        let report = match namespace {
            None => Self::as_root(tried),
            Some(namespace) => Self::as_user(namespace, tried),
        };
        let mut report = match report.mode {
            Mode::None if may_change_root() => report.with_chroot(),
            _ => report,
        };
        if report.mode != Mode::None {
            report.findings.push(other_platforms());
        }
        report
    }

    /// What is left to root where no namespaces can be made.
    fn with_chroot(self) -> Self {
        let mut findings = self.findings;
        findings.push(HostFinding {
            name: "chroot",
            works: true,
            detail: "steps run in a root directory of their own; they see the processes and the network of this container, have no /proc, and can have no network but the host's".to_owned(),
        });
        Self {
            mode: Mode::Chroot,
            stacking: Stacking::Copies,
            reason: format!(
                "a root directory for each step and nothing else, since {}",
                self.reason
            ),
            findings,
        }
    }

    /// Says what whoever builds should know: that steps are less apart, or slower, than they could
    /// be. Nothing when all is as it should be.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let advice = "`stagewright doctor` says what to change";
        match self.mode {
            Mode::Chroot => Some(format!(
                "steps run in mode chroot, apart from this container by their root directory alone: build only what you trust; {advice}"
            )),
            _ if self.stacking == Stacking::Copies => Some(format!(
                "each step gets a copy of its root file system, since neither overlayfs nor fuse-overlayfs can be mounted on the store; {advice}"
            )),
            _ => None,
        }
    }

    fn as_root(tried: Vec<HostFinding>) -> Self {
        let root = is_root();
        let identity = HostFinding {
            name: "root",
            works: root,
            detail: if root {
                "this process is root".to_owned()
            } else {
                "this process is not root and was given no user namespace".to_owned()
            },
        };
        let findings = [identity].into_iter().chain(tried);
        Self::of(
            Mode::Root,
            "root, with namespaces and overlayfs",
            findings.collect(),
        )
    }

    fn as_user(namespace: &UserNamespace, tried: Vec<HostFinding>) -> Self {
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
            _ if is_root() => (
                Mode::Nested,
                "root of a container: a user namespace with the container's ids, and overlayfs"
                    .to_owned(),
                "those of the container are kept".to_owned(),
            ),
            _ => (
                Mode::Rootless,
                "a user namespace with subordinate ids, and overlayfs".to_owned(),
                "newuidmap and newgidmap map those of this user".to_owned(),
            ),
        };
        let findings = [made].into_iter().chain(tried);
        let mut report = Self::of(mode, &reason, findings.collect());
        if report.mode != Mode::None {
            // Worse without, but it works.
            report.findings.push(HostFinding {
                name: if mode == Mode::Nested {
                    "ids"
                } else {
                    "subordinate ids"
                },
                works: mode != Mode::OneId,
                detail: ids,
            });
        }
        report
    }

    /// The first finding that does not work is why no step can be run, unless it is one of those that
    /// steps can do without.
    fn of(mode: Mode, reason: &str, findings: Vec<HostFinding>) -> Self {
        let works = |name: &str| {
            let mut named = findings.iter().filter(|finding| finding.name == name);
            named.all(|finding| finding.works)
        };
        let stacking = if works(OVERLAY) {
            Stacking::Overlayfs
        } else if works(FUSE) && findings.iter().any(|finding| finding.name == FUSE) {
            Stacking::FuseOverlayfs
        } else {
            Stacking::Copies
        };
        let broken = findings
            .iter()
            .find(|finding| !finding.works && ![OVERLAY, FUSE].contains(&finding.name));
        let (mode, reason) = match broken {
            None => {
                let instead = match stacking {
                    Stacking::Copies => "a copy of the root file system for each step",
                    Stacking::Overlayfs => OVERLAY,
                    Stacking::FuseOverlayfs => FUSE,
                };
                (mode, reason.replace(OVERLAY, instead))
            }
            Some(finding) => (Mode::None, format!("{}: {}", finding.name, finding.detail)),
        };
        Self {
            mode,
            stacking,
            reason,
            findings,
        }
    }
}

/// Says which platforms' steps run besides the host's own. Most hosts need no other.
fn other_platforms() -> HostFinding {
    let (works, detail) = match emulated() {
        Ok(names) if !names.is_empty() => {
            let names: Vec<String> = names.iter().map(|name| format!("linux/{name}")).collect();
            (true, format!("emulators run steps of {}", names.join(", ")))
        }
        none => {
            let reason = none
                .err()
                .unwrap_or_else(|| NoEmulator::Missing("another processor".to_owned()));
            (false, format!("steps of this machine's run only; {reason}"))
        }
    };
    HostFinding {
        name: "other platforms",
        works,
        detail,
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says what a finding of the executable's means for steps.
fn explained(finding: &Finding) -> Option<HostFinding> {
    let works = finding.errno == 0;
    let error = std::io::Error::from_raw_os_error(finding.errno);
    let (name, detail) = match finding.name.as_str() {
        NAMESPACES if works => (NAMESPACES, "this process may make them".to_owned()),
        NAMESPACES => (NAMESPACES, format!("{error}; {}", advice_on_namespaces())),
        MOUNTS if works => (MOUNTS, "this process may change them".to_owned()),
        MOUNTS => (MOUNTS, format!("{error}; {}", advice_on_namespaces())),
        OVERLAY if works => (OVERLAY, "it can be mounted on the store".to_owned()),
        OVERLAY => (
            OVERLAY,
            format!("{error}; {}", advice_on_overlay(finding.errno)),
        ),
        FUSE if works => (FUSE, "it stacks the layers instead".to_owned()),
        FUSE => (FUSE, advice_on_fuse(finding.errno)),
        PROC if works => (PROC, "steps have their own".to_owned()),
        // Steps do with what is there.
        PROC => {
            let detail = "steps see the container's, read-only, since a part of it is covered \
                          (`--security-opt unmask=ALL` of podman gives them their own)";
            return Some(HostFinding {
                name: PROC,
                works: true,
                detail: detail.to_owned(),
            });
        }
        _ => return None,
    };
    Some(HostFinding {
        name,
        works,
        detail,
    })
}

/// Says what to change where the program that does without overlayfs does not run.
fn advice_on_fuse(errno: i32) -> String {
    use rustix::io::Errno;
    match Errno::from_raw_os_error(errno) {
        Errno::NOEXEC => "it is not installed: install the package fuse-overlayfs, and steps need \
                          no copies of their root file systems"
            .to_owned(),
        errno @ (Errno::NOENT | Errno::PERM | Errno::ACCESS | Errno::NODEV | Errno::NXIO) => {
            let error = std::io::Error::from(errno);
            format!(
                "/dev/fuse cannot be opened ({error}): give the container the device \
                 (`--device=/dev/fuse`), and steps need no copies of their root file systems"
            )
        }
        _ => "it is installed and could not mount what steps need".to_owned(),
    }
}

/// Says what to change where overlayfs cannot be mounted.
fn advice_on_overlay(errno: i32) -> &'static str {
    match rustix::io::Errno::from_raw_os_error(errno) {
        rustix::io::Errno::NODEV => "the kernel does not have it: load the module `overlay`",
        rustix::io::Errno::INVAL => {
            "the store lies on a file system that it cannot write to, such as the root of a \
             container: name a store on a volume (`--store`)"
        }
        rustix::io::Errno::PERM => "users may mount it since Linux 5.11",
        _ => "name a store on another file system (`--store`)",
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
        None if is_root() && !may_map_root() => {
            "root of a container needs the capability to map itself: `--cap-add=setfcap`".to_owned()
        }
        None => {
            let advice = "a container needs --privileged, or --security-opt seccomp=unconfined (and apparmor=unconfined)";
            let otherwise = if is_root() {
                ""
            } else {
                "; otherwise run as root"
            };
            format!("{advice}{otherwise}")
        }
    }
}
