//! What a host can do for steps.

use std::fmt;

/// A way of running steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// As root, with namespaces and overlayfs.
    Root,
    /// None that is supported.
    None,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
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
    /// Looks at this host.
    pub(crate) fn of_this_host() -> Self {
        let root = rustix::process::geteuid().is_root();
        let overlay = fs_err::read_to_string("/proc/filesystems").is_ok_and(|text| {
            text.lines()
                .any(|line| line.trim_end().ends_with("\toverlay"))
        });
        let findings = vec![
            HostFinding {
                name: "root",
                works: root,
                detail: if root {
                    "this process is root".to_owned()
                } else {
                    "this process is not root; steps need root in this version".to_owned()
                },
            },
            HostFinding {
                name: "overlayfs",
                works: overlay,
                detail: if overlay {
                    "the kernel has it".to_owned()
                } else {
                    "the kernel does not list it: load the module `overlay`".to_owned()
                },
            },
        ];
        let broken = findings.iter().find(|finding| !finding.works);
        let (mode, reason) = match broken {
            None => (Mode::Root, "root, with namespaces and overlayfs".to_owned()),
            Some(finding) => (Mode::None, finding.detail.clone()),
        };
        Self {
            mode,
            reason,
            findings,
        }
    }
}
