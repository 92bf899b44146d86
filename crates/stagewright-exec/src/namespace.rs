//! The user namespace of a process that is not root of its host, and work on files in it.

use std::io::{self, IoSliceMut, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use crate::error::ExecError;
use crate::ids::{Ids, MoreIds, is_root_of_the_host};
use crate::message::{IdMap, Report, Request, TreeReply, TreeRequest};
use crate::sandbox::{Running, failed, place_executable};
use crate::tree::{TreeChange, TreeNode};
use crate::wire::{self, Wire};

/// A user namespace in which this process's user is root. It is made when it is first needed and
/// ends with this value.
#[derive(Debug)]
pub struct UserNamespace {
    /// Whether other ids than this process's own are left out.
    one_id: bool,
    started: OnceLock<Result<Started, String>>,
}

#[derive(Debug)]
struct Started {
    /// Guards the order of requests and replies.
    running: Mutex<Running>,
    _executable: OwnedFd,
    file: PathBuf,
    /// Why there is one id only; nothing when there are many.
    lone: Option<String>,
}

impl UserNamespace {
    /// Returns one that is not made yet. With `one_id` it has no other than this process's.
    #[must_use]
    pub fn new(one_id: bool) -> Self {
        Self {
            one_id,
            started: OnceLock::new(),
        }
    }

    /// Returns one, not made yet, if steps of this process need one: it is not root of its host, but
    /// a plain user, or root of a container.
    #[must_use]
    pub fn if_needed() -> Option<Self> {
        (!is_root_of_the_host()).then(|| Self::new(false))
    }

    /// Makes it, if nobody did.
    ///
    /// # Errors
    /// When this host lets its users make none.
    pub fn start(&self) -> io::Result<()> {
        self.started().map(drop)
    }

    /// Returns why there is only one id in it; nothing when there are many.
    ///
    /// # Errors
    /// As [`UserNamespace::start`].
    pub fn one_id(&self) -> io::Result<Option<&str>> {
        Ok(self.started()?.lone.as_deref())
    }

    pub(crate) fn file(&self) -> io::Result<&Path> {
        Ok(&self.started()?.file)
    }

    /// Returns what a tree holds, in no order.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn walk(&self, root: &Path) -> io::Result<Vec<TreeNode>> {
        let root = root.to_owned();
        match self.ask(&TreeRequest::Walk { root })? {
            (TreeReply::Walked { nodes }, _) => Ok(nodes),
            _ => Err(out_of_step()),
        }
    }

    /// Opens a file of a tree for reading, whoever owns it. No symbolic link is followed.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn open_file(&self, root: &Path, path: &Path) -> io::Result<OwnedFd> {
        let (root, path) = (root.to_owned(), path.to_owned());
        self.ask(&TreeRequest::Open { root, path })?
            .1
            .ok_or_else(out_of_step)
    }

    /// Changes things in a tree, in the order that is given.
    ///
    /// # Errors
    /// When one can't be changed; those before it are.
    pub fn change(&self, root: &Path, changes: Vec<TreeChange>) -> io::Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let root = root.to_owned();
        self.ask(&TreeRequest::Change { root, changes }).map(drop)
    }

    /// Removes a tree, whoever owns it. It need not be there.
    ///
    /// # Errors
    /// When something in it can't be removed.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        let path = path.to_owned();
        self.ask(&TreeRequest::Remove { path }).map(drop)
    }

    fn started(&self) -> io::Result<&Started> {
        self.started
            .get_or_init(|| Started::new(self.one_id).map_err(|error| told(&error)))
            .as_ref()
            .map_err(|message| io::Error::other(message.clone()))
    }

    fn ask(&self, request: &TreeRequest) -> io::Result<(TreeReply, Option<OwnedFd>)> {
        let running = self.started()?.running.lock();
        let running = running.unwrap_or_else(PoisonError::into_inner);
        let control = running.control().map_err(io::Error::other)?;
        let reply = exchange(control, request)?;
        let file = match (&reply, request) {
            (TreeReply::Failed { failure }, _) => {
                let kind = io::Error::from_raw_os_error(failure.errno).kind();
                let error = failed(failure.clone());
                return Err(io::Error::new(kind, told(&error)));
            }
            (_, TreeRequest::Open { .. }) => Some(receive_descriptor(control)?),
            _ => None,
        };
        Ok((reply, file))
    }
}

impl Started {
    fn new(one_id: bool) -> Result<Self, ExecError> {
        let (executable, path) = place_executable(None).map_err(io::Error::other)?;
        let ids = if one_id {
            Err("one id was asked for".to_owned())
        } else {
            MoreIds::of_this_process()
        };
        let lone = match ids {
            Ok(ids) => match Self::with(&path, Some(&ids)) {
                Ok((running, file)) => return Ok(Self::made(running, executable, file, None)),
                Err(error) => told(&error),
            },
            Err(reason) => reason,
        };
        let (running, file) = Self::with(&path, None)?;
        Ok(Self::made(running, executable, file, Some(lone)))
    }

    fn made(running: Running, executable: OwnedFd, file: PathBuf, lone: Option<String>) -> Self {
        Self {
            running: Mutex::new(running),
            _executable: executable,
            file,
            lone,
        }
    }

    fn with(path: &Path, ids: Option<&MoreIds>) -> Result<(Running, PathBuf), ExecError> {
        let own = Ids::of_this_process();
        let map = match ids {
            Some(_) => IdMap::ByCaller,
            None => IdMap::One {
                uid: own.uid,
                gid: own.gid,
            },
        };
        let mut command = Command::new(path);
        let running = Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
        running.send(&wire::message(&Request::Tree { map }), None)?;
        let control = running.control()?;
        expect_start(control)?;
        if let Some(ids) = ids {
            ids.map(own, running.pid())?;
            (&*control).write_all(&wire::message(&TreeRequest::Mapped))?;
            expect_start(control)?;
        }
        let file = format!("/proc/{}/ns/user", running.pid()).into();
        Ok((running, file))
    }
}

fn expect_start(control: &UnixStream) -> Result<(), ExecError> {
    match receive(control)? {
        Report::Started => Ok(()),
        Report::Failed { failure } => Err(failed(failure)),
        _ => Err(ExecError::Lost),
    }
}

fn exchange(mut control: &UnixStream, request: &TreeRequest) -> io::Result<TreeReply> {
    control.write_all(&wire::message(request))?;
    receive(control)
}

pub(crate) fn receive<T: Wire>(mut control: &UnixStream) -> io::Result<T> {
    let mut length = [0; 4];
    control.read_exact(&mut length)?;
    let mut bytes = Vec::new();
    let count = u32::from_le_bytes(length).into();
    control.take(count).read_to_end(&mut bytes)?;
    wire::parse(&bytes).map_err(|_| out_of_step())
}

/// Receives the byte that carries a descriptor.
fn receive_descriptor(control: &UnixStream) -> io::Result<OwnedFd> {
    let mut byte = [0];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut byte)];
    rustix::net::recvmsg(control, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let descriptor = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    descriptor.ok_or_else(out_of_step)
}

fn out_of_step() -> io::Error {
    io::Error::other("the process in the user namespace ended or gave no answer")
}

/// Returns an error with its causes.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
