//! The step's root file system and everything that is mounted into it.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::message::{Failure, Means};
use crate::step::{Mount, Network, ResolvConf, RootFs, Security, Step};
use crate::guards::without;
use crate::overlay::overlay;
use crate::stack;
use crate::stubs::Stubs;
use crate::sys;
use crate::trouble::Doing;

/// Files of the kernel that a step must not see (the OCI runtime's and Docker's list).
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// Files of the kernel that a step must not change.
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
pub(crate) const DEVICES: [(&CStr, (u32, u32)); 6] = [
    (c"null", (1, 3)),
    (c"zero", (1, 5)),
    (c"full", (1, 7)),
    (c"random", (1, 8)),
    (c"urandom", (1, 9)),
    (c"tty", (5, 0)),
];
const LINKS: [(&CStr, &CStr); 6] = [
    (c"/proc/self/fd", c"fd"),
    (c"/proc/self/fd/0", c"stdin"),
    (c"/proc/self/fd/1", c"stdout"),
    (c"/proc/self/fd/2", c"stderr"),
    (c"pts/ptmx", c"ptmx"),
    (c"/proc/kcore", c"core"),
];

/// Makes the root file system and enters it.
pub(crate) fn enter(step: &Step, means: &Means) -> Result<Stubs, Failure> {
    let stacked = stack::place(&step.root, means);
    if stacked.is_some() {
        // The program keeps the namespace that it mounted in, whose root is not the step's.
        sys::unshare(sys::CLONE_NEWNS).doing("making a mount namespace", "")?;
    }
    make_mounts_private()?;
    let rootless = means.user_namespace.is_some();
    let root = match stacked {
        Some(place) => {
            sys::open(place, sys::O_PATH | sys::O_DIRECTORY, 0).doing("opening", place)?
        }
        None => root(&step.root, rootless)?,
    };
    let mut stubs = Stubs::default();
    let mut place =
        Place { root: &root, stubs: &mut stubs, device_mounts: Vec::new(), rootless };
    place.kernel_files(step)?;
    place.devices(step)?;
    place.network_files(step, means)?;
    for mount in &step.mounts {
        place.mount(mount)?;
    }
    // In a user namespace nobody makes devices, and the kernel opens none that were made there.
    if step.security == Security::Sandbox && !rootless && !without("devices") {
        place.forbid_devices()?;
    }
    if step.readonly_root {
        sys::set_attributes(root.as_fd(), sys::ATTR_RDONLY, false)
            .doing("making the root read-only", "/")?;
    }
    sys::fchdir(root.as_fd()).doing("entering the root", "/")?;
    sys::pivot_root_here().doing("changing the root", "/")?;
    if !without("old root") {
        sys::unmount(c".").doing("leaving the old root", "/")?;
    }
    sys::chdir(c"/").doing("entering the root", "/")?;
    Ok(stubs)
}

/// Keeps what is mounted from here on out of other namespaces.
pub(crate) fn make_mounts_private() -> Result<(), Failure> {
    if without("propagation") {
        return Ok(());
    }
    sys::mount(c"none", c"/", c"", sys::MS_REC | sys::MS_PRIVATE, None)
        .doing("making mounts private", "/")
}

/// Mounts the root file system where only this namespace sees it.
fn root(root: &RootFs, rootless: bool) -> Result<OwnedFd, Failure> {
    let directory = match root {
        RootFs::Overlay { lowers, upper, work } if !lowers.is_empty() => {
            let overlay = overlay(lowers, Some((upper, work)), rootless).doing("mounting the root", upper)?;
            // The draft's own folder is hidden by the mount; the overlay holds what it needs of it.
            let place = upper.parent().unwrap_or(upper).to_owned();
            let target = sys::open(&place, sys::O_PATH, 0).doing("opening", &place)?;
            sys::attach(overlay.as_fd(), target.as_fd()).doing("mounting the root", &place)?;
            return sys::open(&place, sys::O_PATH | sys::O_DIRECTORY, 0).doing("opening", &place);
        }
        RootFs::Overlay { upper, .. } => upper,
        RootFs::Directory(path) => path,
    };
    let path = sys::c_string(directory).doing("mounting the root", directory)?;
    sys::mount(&path, &path, c"", sys::MS_BIND | sys::MS_REC, None)
        .doing("mounting the root", directory)?;
    sys::open(directory, sys::O_PATH | sys::O_DIRECTORY, 0).doing("opening", directory)
}

/// Returns what `/etc/hosts` shows.
pub(crate) fn hosts(step: &Step) -> String {
    let mut hosts = format!(
        "127.0.0.1\tlocalhost {}\n::1\tlocalhost ip6-localhost ip6-loopback\n",
        step.hostname
    );
    for (name, address) in &step.extra_hosts {
        hosts += &format!("{address}\t{name}\n");
    }
    hosts
}

struct Place<'a> {
    root: &'a OwnedFd,
    stubs: &'a mut Stubs,
    /// The mounts whose devices can be used.
    device_mounts: Vec<OwnedFd>,
    /// Whether this is root of a user namespace only.
    rootless: bool,
}

impl Place<'_> {
    fn open(&mut self, target: &str, directory: bool) -> Result<OwnedFd, Failure> {
        self.stubs.open(self.root.as_fd(), Path::new(target), directory)
    }

    /// Mounts a new file system at a path.
    fn new_mount(
        &mut self,
        kind: &CStr,
        target: &Path,
        flags: u64,
        options: Option<&CStr>,
    ) -> Result<(), Failure> {
        let at = self.stubs.open(self.root.as_fd(), target, true)?;
        sys::mount(kind, &sys::fd_path(at.as_fd()), kind, flags, options)
            .doing("mounting", target)
    }

    /// Shows a path of the host.
    fn bind(&mut self, source: &Path, target: &Path, readonly: bool) -> Result<(), Failure> {
        let directory =
            std::fs::metadata(source).doing("looking at what is mounted", source)?.is_dir();
        let at = self.stubs.open(self.root.as_fd(), target, directory)?;
        let from = sys::c_string(source).doing("mounting", source)?;
        let flags = sys::MS_BIND | sys::MS_REC;
        sys::mount(&from, &sys::fd_path(at.as_fd()), c"", flags, None).doing("mounting", source)?;
        if readonly {
            let mounted = sys::open_in_root(self.root.as_fd(), target, sys::O_PATH)
                .doing("opening", target)?;
            sys::set_attributes(mounted.as_fd(), sys::ATTR_RDONLY, true)
                .doing("making a mount read-only", target)?;
        }
        Ok(())
    }

    fn kernel_files(&mut self, step: &Step) -> Result<(), Failure> {
        let guarded = sys::MS_NOSUID | sys::MS_NODEV | sys::MS_NOEXEC;
        let readonly = match step.security {
            Security::Sandbox if without("read-only") => guarded,
            Security::Sandbox => guarded | sys::MS_RDONLY,
            Security::Insecure => guarded,
        };
        match self.new_mount(c"proc", Path::new("/proc"), guarded, None) {
            // In a container parts of /proc are covered, and the kernel gives nobody there another
            // one. Of the container's, steps must not change what other processes are.
            Err(failure) if self.rootless && failure.errno == sys::EPERM => {
                self.bind(Path::new("/proc"), Path::new("/proc"), true)?;
            }
            other => other?,
        }
        // Only who made the network namespace may mount it anew, and nobody where parts of it are
        // covered.
        let own_network = !self.rootless || step.network != Network::Host;
        let mounted = match own_network {
            true => self.new_mount(c"sysfs", Path::new("/sys"), readonly, None).map(|()| true),
            false => Ok(false),
        };
        match mounted {
            Ok(true) => {}
            Err(failure) if !(self.rootless && failure.errno == sys::EPERM) => return Err(failure),
            _ => self.bind(Path::new("/sys"), Path::new("/sys"), readonly & sys::MS_RDONLY != 0)?,
        }
        if step.security == Security::Insecure {
            return Ok(());
        }
        for path in MASKED.into_iter().filter(|_| !without("masks")) {
            let Ok(at) = sys::open_in_root(self.root.as_fd(), path.as_ref(), sys::O_PATH) else {
                continue;
            };
            let target = sys::fd_path(at.as_fd());
            if sys::is_dir(at.as_fd()).doing("looking at", path)? {
                sys::mount(c"tmpfs", &target, c"tmpfs", sys::MS_RDONLY, Some(c"size=0"))
                    .doing("masking", path)?;
            } else {
                sys::mount(c"/dev/null", &target, c"", sys::MS_BIND, None)
                    .doing("masking", path)?;
                self.keep_devices(path.as_ref())?;
            }
        }
        for path in READ_ONLY.into_iter().filter(|_| !without("read-only")) {
            let Ok(at) = sys::open_in_root(self.root.as_fd(), path.as_ref(), sys::O_PATH) else {
                continue;
            };
            let target = sys::fd_path(at.as_fd());
            sys::mount(&target, &target, c"", sys::MS_BIND | sys::MS_REC, None)
                .doing("protecting", path)?;
            let mounted =
                sys::open_in_root(self.root.as_fd(), path.as_ref(), sys::O_PATH).doing("opening", path)?;
            sys::set_attributes(mounted.as_fd(), sys::ATTR_RDONLY, true).doing("protecting", path)?;
        }
        Ok(())
    }

    fn devices(&mut self, step: &Step) -> Result<(), Failure> {
        let flags = sys::MS_NOSUID | sys::MS_STRICTATIME;
        self.new_mount(c"tmpfs", Path::new("/dev"), flags, Some(c"mode=755,size=65536k"))?;
        let dev = self.open("/dev", true)?;
        let nodes = sys::FileSystem::open(c"tmpfs")
            .and_then(|memory| memory.mount())
            .doing("making devices", "/dev")?;
        for (name, device) in DEVICES {
            self.device(dev.as_fd(), nodes.as_fd(), name, device)
                .doing("making a device", "/dev")?;
        }
        for (target, name) in LINKS {
            sys::symlink_at(target, dev.as_fd(), name).doing("making a link", "/dev")?;
        }
        let guarded = sys::MS_NOSUID | sys::MS_NOEXEC;
        let terminals = c"newinstance,ptmxmode=0666,mode=0620,gid=5";
        let pts = Path::new("/dev/pts");
        match self.new_mount(c"devpts", pts, guarded, Some(terminals)) {
            // A user namespace of one group has no group of terminals.
            Err(failure) if self.rootless && failure.errno == sys::EINVAL => {
                let terminals = c"newinstance,ptmxmode=0666,mode=0620";
                self.new_mount(c"devpts", pts, guarded, Some(terminals))?;
            }
            other => other?,
        }
        self.keep_devices(pts)?;
        let size = std::ffi::CString::new(format!("mode=1777,size={}", step.shm_bytes))
            .unwrap_or_default();
        let shared = guarded | sys::MS_NODEV;
        self.new_mount(c"tmpfs", Path::new("/dev/shm"), shared, Some(&size))?;
        self.new_mount(c"mqueue", Path::new("/dev/mqueue"), shared, None)
    }

    /// Makes a device on a file system that the step cannot reach, and shows it in `/dev`.
    fn device(
        &mut self,
        dev: BorrowedFd<'_>,
        nodes: BorrowedFd<'_>,
        name: &CStr,
        device: (u32, u32),
    ) -> std::io::Result<()> {
        let flags = sys::O_WRONLY | sys::O_CREAT | sys::O_EXCL | sys::O_NOFOLLOW;
        let place = sys::open_at(dev, name, flags, 0o666)?;
        if self.rootless {
            let host = Path::new("/dev").join(OsStr::from_bytes(name.to_bytes()));
            return sys::attach(sys::clone_mount_at(&host)?.as_fd(), place.as_fd());
        }
        sys::mknod_at(nodes, name, sys::S_IFCHR | 0o666, device)?;
        sys::chmod_at(nodes, name, 0o666)?;
        let node = sys::clone_mount(nodes, name)?;
        sys::attach(node.as_fd(), place.as_fd())?;
        self.device_mounts.push(node);
        Ok(())
    }

    /// Remembers that the devices of a mount can be used.
    fn keep_devices(&mut self, path: &Path) -> Result<(), Failure> {
        let mounted =
            sys::open_in_root(self.root.as_fd(), path, sys::O_PATH).doing("opening", path)?;
        self.device_mounts.push(mounted);
        Ok(())
    }

    /// Forbids to use any other device than those of `/dev` and those that were asked for: a step may make a node for a disk of
    /// the host, as it has the capability that packages need, but it must not open it.
    fn forbid_devices(&self) -> Result<(), Failure> {
        sys::set_attributes(self.root.as_fd(), sys::ATTR_NODEV, true)
            .doing("forbidding devices", "/")?;
        for mount in &self.device_mounts {
            sys::change_attributes(mount.as_fd(), 0, sys::ATTR_NODEV, false)
                .doing("allowing devices", "/dev")?;
        }
        Ok(())
    }

    /// Shows files in memory that name hosts and servers; the layer never sees them.
    fn network_files(&mut self, step: &Step, means: &Means) -> Result<(), Failure> {
        let hosts = hosts(step);
        self.file("/etc/hosts".as_ref(), hosts.as_bytes(), 0o644, 0, 0, false)?;
        let resolv_conf = match &step.resolv_conf {
            ResolvConf::Host | ResolvConf::With(_) => &means.resolv_conf.0,
            ResolvConf::Image => return Ok(()),
        };
        self.file("/etc/resolv.conf".as_ref(), resolv_conf, 0o644, 0, 0, false)
    }

    /// Shows a file that exists in memory only.
    fn file(
        &mut self,
        target: &Path,
        bytes: &[u8],
        mode: u32,
        uid: u32,
        gid: u32,
        readonly: bool,
    ) -> Result<(), Failure> {
        let memory = sys::FileSystem::open(c"tmpfs")
            .and_then(|memory| memory.mount())
            .doing("making a file in memory", target)?;
        let flags = sys::O_WRONLY | sys::O_CREAT | sys::O_EXCL;
        let file = sys::open_at(memory.as_fd(), c"file", flags, 0o600)
            .doing("making a file in memory", target)?;
        sys::write_all(file.as_fd(), bytes)
            .and_then(|()| sys::chown(file.as_fd(), uid, gid))
            .and_then(|()| sys::chmod(file.as_fd(), mode))
            .doing("making a file in memory", target)?;
        drop(file);
        let tree = sys::clone_mount(memory.as_fd(), c"file").doing("mounting", target)?;
        if readonly {
            sys::set_attributes(tree.as_fd(), sys::ATTR_RDONLY, false).doing("mounting", target)?;
        }
        let at = self.stubs.open(self.root.as_fd(), target, false)?;
        sys::attach(tree.as_fd(), at.as_fd()).doing("mounting", target)
    }

    fn mount(&mut self, mount: &Mount) -> Result<(), Failure> {
        match mount {
            Mount::Bind { source, target, readonly } => self.bind(source, target, *readonly),
            Mount::BindDiscard { source, target, upper, work } => {
                let is_dir =
                    std::fs::metadata(source).doing("looking at what is mounted", source)?.is_dir();
                // An overlay stacks directories: of a single file, the one that it is in.
                match (is_dir, source.parent(), source.file_name()) {
                    (false, Some(parent), Some(name)) => {
                        let inside = Path::new("/").join(name);
                        self.layers(&[parent.to_owned()], &inside, target, Some((upper, work)))
                    }
                    _ => {
                        let lowers = [source.clone()];
                        self.layers(&lowers, Path::new("/"), target, Some((upper, work)))
                    }
                }
            }
            Mount::Layers { lowers, source, target, scratch } => {
                let scratch = scratch.as_ref().map(|(upper, work)| (upper, work));
                self.layers(lowers, source, target, scratch)
            }
            Mount::Tmpfs { target, size_bytes, mode } => {
                let size = size_bytes.map(|bytes| format!(",size={bytes}")).unwrap_or_default();
                let options = std::ffi::CString::new(format!("mode={mode:o}{size}"))
                    .unwrap_or_default();
                self.new_mount(c"tmpfs", target, sys::MS_NOSUID, Some(&options))
            }
            Mount::Secret { bytes, target, mode, uid, gid } => {
                self.file(target, bytes, *mode, *uid, *gid, true)
            }
            Mount::Socket { source, target, mode, uid, gid } => {
                let socket = sys::open(source, sys::O_PATH, 0).doing("opening", source)?;
                let path = sys::fd_path(socket.as_fd());
                let here = sys::open("/".as_ref(), sys::O_PATH, 0).doing("opening", "/")?;
                sys::chmod_at(here.as_fd(), &path, *mode).doing("preparing a socket", source)?;
                sys::chown(socket.as_fd(), *uid, *gid).doing("preparing a socket", source)?;
                self.bind(source, target, false)
            }
            Mount::Device { source, target } => {
                // Read-only, devices can be written to all the same. What they are cannot be changed then, and no others
                // made beside them, which the step could open.
                self.bind(source, target, true)?;
                self.keep_devices(target)
            }
        }
    }

    /// Shows a part of a stack of layers.
    fn layers(
        &mut self,
        lowers: &[PathBuf],
        source: &Path,
        target: &Path,
        scratch: Option<(&PathBuf, &PathBuf)>,
    ) -> Result<(), Failure> {
        let stack = match (lowers, scratch) {
            ([], _) => sys::FileSystem::open(c"tmpfs").and_then(|memory| memory.mount()),
            // An overlay needs two layers or a writable one.
            ([only], None) => sys::clone_mount_at(only),
            _ => overlay(lowers, scratch, self.rootless),
        }
        .doing("stacking layers", target)?;
        let inside = sys::open_in_root(stack.as_fd(), source, sys::O_PATH)
            .doing("opening", source)?;
        let directory = sys::is_dir(inside.as_fd()).doing("looking at", source)?;
        let part = sys::clone_mount(inside.as_fd(), c"").doing("mounting", source)?;
        if scratch.is_none() {
            sys::set_attributes(part.as_fd(), sys::ATTR_RDONLY, true).doing("mounting", target)?;
        }
        let at = self.stubs.open(self.root.as_fd(), target, directory)?;
        sys::attach(part.as_fd(), at.as_fd()).doing("mounting", target)
    }
}
