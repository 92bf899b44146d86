//! Archives that `ADD` unpacks.

use std::io::{BufReader, Read};

use stagewright_layer::{EntryPath, LayerReader, Metadata, decompress};
use stagewright_snapshot::LayerBuilder;

use crate::copy::{NodeKind, Owner, Selection, Sources};
use crate::error::StepError;

/// Unpacks the archives among what an `ADD` selected into its layer, and takes them out of the
/// selection: the rest is copied. Says whether there was any.
///
/// As BuildKit does, an archive is told by its content and not by its name; `--chown` applies to
/// what is in it, `--chmod` does not.
pub(crate) fn take_archives(
    builder: &mut LayerBuilder,
    selection: &mut Selection,
    sources: &Sources,
    dest: &EntryPath,
    owner: Option<Owner>,
) -> Result<bool, StepError> {
    let mut change = |metadata: &mut Metadata| {
        if let Some(owner) = owner {
            (metadata.uid, metadata.gid) = (owner.uid, owner.gid);
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
    selection.matches = rest;
    Ok(unpacked)
}

/// Says whether bytes are a tar, compressed or not, that has at least one entry.
pub(crate) fn is_archive(reader: impl Read + Send) -> bool {
    let Ok(plain) = decompress(BufReader::with_capacity(1 << 17, reader)) else {
        return false;
    };
    let mut reader = LayerReader::archive(plain);
    matches!(reader.next(), Ok(Some(_)))
}
