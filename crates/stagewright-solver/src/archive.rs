//! Archives that `ADD` unpacks.

use std::collections::HashMap;
use std::io::{BufReader, Read};

use stagewright_layer::{Entry, EntryKind, EntryPath, LayerReader, Metadata, Mtime, decompress};
use stagewright_snapshot::LayerBuilder;

use crate::copy::{Below, Node, NodeKind, Owner, Placing, Selection, Sources};
use crate::error::StepError;

/// Unpacks the archives among what an `ADD` selected into its layer, and takes them out of the
/// selection: the rest is copied. Says whether there was any.
///
/// As BuildKit does, an archive is told by its content and not by its name; `--chown` applies to
/// what is in it, `--chmod` does not. What lies below a link lies where the link leads to.
pub(crate) fn take_archives(
    builder: &mut LayerBuilder,
    selection: &mut Selection,
    sources: &Sources,
    files: &dyn Below,
    dest: &EntryPath,
    owner: Option<Owner>,
) -> Result<bool, StepError> {
    let mut places = Places {
        files,
        seen: HashMap::new(),
        last: None,
    };
    let mut failed = None;
    let mut change = |entry: &mut Entry| {
        if let Some(owner) = owner {
            (entry.metadata.uid, entry.metadata.gid) = (owner.uid, owner.gid);
        }
        if failed.is_none() {
            failed = places.place(entry).err();
        }
    };
    let mut unpacked = false;
    let mut rest = Vec::new();
    for matched in std::mem::take(&mut selection.matches) {
        let is_file = matches!(matched.node.kind, NodeKind::File { .. });
        if !matched.unpack || !is_file {
            rest.push(matched);
            continue;
        }
        let content = sources.tree(matched.input)?.content(&matched.node)?;
        let open = || content.open().map_err(StepError::Io);
        let (_, reader) = open()?;
        if is_archive(reader) {
            let (_, reader) = open()?;
            unpacked = true;
            builder.add_archive(BufReader::with_capacity(1 << 17, reader), dest, &mut change)?;
        } else {
            rest.push(matched);
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    selection.matches = rest;
    Ok(unpacked)
}

/// Where the entries of archives go: the root file system, with what was unpacked already.
struct Places<'a> {
    files: &'a dyn Below,
    /// Where a link or anything else was unpacked: the target of the link.
    seen: HashMap<EntryPath, Option<Vec<u8>>>,
    /// The directory that was resolved last, and where it is: mostly the next entry is there too.
    last: Option<(EntryPath, EntryPath)>,
}

impl Places<'_> {
    /// Gives an entry the path that it has once the links above it are followed.
    fn place(&mut self, entry: &mut Entry) -> Result<(), StepError> {
        entry.path = self.resolve(&entry.path)?;
        if let EntryKind::Hardlink { target } = &mut entry.kind {
            *target = self.resolve(target)?;
        }
        let link = match &entry.kind {
            EntryKind::Symlink { target } => Some(target.clone()),
            _ => None,
        };
        // Below it may be resolved otherwise from now on.
        if link.is_some() || matches!(self.seen.get(&entry.path), Some(Some(_))) {
            self.last = None;
        }
        self.seen.insert(entry.path.clone(), link);
        Ok(())
    }

    fn resolve(&mut self, path: &EntryPath) -> Result<EntryPath, StepError> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Ok(path.clone());
        };
        let resolved = match self.last.take() {
            Some((asked, resolved)) if asked == parent => resolved,
            _ => Placing::new(self, None, Mtime::default()).resolve(&parent)?,
        };
        let child = resolved.child(name);
        self.last = Some((parent, resolved));
        child.map_err(|error| StepError::Copy(error.to_string()))
    }
}

impl Below for Places<'_> {
    fn node(&self, path: &EntryPath) -> Result<Option<Node>, StepError> {
        let Some(link) = self.seen.get(path) else {
            return self.files.node(path);
        };
        let kind = match link {
            Some(target) => NodeKind::Symlink {
                target: target.clone(),
            },
            None => NodeKind::Directory,
        };
        Ok(Some(Node {
            path: path.clone(),
            kind,
            metadata: Metadata::with_mode(0),
        }))
    }
}

/// Says whether bytes are a tar, compressed or not, that has at least one entry.
pub(crate) fn is_archive(reader: impl Read + Send) -> bool {
    let Ok(plain) = decompress(BufReader::with_capacity(1 << 17, reader)) else {
        return false;
    };
    let mut reader = LayerReader::archive(plain);
    matches!(reader.next(), Ok(Some(_)))
}
