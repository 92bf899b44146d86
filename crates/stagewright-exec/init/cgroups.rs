//! The cgroups of a step: made and limited by the caller, entered by process 1, removed when nothing
//! of the step is left.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use crate::message::{CgroupPlace, Failure};
use crate::sys;
use crate::trouble::Doing;

/// How often, a millisecond apart, a cgroup is asked to go whose last process has just ended.
const TRIES: usize = 100;

/// Opened before the caller's view of the file system is left.
pub(crate) struct Cgroups(Vec<Cgroup>);

struct Cgroup {
    parent: OwnedFd,
    name: CString,
    members: OwnedFd,
    limits: bool,
    kills: Option<OwnedFd>,
}

impl Cgroups {
    pub(crate) fn open(places: &[CgroupPlace]) -> Result<Self, Failure> {
        let open = |place: &CgroupPlace| {
            let directory = &place.directory;
            let parent = directory.parent().unwrap_or(directory);
            let name = directory.file_name().unwrap_or_default();
            Ok(Cgroup {
                parent: sys::open(parent, sys::O_PATH | sys::O_DIRECTORY, 0)?,
                name: sys::c_string(name)?,
                limits: place.limits,
                members: sys::open(&directory.join("cgroup.procs"), sys::O_WRONLY, 0)?,
                kills: match &place.kills {
                    Some(file) => Some(sys::open(&directory.join(file), sys::O_RDONLY, 0)?),
                    None => None,
                },
            })
        };
        let opened = places.iter().map(|place| open(place).doing("opening the cgroup", &place.directory));
        Ok(Self(opened.collect::<Result<_, _>>()?))
    }

    /// Moves this process into them.
    pub(crate) fn enter(&self) -> Result<(), Failure> {
        let mut entered = 0;
        let mut refused = Ok(());
        for cgroup in &self.0 {
            let entering = sys::write_all(cgroup.members.as_fd(), b"0")
                .doing("entering the cgroup", cgroup.name.to_string_lossy().as_ref());
            match entering {
                Ok(()) => entered += 1,
                Err(failure) if cgroup.limits => return Err(failure),
                Err(failure) => refused = Err(failure),
            }
        }
        if entered == 0 { refused } else { Ok(()) }
    }

    /// Returns how many processes ended because there was no memory left.
    pub(crate) fn kills(&self) -> u64 {
        let count = |file: &OwnedFd| {
            let mut bytes = [0; 1024];
            let count = sys::read(file.as_fd(), &mut bytes).unwrap_or(0);
            let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok())
        };
        self.0.iter().filter_map(|cgroup| count(cgroup.kills.as_ref()?)).sum()
    }

    /// Removes them. What stays is removed by who made them.
    pub(crate) fn remove(&self) {
        for cgroup in &self.0 {
            for _ in 0..TRIES {
                if sys::rmdir_at(cgroup.parent.as_fd(), &cgroup.name).is_ok() {
                    break;
                }
                let _ = sys::poll(&mut [], 1);
            }
        }
    }
}
