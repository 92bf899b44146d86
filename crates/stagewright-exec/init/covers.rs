//! What a step sees in its root for as long as it runs, where nothing can be mounted: files and
//! directories that are put in place of the root's own, which lie aside until the end.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::message::{Failure, Means};
use crate::outside::unsupported;
use crate::root::{self, DEVICES};
use crate::step::{Mount, ResolvConf, Step};
use crate::stubs::Stubs;
use crate::sys;
use crate::trouble::Doing;

/// The directory beside the root that holds what was in the way.
const ASIDE: &str = "aside";

pub(crate) struct Covers {
    root: OwnedFd,
    beside: OwnedFd,
    aside: OwnedFd,
    stubs: Stubs,
    placed: Vec<Cover>,
}

/// A name that shows something else than the root has there.
struct Cover {
    parent: OwnedFd,
    name: CString,
    /// The name, among what lies aside, of what the root has there.
    hidden: Option<CString>,
    /// Where it came from and goes back to.
    owner: Option<(OwnedFd, CString)>,
    shown: PathBuf,
}

impl Covers {
    pub(crate) fn new(root: &Path) -> Result<Self, Failure> {
        let beside = root.parent().unwrap_or(root);
        let open = |path: &Path| sys::open(path, sys::O_PATH | sys::O_DIRECTORY, 0).doing("opening", path);
        let beside = open(beside)?;
        let name = sys::c_string(ASIDE).doing("making a directory", ASIDE)?;
        sys::mkdir_at(beside.as_fd(), &name, 0o700).doing("making a directory", ASIDE)?;
        let flags = sys::O_PATH | sys::O_DIRECTORY;
        let aside = sys::open_at(beside.as_fd(), &name, flags, 0).doing("opening", ASIDE)?;
        Ok(Self { root: open(root)?, beside, aside, stubs: Stubs::default(), placed: Vec::new() })
    }

    pub(crate) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Puts everything in place.
    pub(crate) fn prepare(&mut self, step: &Step, means: &Means) -> Result<(), Failure> {
        self.devices()?;
        let hosts = root::hosts(step);
        self.file("/etc/hosts".as_ref(), hosts.as_bytes(), 0o644, (0, 0))?;
        match &step.resolv_conf {
            ResolvConf::Host | ResolvConf::With(_) => {
                let bytes = &means.resolv_conf.0;
                self.file("/etc/resolv.conf".as_ref(), bytes, 0o644, (0, 0))?;
            }
            ResolvConf::Image => {}
        }
        step.mounts.iter().try_for_each(|mount| self.mount(mount))
    }

    /// Makes room for something at a path in the root.
    fn cover(&mut self, target: &Path) -> Result<&Cover, Failure> {
        let parent = target.parent().unwrap_or(Path::new("/"));
        let name = target.file_name().unwrap_or(OsStr::new("."));
        let parent = self.stubs.open_parent(self.root.as_fd(), parent, name)?;
        let name = sys::c_string(name).doing("making room for", target)?;
        let hidden = match sys::stat_at(parent.as_fd(), &name) {
            Ok(_) => {
                let number = sys::c_string(self.placed.len().to_string())
                    .doing("making room for", target)?;
                sys::rename_at(parent.as_fd(), &name, self.aside.as_fd(), &number)
                    .doing("putting aside", target)?;
                Some(number)
            }
            Err(error) if error.raw_os_error() == Some(sys::ENOENT) => None,
            Err(error) => Err(error).doing("making room for", target)?,
        };
        let at = self.placed.len();
        self.placed.push(Cover { parent, name, hidden, owner: None, shown: target.to_owned() });
        Ok(&self.placed[at])
    }

    fn file(
        &mut self,
        target: &Path,
        bytes: &[u8],
        mode: u32,
        owner: (u32, u32),
    ) -> Result<(), Failure> {
        let place = self.cover(target)?;
        let flags = sys::O_WRONLY | sys::O_CREAT | sys::O_EXCL | sys::O_NOFOLLOW;
        let file = sys::open_at(place.parent.as_fd(), &place.name, flags, 0o600)
            .doing("making a file", target)?;
        sys::write_all(file.as_fd(), bytes)
            .and_then(|()| give(&file, owner))
            .and_then(|()| sys::chmod(file.as_fd(), mode))
            .doing("making a file", target)
    }

    fn directory(&mut self, target: &Path, mode: u32) -> Result<(), Failure> {
        let place = self.cover(target)?;
        sys::mkdir_at(place.parent.as_fd(), &place.name, mode).doing("making a directory", target)
    }

    /// A `/dev` of what can be had without mounts. Programs that need more than this fail clearly.
    fn devices(&mut self) -> Result<(), Failure> {
        self.directory("/dev".as_ref(), 0o755)?;
        let dev = sys::open_in_root(self.root.as_fd(), "/dev".as_ref(), sys::O_PATH)
            .doing("opening", "/dev")?;
        for (name, device) in DEVICES {
            let made = sys::mknod_at(dev.as_fd(), name, sys::S_IFCHR | 0o666, device)
                .and_then(|()| sys::chmod_at(dev.as_fd(), name, 0o666))
                .and_then(|()| usable(&dev, name));
            if made.is_err() {
                let _ = sys::unlink_at(dev.as_fd(), name);
            }
        }
        if sys::stat_at(dev.as_fd(), c"null").is_err() {
            // Shells cannot do without. What is written to it goes with the step.
            let flags = sys::O_WRONLY | sys::O_CREAT | sys::O_EXCL | sys::O_NOFOLLOW;
            sys::open_at(dev.as_fd(), c"null", flags, 0o666).doing("making a file", "/dev/null")?;
        }
        for (name, mode) in [(c"pts", 0o755), (c"shm", 0o1777)] {
            sys::mkdir_at(dev.as_fd(), name, mode).doing("making a directory", "/dev")?;
        }
        Ok(())
    }

    fn mount(&mut self, mount: &Mount) -> Result<(), Failure> {
        match mount {
            Mount::Bind { source, target, readonly: false } => self.borrow(source, target),
            Mount::Bind { source, target, readonly: true } => {
                let place = self.cover(target)?;
                let to = path_of(place);
                copy(source, &to).doing("copying what is mounted", source)
            }
            Mount::Tmpfs { target, size_bytes: None, mode } => self.directory(target, *mode),
            Mount::Tmpfs { .. } => {
                Err(unsupported("a size of --mount=type=tmpfs, where nothing can be mounted,"))
            }
            Mount::Secret { bytes, target, mode, uid, gid } => {
                self.file(target, bytes, *mode, (*uid, *gid))
            }
            Mount::Socket { source, target, mode, uid, gid } => {
                let socket = sys::open(source, sys::O_PATH, 0).doing("opening", source)?;
                let from = sys::c_string(source).doing("opening", source)?;
                let here = sys::open("/".as_ref(), sys::O_PATH, 0).doing("opening", "/")?;
                sys::chmod_at(here.as_fd(), &from, *mode).doing("preparing a socket", source)?;
                give(&socket, (*uid, *gid)).doing("preparing a socket", source)?;
                let place = self.cover(target)?;
                sys::link_at(here.as_fd(), &from, place.parent.as_fd(), &place.name)
                    .doing("showing a socket", target)
            }
            Mount::Device { .. } => Err(unsupported("a device, where nothing can be mounted,")),
            Mount::BindDiscard { .. } | Mount::Layers { .. } => {
                Err(unsupported("a mount of layers, where nothing can be mounted,"))
            }
        }
    }

    /// Moves a directory of the host to its place, and back at the end.
    fn borrow(&mut self, source: &Path, target: &Path) -> Result<(), Failure> {
        let from = source.parent().unwrap_or(source);
        let from = sys::open(from, sys::O_PATH | sys::O_DIRECTORY, 0).doing("opening", from)?;
        let name = sys::c_string(source.file_name().unwrap_or_default()).doing("opening", source)?;
        let place = self.cover(target)?;
        sys::rename_at(from.as_fd(), &name, place.parent.as_fd(), &place.name)
            .doing("moving what is mounted, which can be at one place at a time,", source)?;
        if let Some(placed) = self.placed.last_mut() {
            placed.owner = Some((from, name));
        }
        Ok(())
    }

    /// Takes everything away again, and puts back what lay aside. Nothing of the step runs any more.
    pub(crate) fn undo(self) -> Result<(), Failure> {
        for placed in self.placed.iter().rev() {
            placed.undo(self.aside.as_fd()).doing("putting back", &placed.shown)?;
        }
        self.stubs.remove_made(self.root.as_fd());
        let name = sys::c_string(ASIDE).doing("removing", ASIDE)?;
        sys::rmdir_at(self.beside.as_fd(), &name).doing("removing", ASIDE)
    }
}

impl Cover {
    fn undo(&self, aside: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
        match &self.owner {
            Some((owner, name)) => {
                // The step may have moved it away, and then it is lost.
                let back = sys::rename_at(self.parent.as_fd(), &self.name, owner.as_fd(), name);
                if back.is_err() {
                    remove(&path_of(self))?;
                }
            }
            None => remove(&path_of(self))?,
        }
        match &self.hidden {
            Some(hidden) => sys::rename_at(aside, hidden, self.parent.as_fd(), &self.name),
            None => Ok(()),
        }
    }
}

/// Returns a path that leads to a place whatever became of the directories above it.
fn path_of(place: &Cover) -> PathBuf {
    let parent = sys::fd_path(place.parent.as_fd());
    Path::new(OsStr::from_bytes(parent.to_bytes())).join(OsStr::from_bytes(place.name.to_bytes()))
}

/// Gives a file away; root's stays root's even without the right to give it.
fn give(file: &OwnedFd, (uid, gid): (u32, u32)) -> io::Result<()> {
    match sys::chown(file.as_fd(), uid, gid) {
        Err(error) if error.raw_os_error() == Some(sys::EPERM) && (uid, gid) == (0, 0) => Ok(()),
        other => other,
    }
}

fn usable(dev: &OwnedFd, name: &CStr) -> io::Result<()> {
    // Only one that has a terminal can open that device.
    if name == c"tty" {
        return Ok(());
    }
    sys::open_at(dev.as_fd(), name, sys::O_RDONLY | sys::O_NONBLOCK, 0).map(drop)
}

/// Copies a tree of files with owners and modes, following no link.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let found = std::fs::symlink_metadata(from)?;
    let kind = found.file_type();
    if kind.is_dir() {
        std::fs::create_dir(to)?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else if kind.is_file() {
        std::fs::copy(from, to)?;
    } else if kind.is_symlink() {
        std::os::unix::fs::symlink(std::fs::read_link(from)?, to)?;
    } else {
        return Ok(());
    }
    match std::os::unix::fs::lchown(to, Some(found.uid()), Some(found.gid())) {
        // Without the right to give files away they are this user's.
        Err(error) if error.raw_os_error() == Some(sys::EPERM) => {}
        other => other?,
    }
    if !kind.is_symlink() {
        std::fs::set_permissions(to, std::fs::Permissions::from_mode(found.mode() & 0o7777))?;
    }
    Ok(())
}

/// Removes whatever is at a path, if anything is.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
