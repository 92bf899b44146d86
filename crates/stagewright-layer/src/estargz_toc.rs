//! The table of contents of an eStargz layer.

use std::collections::BTreeMap;

use base64::Engine as _;
use jiff::Timestamp;
use serde::Serialize;
use stagewright_digest::Digest;

use crate::entry::{Entry, EntryKind, Metadata, Mtime};
use crate::path::EntryPath;
use crate::whiteout;

/// The table of contents (eStargz specification, "TOC, TOCEntries and Footer").
#[derive(Debug, Serialize)]
pub(crate) struct Toc {
    version: u32,
    pub(crate) entries: Vec<TocEntry>,
}

impl Toc {
    pub(crate) fn new() -> Self {
        Self {
            version: 1,
            entries: Vec::new(),
        }
    }
}

/// An entry of the tar, or a further piece of a file. What is nothing is left out, as the
/// stargz-snapshotter does.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TocEntry {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "is_nothing")]
    size: u64,
    #[serde(rename = "modtime", skip_serializing_if = "String::is_empty")]
    modified: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    link_name: String,
    #[serde(skip_serializing_if = "is_nothing")]
    mode: u64,
    #[serde(skip_serializing_if = "is_nothing")]
    uid: u64,
    #[serde(skip_serializing_if = "is_nothing")]
    gid: u64,
    #[serde(skip_serializing_if = "is_nothing")]
    pub(crate) offset: u64,
    #[serde(skip_serializing_if = "is_nothing")]
    dev_major: u64,
    #[serde(skip_serializing_if = "is_nothing")]
    dev_minor: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<Digest>,
    #[serde(skip_serializing_if = "is_nothing")]
    chunk_offset: u64,
    #[serde(skip_serializing_if = "is_nothing")]
    chunk_size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunk_digest: Option<Digest>,
}

/// A piece of a file's bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunk {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) digest: Digest,
}

impl TocEntry {
    /// A file, without what is told of its bytes.
    pub(crate) fn file(path: &EntryPath, metadata: &Metadata, size: u64) -> Self {
        Self {
            name: text(path.as_bytes()),
            kind: "reg",
            size,
            ..Self::of(metadata)
        }
    }

    /// Anything that has no bytes.
    pub(crate) fn other(entry: &Entry) -> Self {
        let base = Self {
            name: text(entry.path.as_bytes()),
            ..Self::of(&entry.metadata)
        };
        match &entry.kind {
            EntryKind::File { bytes, .. } => Self::file(&entry.path, &entry.metadata, *bytes),
            EntryKind::Directory { .. } => Self {
                name: match entry.path.is_root() {
                    true => "./".to_owned(),
                    false => format!("{}/", base.name),
                },
                kind: "dir",
                ..base
            },
            EntryKind::Symlink { target } => Self {
                kind: "symlink",
                link_name: text(target),
                ..base
            },
            EntryKind::Hardlink { target } => Self {
                kind: "hardlink",
                link_name: text(target.as_bytes()),
                ..base
            },
            EntryKind::CharDevice { major, minor } => Self {
                kind: "char",
                dev_major: (*major).into(),
                dev_minor: (*minor).into(),
                ..base
            },
            EntryKind::BlockDevice { major, minor } => Self {
                kind: "block",
                dev_major: (*major).into(),
                dev_minor: (*minor).into(),
                ..base
            },
            EntryKind::Fifo => Self {
                kind: "fifo",
                ..base
            },
            EntryKind::Whiteout => Self {
                name: text(&whiteout::whiteout_marker(&entry.path)),
                kind: "reg",
                ..base
            },
        }
    }

    /// The empty file that says that a directory is opaque.
    pub(crate) fn opaque(directory: &EntryPath) -> Self {
        Self {
            name: text(&whiteout::opaque_marker(directory)),
            kind: "reg",
            ..Self::default()
        }
    }

    /// A piece of the file of this name after its first.
    pub(crate) fn chunk(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: "chunk",
            ..Self::default()
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Says which bytes of a file of `size` bytes this entry stands for.
    pub(crate) fn with_bytes(self, chunk: Chunk, size: u64) -> Self {
        let last = chunk.offset + chunk.bytes == size;
        Self {
            chunk_offset: chunk.offset,
            // The last one says nothing: it goes to the end of the file.
            chunk_size: if last { 0 } else { chunk.bytes },
            chunk_digest: Some(chunk.digest),
            ..self
        }
    }

    fn of(metadata: &Metadata) -> Self {
        let encoder = base64::engine::general_purpose::STANDARD;
        let xattrs = metadata.xattrs.iter();
        Self {
            modified: rfc3339(metadata.mtime),
            mode: metadata.mode.into(),
            uid: metadata.uid.into(),
            gid: metadata.gid.into(),
            xattrs: xattrs
                .map(|(name, value)| (text(name), encoder.encode(value)))
                .collect(),
            ..Self::default()
        }
    }
}

fn is_nothing(number: &u64) -> bool {
    *number == 0
}

/// JSON has text only; what is none gets replacement characters, as Go writes it.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns a time; nothing for 1970 and for what is no time, which means the same.
fn rfc3339(time: Mtime) -> String {
    let stamp = Timestamp::from_second(time.seconds).ok();
    stamp
        .filter(|_| time.seconds != 0)
        .map(|stamp| stamp.to_string())
        .unwrap_or_default()
}
