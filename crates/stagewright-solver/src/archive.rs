//! Archives that `ADD` unpacks.

use std::io::BufReader;
use std::path::Path;

use fs_err as fs;
use stagewright_layer::{EntryPath, LayerReader, Metadata, decompress};
use stagewright_snapshot::LayerBuilder;

use crate::copy::{NodeKind, Owner, Selection, SourceTree};
use crate::error::StepError;

/// Unpacks the archives among what an `ADD` selected into its layer, and takes them out of the
/// selection: the rest is copied.
///
/// As BuildKit does, an archive is told by its content and not by its name; `--chown` applies to
/// what is in it, `--chmod` does not.
pub(crate) fn take_archives(
    builder: &mut LayerBuilder,
    selection: &mut Selection,
    tree: &dyn SourceTree,
    dest: &EntryPath,
    owner: Option<Owner>,
) -> Result<(), StepError> {
    let mut change = |metadata: &mut Metadata| {
        if let Some(owner) = owner {
            (metadata.uid, metadata.gid) = (owner.uid, owner.gid);
        }
    };
    let mut rest = Vec::new();
    for matched in std::mem::take(&mut selection.matches) {
        let path = match &matched.node.kind {
            NodeKind::File { .. } => tree.host_path(&matched.node),
            _ => None,
        };
        match path.filter(|path| is_archive(path)) {
            Some(path) => {
                let file = fs::File::open(&path).map_err(StepError::Io)?;
                builder.add_archive(BufReader::with_capacity(1 << 17, file), dest, &mut change)?;
            }
            None => rest.push(matched),
        }
    }
    selection.matches = rest;
    Ok(())
}

/// Says whether a file is a tar, compressed or not, that has at least one entry.
fn is_archive(path: &Path) -> bool {
    let Ok(file) = fs::File::open(path) else {
        return false;
    };
    let Ok(plain) = decompress(BufReader::with_capacity(1 << 17, file)) else {
        return false;
    };
    let mut reader = LayerReader::archive(plain);
    matches!(reader.next(), Ok(Some(_)))
}
