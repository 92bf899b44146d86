//! Runs steps: starts the embedded executable and talks to it.

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use fs_err as fs;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::termios::isatty;

use crate::cgroup::StepCgroups;
use crate::error::{ExecError, ProbeError};
use crate::ids::program_in_folders;
use crate::message::{FUSE, Failure, FailureKind, Finding, Means, Report, Request, Way};
use crate::namespace::{self, UserNamespace};
use crate::network;
use crate::orphans::end_processes_in;
use crate::report::{HostReport, Mode, Stacking};
use crate::step::{Exit, RootFs, Step};
use crate::terminal;
use crate::wire::{self, Bytes};

/// The executable that runs steps.
const EXECUTABLE: &[u8] = include_bytes!(env!("STAGEWRIGHT_INIT"));
/// A piece of output.
const PIECE_BYTES: usize = 32 << 10;

/// How a host is probed.
#[derive(Debug, Clone, Default)]
pub struct ProbeOptions {
    /// A directory for the executable, where memory cannot be executed.
    pub scratch: Option<PathBuf>,
    /// The user namespace that steps run in; nothing for root.
    pub namespace: Option<Arc<UserNamespace>>,
    /// A directory, on the file system that holds layers, with the empty directories `lower`,
    /// `upper` and `work`, in which mounts are tried. Without it they are believed to work.
    pub trial: Option<PathBuf>,
}

/// Where a step wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Stops a step from another thread. Clones stop the same one.
#[derive(Debug, Clone)]
pub struct CancelHandle(Arc<UnixStream>, Arc<UnixStream>);

impl CancelHandle {
    /// Makes a handle for one step.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> Result<Self, ExecError> {
        let (write, read) = UnixStream::pair().map_err(ExecError::Spawn)?;
        Ok(Self(Arc::new(write), Arc::new(read)))
    }

    /// Kills everything in the step.
    pub fn cancel(&self) {
        // A byte that does not fit any more follows others that say the same.
        let _ = self.0.set_nonblocking(true);
        let _ = (&*self.0).write(&[1]);
    }
}

/// A host on which steps can run.
#[derive(Debug)]
pub struct Sandbox {
    /// Keeps the executable's memory alive.
    _executable: OwnedFd,
    path: PathBuf,
    resolv_conf: Vec<u8>,
    report: HostReport,
    namespace: Option<Arc<UserNamespace>>,
}

impl Sandbox {
    /// Finds out how steps can run on this host, and puts the executable into memory.
    ///
    /// # Errors
    /// When no way of running a step works here.
    pub fn probe(options: ProbeOptions) -> Result<Self, ProbeError> {
        let mut sandbox = Self::unprobed(options.scratch, options.namespace)?;
        let namespace = sandbox.namespace.as_deref();
        let tried = match (options.trial, namespace.map(UserNamespace::start)) {
            (Some(trial), None | Some(Ok(()))) => Some(sandbox.tried(trial)?),
            _ => None,
        };
        sandbox.report = HostReport::of_this_host(namespace, tried.as_deref());
        match sandbox.report.mode {
            Mode::None => Err(ProbeError::NoMode(sandbox.report.reason)),
            _ => Ok(sandbox),
        }
    }

    fn unprobed(
        scratch: Option<PathBuf>,
        namespace: Option<Arc<UserNamespace>>,
    ) -> Result<Self, ProbeError> {
        let (executable, path) = place_executable(scratch)?;
        Ok(Self {
            _executable: executable,
            path,
            resolv_conf: fs::read("/etc/resolv.conf").unwrap_or_default(),
            report: HostReport::unknown(),
            namespace,
        })
    }

    /// Lets the executable try what steps need.
    fn tried(&self, scratch: PathBuf) -> Result<Vec<Finding>, ProbeError> {
        let ask = || -> Result<Report, ExecError> {
            let mut command = Command::new(&self.path);
            let running = Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
            let mut means = self.means()?;
            means.stacker = program_in_folders(FUSE);
            let request = Request::Probe { scratch, means };
            running.send(&wire::message(&request), None)?;
            Ok(namespace::receive(running.control()?)?)
        };
        match ask() {
            Ok(Report::Probed { findings }) => Ok(findings),
            Ok(Report::Failed { failure }) => Err(ProbeError::Trial(failed(failure))),
            Ok(_) => Err(ProbeError::NoAnswer),
            Err(error) => Err(ProbeError::Trial(error)),
        }
    }

    /// Returns the mode that is used.
    pub fn mode(&self) -> Mode {
        self.report.mode
    }

    /// Returns how layers become the root of a step.
    pub fn stacking(&self) -> Stacking {
        self.report.stacking
    }

    /// Returns whether mounts of layers are refused, as only the kernel stacks those: what they would
    /// show has to be a directory.
    pub fn copies_mounts(&self) -> bool {
        self.report.stacking != Stacking::Overlayfs
    }

    /// Returns whether steps cannot have mounts of their own.
    pub fn mounts_nothing(&self) -> bool {
        self.report.mode == Mode::Chroot
    }

    /// Says what was found out about the host.
    pub fn report(&self) -> &HostReport {
        &self.report
    }

    /// Runs a step to its end and hands out what it writes. Blocks.
    ///
    /// When this returns, nothing of the step runs any more and none of its mounts is left.
    ///
    /// # Errors
    /// When the step could not be run, was cancelled or took too long. A program that ended, however
    /// it did, is no error.
    pub fn run(
        &self,
        step: &Step,
        output: &mut dyn FnMut(Stream, &[u8]),
        cancel: &CancelHandle,
    ) -> Result<Exit, ExecError> {
        let mut command = Command::new(&self.path);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        self.attend(step, command, Given::Nothing, output, cancel)
    }

    /// Runs a program with the caller's own standard streams.
    ///
    /// # Errors
    /// As [`Sandbox::run`].
    pub fn run_attached(&self, step: &Step, cancel: &CancelHandle) -> Result<Exit, ExecError> {
        let stdin = io::stdin();
        let given = Given::Input(stdin.as_fd());
        let mut command = Command::new(&self.path);
        // A host may have its own streams closed on exec, as Node has; what is closed already stays so.
        if let Ok(stream) = io::stdout().as_fd().try_clone_to_owned() {
            command.stdout(stream);
        }
        if let Ok(stream) = io::stderr().as_fd().try_clone_to_owned() {
            command.stderr(stream);
        }
        self.attend(step, command, given, &mut |_, _| {}, cancel)
    }

    /// Runs a program that a person works with: as [`Sandbox::run_attached`], but if the caller's
    /// standard input and output are a terminal, the program has a terminal of its own, so that it
    /// can neither read what is typed for others nor type into the caller's. The caller's terminal
    /// passes every key on meanwhile.
    ///
    /// # Errors
    /// As [`Sandbox::run`]; when no terminal can be made.
    pub fn run_interactive(&self, step: &Step, cancel: &CancelHandle) -> Result<Exit, ExecError> {
        let (stdin, stdout) = (io::stdin(), io::stdout());
        if !(isatty(&stdin) && isatty(&stdout)) {
            return self.run_attached(step, cancel);
        }
        let (input, output) = (stdin.as_fd(), stdout.as_fd());
        let pty = terminal::Pty::like(input).map_err(ExecError::Terminal)?;
        let raw = terminal::Raw::enter(input).map_err(ExecError::Terminal)?;
        let (ours, theirs) = pty.into_ends();
        let (stop, stopped) = UnixStream::pair().map_err(ExecError::Spawn)?;
        let exit = std::thread::scope(|scope| {
            let copying = scope.spawn(|| terminal::copy(input, output, &ours, &stopped));
            let exit = self.run_on(step, &theirs, cancel);
            // What the program wrote last comes before the end of its terminal.
            drop(theirs);
            drop(stop);
            match copying.join() {
                Ok(Ok(())) => exit,
                Ok(Err(error)) => exit.and(Err(ExecError::Terminal(error))),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        });
        drop(raw);
        exit
    }

    fn run_on(
        &self,
        step: &Step,
        terminal: &OwnedFd,
        cancel: &CancelHandle,
    ) -> Result<Exit, ExecError> {
        let end = || terminal.try_clone().map_err(ExecError::Spawn);
        let mut command = Command::new(&self.path);
        command.stdout(end()?).stderr(end()?);
        let given = Given::Terminal(terminal.as_fd());
        self.attend(step, command, given, &mut |_, _| {}, cancel)
    }

    fn attend(
        &self,
        step: &Step,
        mut command: Command,
        given: Given<'_>,
        output: &mut dyn FnMut(Stream, &[u8]),
        cancel: &CancelHandle,
    ) -> Result<Exit, ExecError> {
        let mut means = self.means()?;
        means.network_program = network::program(step.network)?;
        means.resolv_conf = Bytes(network::resolv_conf(step, &self.resolv_conf));
        // Removed after the executable has ended.
        let cgroups = StepCgroups::of(step)?;
        means.cgroups = cgroups.places().to_vec();
        let mut running = Running::start(&mut command)?;
        let request = Request::Run {
            step: step.clone(),
            means,
            terminal: matches!(given, Given::Terminal(_)),
        };
        let stdin = match given {
            Given::Nothing => None,
            Given::Input(input) | Given::Terminal(input) => Some(input),
        };
        running
            .send(&wire::message(&request), stdin)
            .map_err(ExecError::Spawn)?;
        let mut attendant = Attendant {
            bare_root: match &step.root {
                RootFs::Directory(root) if self.mounts_nothing() => Some(root.clone()),
                _ => None,
            },
            deadline: step.timeout.map(|timeout| Instant::now() + timeout),
            stdout: running.child.stdout.take().map(OwnedFd::from),
            stderr: running.child.stderr.take().map(OwnedFd::from),
            reports: Vec::new(),
            result: None,
            kills: 0,
        };
        // Declared after it, the pipes are closed before the end is waited for.
        let ended = attendant.run(step, running.control()?, output, cancel);
        match (ended, step.limits.memory_bytes) {
            (Ok(exit), Some(limit_bytes)) if attendant.kills > 0 && !exit.is_success() => {
                Err(ExecError::OutOfMemory {
                    limit_bytes,
                    kills: attendant.kills,
                })
            }
            (Err(ExecError::Lost), Some(limit_bytes)) if attendant.kills > 0 => {
                Err(ExecError::OutOfMemory {
                    limit_bytes,
                    kills: attendant.kills,
                })
            }
            (ended, _) => ended.map_err(|error| self.explained(step, error)),
        }
    }

    /// Says what to change when ids are missing.
    fn explained(&self, step: &Step, error: ExecError) -> ExecError {
        match &error {
            ExecError::Setup { doing, source, .. }
                if doing == "becoming the user" && source.kind() == io::ErrorKind::InvalidInput =>
            {
                let (uid, gid) = (step.user.uid, step.user.gid);
                let lack = match self.report.mode {
                    Mode::OneId => self.report.reason.clone(),
                    _ => "the ranges in /etc/subuid and /etc/subgid do not reach so far: make them longer".to_owned(),
                };
                ExecError::Unsupported(format!(
                    "the user {uid}:{gid} cannot be had without root here: {lack}"
                ))
            }
            _ => error,
        }
    }

    fn means(&self) -> Result<Means, ExecError> {
        let bare = self.report.mode == Mode::Chroot;
        let user_namespace = match &self.namespace {
            Some(namespace) if !bare => Some(namespace.file()?.to_owned()),
            _ => None,
        };
        Ok(Means {
            way: match user_namespace {
                _ if bare => Way::Chroot,
                Some(_) => Way::UserNamespace,
                None => Way::Namespaces,
            },
            user_namespace,
            resolv_conf: Bytes(self.resolv_conf.clone()),
            cgroups: Vec::new(),
            network_program: None,
            stacker: match self.report.stacking {
                Stacking::FuseOverlayfs => program_in_folders(FUSE),
                Stacking::Overlayfs | Stacking::Copies => None,
            },
        })
    }
}

/// What a program's standard input is.
enum Given<'f> {
    /// Nothing can be read.
    Nothing,
    /// A file, a pipe, a terminal of somebody else.
    Input(BorrowedFd<'f>),
    /// A terminal that becomes the program's own.
    Terminal(BorrowedFd<'f>),
}

/// The executable while it runs. However its use ends, by a panic as well, the step ends with it
/// and is waited for.
#[derive(Debug)]
pub(crate) struct Running {
    control: Option<UnixStream>,
    child: Child,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Result<Self, ExecError> {
        let (control, theirs) = UnixStream::pair().map_err(ExecError::Spawn)?;
        command.env_clear();
        #[cfg(feature = "weakened-for-tests")]
        if let Some(guards) = std::env::var_os("STAGEWRIGHT_WEAKEN") {
            command.env("STAGEWRIGHT_WEAKEN", guards);
        }
        let child = command
            .stdin(OwnedFd::from(theirs))
            .spawn()
            .map_err(ExecError::Spawn)?;
        // The caller's command would keep their end of the socket open.
        command.stdin(Stdio::null());
        Ok(Self {
            control: Some(control),
            child,
        })
    }

    pub(crate) fn control(&self) -> Result<&UnixStream, ExecError> {
        self.control.as_ref().ok_or(ExecError::Lost)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends bytes, the first ones together with a descriptor.
    pub(crate) fn send(&self, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let Some(mut control) = self.control.as_ref() else {
            return Ok(());
        };
        let Some(descriptor) = descriptor else {
            return control.write_all(bytes);
        };
        let descriptors = [descriptor];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        let part = [IoSlice::new(bytes)];
        let sent = rustix::net::sendmsg(control, &part, &mut ancillary, SendFlags::NOSIGNAL)?;
        control.write_all(&bytes[sent..])
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The end of the socket is what ends the step, if anything of it is left.
        drop(self.control.take());
        drop(self.child.stdout.take());
        drop(self.child.stderr.take());
        // A host that reaps every child itself leaves none to wait for.
        let _ = self.child.wait();
    }
}

/// Puts the executable into memory, or into a file where memory cannot be executed.
pub(crate) fn place_executable(scratch: Option<PathBuf>) -> Result<(OwnedFd, PathBuf), ProbeError> {
    if let Some(directory) = scratch {
        let path = directory.join("stagewright-init");
        write_executable(&path).map_err(ProbeError::Prepare)?;
        let file = fs::File::open(&path).map_err(ProbeError::Prepare)?;
        return Ok((file.into_parts().0.into(), path));
    }
    let sealable = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // A host may refuse memory that does not say that it is to be executed; old kernels do not
    // know the word.
    let memory = rustix::fs::memfd_create("stagewright-init", sealable | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create("stagewright-init", sealable))
        .map_err(|errno| ProbeError::Prepare(errno.into()))?;
    let mut file = std::fs::File::from(memory);
    file.write_all(EXECUTABLE).map_err(ProbeError::Prepare)?;
    // A step that gets hold of the executable cannot change what the next step is run by.
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&file, seals).map_err(|errno| ProbeError::Prepare(errno.into()))?;
    use std::os::fd::AsRawFd as _;
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()).into();
    Ok((file.into(), path))
}

fn write_executable(path: &std::path::Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, EXECUTABLE)?;
    fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
}

/// Attends to a running step.
struct Attendant {
    /// The root of a step that nothing but this keeps apart.
    bare_root: Option<PathBuf>,
    deadline: Option<Instant>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    /// Bytes of reports that are not whole yet.
    reports: Vec<u8>,
    result: Option<Result<Exit, ExecError>>,
    /// How many processes of the step ended because there was no memory left.
    kills: u64,
}

impl Attendant {
    fn run(
        &mut self,
        step: &Step,
        control: &UnixStream,
        output: &mut dyn FnMut(Stream, &[u8]),
        cancel: &CancelHandle,
    ) -> Result<Exit, ExecError> {
        let mut control_open = true;
        while control_open || self.stdout.is_some() || self.stderr.is_some() {
            let left = self
                .deadline
                .map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(ExecError::TimedOut(step.timeout.unwrap_or_default()));
            }
            let ready = self.wait(control_open.then_some(control), cancel, left)?;
            if ready.cancelled {
                return Err(ExecError::Cancelled);
            }
            if ready.stdout {
                copy(&mut self.stdout, Stream::Stdout, output)?;
            }
            if ready.stderr {
                copy(&mut self.stderr, Stream::Stderr, output)?;
            }
            if ready.control {
                control_open = self.receive(control)?;
                if let (false, None, Some(root)) = (control_open, &self.result, &self.bare_root) {
                    // Both processes that would have ended the step were killed.
                    end_processes_in(root);
                }
            }
        }
        self.result.take().unwrap_or(Err(ExecError::Lost))
    }

    fn wait(
        &self,
        control: Option<&UnixStream>,
        cancel: &CancelHandle,
        left: Option<std::time::Duration>,
    ) -> Result<Ready, ExecError> {
        let sources = [
            control.map(AsFd::as_fd),
            self.stdout.as_ref().map(AsFd::as_fd),
            self.stderr.as_ref().map(AsFd::as_fd),
        ];
        let mut fds = vec![PollFd::new(&*cancel.1, PollFlags::IN)];
        fds.extend(
            sources
                .iter()
                .flatten()
                .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)),
        );
        // One that is too long to be said has no end.
        let timeout = left.and_then(|left| rustix::event::Timespec::try_from(left).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(ExecError::Read(errno.into())),
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let cancelled = ready.next().unwrap_or(false);
        let mut next = |source: &Option<_>| source.is_some() && ready.next().unwrap_or(false);
        let [control, stdout, stderr] = [&sources[0], &sources[1], &sources[2]].map(&mut next);
        Ok(Ready {
            cancelled,
            control,
            stdout,
            stderr,
        })
    }

    /// Takes in reports. Returns whether more can come.
    fn receive(&mut self, control: &UnixStream) -> Result<bool, ExecError> {
        let mut piece = [0; 4096];
        let count = match (&*control).read(&mut piece) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(ExecError::Read(error)),
        };
        if count == 0 {
            return Ok(false);
        }
        self.reports.extend_from_slice(&piece[..count]);
        while let Some(length) = self.reports.first_chunk::<4>() {
            let end = 4 + u32::from_le_bytes(*length) as usize;
            if self.reports.len() < end {
                break;
            }
            let report = wire::parse::<Report>(&self.reports[4..end]);
            self.reports.drain(..end);
            self.take(report.map_err(|_| ExecError::Lost)?);
        }
        Ok(true)
    }

    /// The first report of an end counts.
    fn take(&mut self, report: Report) {
        let result = match report {
            Report::Ended { exit } => Ok(exit),
            Report::Failed { failure } => Err(failed(failure)),
            Report::OutOfMemory { kills } => {
                self.kills = kills;
                return;
            }
            Report::Started | Report::Probed { .. } => return,
        };
        self.result.get_or_insert(result);
    }
}

#[derive(Debug, Clone, Copy)]
struct Ready {
    cancelled: bool,
    control: bool,
    stdout: bool,
    stderr: bool,
}

fn copy(
    pipe: &mut Option<OwnedFd>,
    stream: Stream,
    output: &mut dyn FnMut(Stream, &[u8]),
) -> Result<(), ExecError> {
    let Some(fd) = pipe else { return Ok(()) };
    let mut piece = vec![0; PIECE_BYTES];
    match rustix::io::read(&*fd, &mut piece) {
        Ok(0) => *pipe = None,
        Ok(count) => output(stream, &piece[..count]),
        Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(ExecError::Read(errno.into())),
    }
    Ok(())
}

pub(crate) fn failed(failure: Failure) -> ExecError {
    let subject = String::from_utf8_lossy(&failure.subject.0).into_owned();
    let source = io::Error::from_raw_os_error(failure.errno);
    match failure.kind {
        FailureKind::Start => ExecError::Start {
            doing: failure.doing,
            program: subject,
            source,
        },
        FailureKind::Unsupported => ExecError::Unsupported(failure.doing),
        FailureKind::Setup | FailureKind::Broken => ExecError::Setup {
            doing: failure.doing,
            subject,
            source,
        },
    }
}
