//! Writing image layouts into a folder.

use std::io::{self, Write as _};
use std::path::Path;

use fs_err as fs;

use crate::descriptor::Descriptor;
use crate::image::ImageError;
use crate::layout::{
    IMAGE_NAME_KEY, INDEX_NAME, ImageLayout, MARKER, MARKER_NAME, REF_NAME_KEY, blob_name,
};
use crate::manifest::Index;
use crate::outgoing::{BlobContent, OutgoingBlob, OutgoingImage};
use crate::reference::Reference;

/// How blobs that are files come into a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BlobPlacement {
    /// As files of their own, checked on the way.
    #[default]
    Copy,
    /// As hard links, where that is possible: at once and without space, but whoever changes the
    /// file in one place changes it in the other.
    HardLink,
}

impl ImageLayout {
    /// Writes an image into a folder, which is made if need be.
    ///
    /// An image layout that is there already keeps its other images; an entry of the same name is
    /// replaced. A folder that holds something else is refused. The index is replaced last and at
    /// once, so that a reader never sees half an image.
    pub fn write(
        path: &Path,
        image: &OutgoingImage,
        placement: BlobPlacement,
    ) -> Result<Self, ImageError> {
        let mut index = match prepare(path)? {
            Some(layout) => layout.index().clone(),
            None => Index::oci(Vec::new()),
        };
        fs::create_dir_all(
            path.join("blobs")
                .join(stagewright_digest::Digest::ALGORITHM),
        )?;
        for blob in image.blobs() {
            write_blob(path, blob, placement)?;
        }
        let new = index_entries(image);
        index
            .manifests
            .retain(|old| new.iter().all(|new| !replaces(new, old)));
        index.manifests.extend(new);
        // The marker comes first: a folder with an index and no marker is no layout.
        publish(&path.join(MARKER_NAME), |file| {
            file.write_all(MARKER.as_bytes())
        })?;
        let (bytes, _) = index.encode();
        publish(&path.join(INDEX_NAME), |file| file.write_all(&bytes))?;
        Self::open(path)
    }
}

/// Looks at the folder that is to be written to: nothing for one that is new or empty.
fn prepare(path: &Path) -> Result<Option<ImageLayout>, ImageError> {
    let mut entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match entries.next() {
        None => Ok(None),
        Some(Err(error)) => Err(error.into()),
        Some(Ok(_)) => ImageLayout::open(path)
            .map(Some)
            .map_err(|error| match error {
                ImageError::Form {
                    path,
                    expected,
                    reason,
                } => ImageError::Form {
                    path,
                    expected,
                    reason: format!("{reason}, and it is not empty; name another folder"),
                },
                other => other,
            }),
    }
}

fn write_blob(
    root: &Path,
    blob: &OutgoingBlob,
    placement: BlobPlacement,
) -> Result<(), ImageError> {
    let target = root.join(blob_name(&blob.descriptor.digest));
    // A blob of the right name and length was written by this function, or by a peer of it.
    if fs::metadata(&target).is_ok_and(|found| found.len() == blob.descriptor.size) {
        return Ok(());
    }
    if placement == BlobPlacement::HardLink
        && let BlobContent::File(source) = &blob.content
        && fs::hard_link(source, &target).is_ok()
    {
        return Ok(());
    }
    let mut reader = blob.open()?;
    publish(&target, |file| io::copy(&mut reader, file).map(drop))
}

/// Writes a file under another name and renames it when it is whole.
fn publish(
    target: &Path,
    write: impl FnOnce(&mut fs::File) -> io::Result<()>,
) -> Result<(), ImageError> {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = target.with_file_name(name);
    let result = fs::File::create(&part)
        .and_then(|mut file| write(&mut file))
        .and_then(|()| fs::rename(&part, target));
    if let Err(error) = result {
        // The error that matters is the one above.
        let _ = fs::remove_file(&part);
        return Err(error.into());
    }
    Ok(())
}

/// Makes the entries of an index for an image: one a name, with the annotations that BuildKit
/// writes.
pub(crate) fn index_entries(image: &OutgoingImage) -> Vec<Descriptor> {
    if image.names.is_empty() {
        return vec![image.root().clone()];
    }
    image
        .names
        .iter()
        .map(|name| named_entry(image.root(), name))
        .collect()
}

fn named_entry(root: &Descriptor, name: &Reference) -> Descriptor {
    let mut entry = root.clone();
    entry
        .annotations
        .insert(IMAGE_NAME_KEY.to_owned(), name.to_string());
    if let Some(tag) = name.tag() {
        entry
            .annotations
            .insert(REF_NAME_KEY.to_owned(), tag.to_owned());
    }
    entry
}

/// Tells whether a new entry takes the place of an old one: it has its name, or neither has one
/// and they are of one image.
fn replaces(new: &Descriptor, old: &Descriptor) -> bool {
    let name = |entry: &Descriptor| {
        let full = entry.annotations.get(IMAGE_NAME_KEY);
        full.or_else(|| entry.annotations.get(REF_NAME_KEY))
            .cloned()
    };
    match (name(new), name(old)) {
        (Some(new), Some(old)) => new == old,
        (None, None) => new.digest == old.digest,
        _ => false,
    }
}
