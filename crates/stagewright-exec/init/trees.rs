//! A user namespace, and work on trees of files in it, for a caller that is not root.
//!
//! Files of a rootless build belong to ids that only the namespace knows: outside, neither can all
//! of them be read nor can any of them be given away or removed. The process has one thread and
//! lives as long as its caller, and steps join its namespace: mapping ids costs more than a step.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::message::{Failure, IdMap, Report, TreeReply, TreeRequest};
use crate::outside::{control, receive_message, send, unsupported};
use crate::sys;
use crate::tree::{TreeChange, TreeNode};
use crate::trouble::Doing;
use crate::wire;

/// Makes the namespace and does what is asked until the caller is gone.
pub(crate) fn serve(map: IdMap) -> Result<(), Failure> {
    sys::unshare(sys::CLONE_NEWUSER).doing("making a user namespace", "")?;
    match map {
        IdMap::ByCaller => {
            send(&Report::Started);
            let Some(TreeRequest::Mapped) = next() else { return Ok(()) };
        }
        IdMap::One { uid, gid } => map_one(uid, gid)?,
    }
    sys::become_root().doing("becoming root of the user namespace", "")?;
    sys::umask(0);
    send(&Report::Started);
    while let Some(request) = next() {
        let reply = match request {
            TreeRequest::Open { root, path } => match open(&root, &path) {
                Ok(file) => {
                    let _ = sys::send_all(control(), &wire::message(&TreeReply::Done));
                    let _ = sys::send_descriptor(control(), file.as_fd());
                    continue;
                }
                Err(failure) => Err(failure),
            },
            TreeRequest::Walk { root } => walk(&root).map(|nodes| TreeReply::Walked { nodes }),
            TreeRequest::Change { root, changes } => change(&root, &changes),
            TreeRequest::Remove { path } => remove(&path),
            TreeRequest::Mapped => Err(unsupported("mapping ids twice")),
        };
        let reply = reply.unwrap_or_else(|failure| TreeReply::Failed { failure });
        let _ = sys::send_all(control(), &wire::message(&reply));
    }
    Ok(())
}

fn next() -> Option<TreeRequest> {
    wire::parse(&receive_message()?.0).ok()
}

fn map_one(uid: u32, gid: u32) -> Result<(), Failure> {
    // Without the right over other groups, a group may be mapped only by who gives up changing them.
    for (file, text) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {uid} 1")),
        ("/proc/self/gid_map", format!("0 {gid} 1")),
    ] {
        std::fs::write(file, text).doing("mapping this user to root", file)?;
    }
    Ok(())
}

fn open(root: &Path, path: &Path) -> Result<std::os::fd::OwnedFd, Failure> {
    let top = sys::open(root, sys::O_PATH | sys::O_DIRECTORY, 0).doing("opening", root)?;
    sys::open_plain(top.as_fd(), named(path), sys::O_RDONLY | sys::O_NONBLOCK)
        .doing("opening", root.join(path))
}

/// The root of a tree is its own `.`.
fn named(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// Reads a tree from within, so that paths are no longer than those of its files.
fn walk(root: &Path) -> Result<Vec<TreeNode>, Failure> {
    std::env::set_current_dir(root).doing("reading", root)?;
    let mut nodes = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    let mut result = Ok(());
    while let (Some(path), true) = (waiting.pop(), result.is_ok()) {
        result = visit(&path, &mut waiting)
            .map(|node| nodes.push(node))
            .doing("reading", root.join(&path));
    }
    let _ = std::env::set_current_dir("/");
    result.map(|()| nodes)
}

fn visit(path: &Path, waiting: &mut Vec<PathBuf>) -> io::Result<TreeNode> {
    let found = std::fs::symlink_metadata(named(path))?;
    if found.is_dir() {
        for entry in std::fs::read_dir(named(path))? {
            waiting.push(path.join(entry?.file_name()));
        }
    }
    let target = if found.is_symlink() { std::fs::read_link(path)?.into() } else { Default::default() };
    Ok(TreeNode {
        path: path.to_owned(),
        mode: found.mode(),
        uid: found.uid(),
        gid: found.gid(),
        seconds: found.mtime(),
        nanos: u32::try_from(found.mtime_nsec()).unwrap_or(0),
        changed: (found.ctime(), u32::try_from(found.ctime_nsec()).unwrap_or(0)),
        born: found.created().ok().and_then(|born| {
            let born = born.duration_since(std::time::UNIX_EPOCH).ok()?;
            Some((i64::try_from(born.as_secs()).ok()?, born.subsec_nanos()))
        }),
        links: u32::try_from(found.nlink()).unwrap_or(u32::MAX),
        device: found.dev(),
        inode: found.ino(),
        special: found.rdev(),
        target,
        xattrs: sys::xattrs(&sys::c_string(named(path))?)?,
    })
}

fn change(root: &Path, changes: &[TreeChange]) -> Result<TreeReply, Failure> {
    std::env::set_current_dir(root).doing("changing", root)?;
    let mut checked = BTreeMap::new();
    let result = changes.iter().try_for_each(|change| {
        let path = match change {
            TreeChange::Owner { path, .. }
            | TreeChange::Xattr { path, .. }
            | TreeChange::ClearXattr { path, .. }
            | TreeChange::Remove { path }
            | TreeChange::Times { path, .. } => path,
        };
        check_parents(path, &mut checked).doing("changing", root.join(path))?;
        apply(change, path, root)
    });
    let _ = std::env::set_current_dir("/");
    result.map(|()| TreeReply::Done)
}

/// Refuses a path that leads through a symbolic link.
fn check_parents(path: &Path, checked: &mut BTreeMap<PathBuf, ()>) -> io::Result<()> {
    for parent in path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
        if checked.contains_key(parent) {
            break;
        }
        if !std::fs::symlink_metadata(parent)?.is_dir() {
            return Err(io::Error::from_raw_os_error(sys::ENOTDIR));
        }
        checked.insert(parent.to_owned(), ());
    }
    Ok(())
}

fn apply(change: &TreeChange, path: &Path, root: &Path) -> Result<(), Failure> {
    let shown = root.join(path);
    let at = named(path);
    match change {
        TreeChange::Owner { uid, gid, mode, .. } => {
            std::os::unix::fs::lchown(at, Some(*uid), Some(*gid))
                .doing(&format!("giving a file to {uid}:{gid}"), &shown)?;
            let Some(mode) = mode else { return Ok(()) };
            let mode = std::os::unix::fs::PermissionsExt::from_mode(*mode);
            std::fs::set_permissions(at, mode).doing("setting permissions", &shown)
        }
        TreeChange::Xattr { name, value, .. } => sys::c_string(at)
            .and_then(|at| sys::set_xattr(&at, name, value))
            .doing("setting an attribute", &shown),
        TreeChange::ClearXattr { name, .. } => sys::c_string(at)
            .and_then(|at| sys::clear_xattr(&at, name))
            .doing("removing an attribute", &shown),
        TreeChange::Remove { .. } => {
            let is_dir = std::fs::symlink_metadata(at).doing("removing", &shown)?.is_dir();
            if is_dir { std::fs::remove_dir(at) } else { std::fs::remove_file(at) }
                .doing("removing", &shown)
        }
        TreeChange::Times { seconds, nanos, .. } => sys::c_string(at)
            .and_then(|at| sys::set_time(&at, *seconds, (*nanos).into()))
            .doing("setting times", &shown),
    }
}

fn remove(path: &Path) -> Result<TreeReply, Failure> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => other.doing("removing", path)?,
    }
    Ok(TreeReply::Done)
}
