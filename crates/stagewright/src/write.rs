//! Writes images out.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use stagewright_digest::Digest;
use stagewright_oci::{
    BlobPlacement, ImageLayout, OutgoingImage, media_type, write_docker_archive,
    write_layout_archive,
};

use crate::error::{Error, ErrorKind};
use crate::export::{Export, ExportKind};
use crate::failure;
use crate::image::Image;
use crate::outgoing::outgoing;

/// How often an export begins anew because something that it needed turned out to be damaged.
const RESTARTS_MAX: u32 = 8;

/// What an export wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The digest of the manifest, or of the index for several platforms; none for an export of
    /// files.
    pub manifest: Option<Digest>,
    /// Its media type.
    pub media_type: Option<String>,
    /// Its length.
    pub bytes: Option<u64>,
    /// The digest of the config of the image's manifest; none for an index.
    pub config: Option<Digest>,
}

impl Exported {
    /// An export of files.
    pub(crate) const FILES: Self = Self {
        manifest: None,
        media_type: None,
        bytes: None,
        config: None,
    };

    pub(crate) fn of(image: &OutgoingImage) -> Self {
        let root = image.root();
        Self {
            manifest: Some(root.digest),
            media_type: Some(root.media_type.clone()),
            bytes: Some(root.size),
            config: match image.manifests() {
                [manifest] if media_type::is_manifest(&root.media_type) => {
                    Some(manifest.config.digest)
                }
                _ => None,
            },
        }
    }
}

impl Image {
    /// Writes the image out. Blocks; the calling thread does the work.
    ///
    /// # Errors
    /// [`ErrorKind::Export`] when the destination cannot be written; what was there before an
    /// archive or a layout's index stays.
    pub fn export(&self, export: &Export) -> Result<Exported, Error> {
        export_images(&[self], export)
    }

    /// Writes an archive or a tar of the image into a stream, such as standard output.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] for a kind that is a directory, [`ErrorKind::Export`] when the stream
    /// cannot be written.
    pub fn export_to(&self, export: &Export, out: &mut dyn Write) -> Result<Exported, Error> {
        export_images_to(&[self], export, out)
    }
}

/// Writes images of several platforms out as one. Of files, those of each platform go into a folder
/// of its own.
///
/// # Errors
/// As [`Image::export`].
pub fn export_images(images: &[&Image], export: &Export) -> Result<Exported, Error> {
    let Some(first) = images.first() else {
        return export_once(images, export);
    };
    let mut restarts = 0;
    loop {
        let seen = first.builder().damage_seen();
        let result = export_once(images, export);
        if result.is_ok() || restarts == RESTARTS_MAX {
            return result;
        }
        // A blob that is not what its name says is set aside, and compressed anew.
        check_blobs(images)?;
        if first.builder().damage_seen() == seen {
            return result;
        }
        restarts += 1;
    }
}

/// Checks the compressed forms of the images' layers.
fn check_blobs(images: &[&Image]) -> Result<(), Error> {
    for image in images {
        let store = &image.builder().inner().store;
        for id in image.layer_ids() {
            let Some(layer) = store.layer(id)? else {
                // A layer of a base image that only its blob is needed of.
                let blob = image.images().base_blob(id).map_err(failure::of_step)?;
                if let Some(blob) = blob {
                    store.check_blob(&blob.digest)?;
                }
                continue;
            };
            for blob in layer.record.compressed {
                store.check_blob(&blob.digest)?;
            }
        }
    }
    Ok(())
}

fn export_once(images: &[&Image], export: &Export) -> Result<Exported, Error> {
    match export.kind {
        ExportKind::Directory => {
            for image in images {
                image.export_files(&folder_of(image, images, &export.dest))?;
            }
            Ok(Exported::FILES)
        }
        ExportKind::OciDirectory => {
            let image = outgoing(images, export)?;
            ImageLayout::write(&export.dest, &image, BlobPlacement::Copy)
                .map_err(|error| export_error(&error))?;
            Ok(Exported::of(&image))
        }
        ExportKind::Tar | ExportKind::OciArchive | ExportKind::DockerArchive => {
            let mut exported = Exported::FILES;
            write_file(&export.dest, |out| {
                exported = export_images_to(images, export, out)?;
                Ok(())
            })?;
            Ok(exported)
        }
    }
}

/// Writes an archive of images of several platforms into a stream.
///
/// # Errors
/// As [`Image::export_to`].
pub fn export_images_to(
    images: &[&Image],
    export: &Export,
    out: &mut dyn Write,
) -> Result<Exported, Error> {
    match (export.kind, images) {
        (ExportKind::Directory | ExportKind::OciDirectory, _) => {
            let message = "a directory cannot be written into a stream";
            Err(Error::new(ErrorKind::Request, message))
        }
        (ExportKind::Tar, [image]) => {
            image.write_files_tar(out)?;
            Ok(Exported::FILES)
        }
        (ExportKind::Tar, _) => Err(one_platform_only("a tar of files")),
        (ExportKind::DockerArchive, [_, _, ..]) => Err(one_platform_only("a docker archive")),
        (ExportKind::OciArchive | ExportKind::DockerArchive, _) => {
            let image = outgoing(images, export)?;
            write_archive(export.kind, &image, out)?;
            Ok(Exported::of(&image))
        }
    }
}

fn one_platform_only(what: &str) -> Error {
    Error {
        help: Some("write type=oci, or name one platform".to_owned()),
        ..Error::new(
            ErrorKind::Unsupported,
            format!("{what} holds an image of one platform"),
        )
    }
}

/// Returns where the files of an image go: those of several platforms into folders such as
/// `linux_amd64`.
fn folder_of(image: &Image, images: &[&Image], dest: &Path) -> PathBuf {
    match images {
        [_] => dest.to_owned(),
        _ => dest.join(image.config().platform().to_string().replace('/', "_")),
    }
}

fn write_archive(kind: ExportKind, image: &OutgoingImage, out: impl Write) -> Result<(), Error> {
    let result = match kind {
        ExportKind::DockerArchive => write_docker_archive(image, out),
        _ => write_layout_archive(image, out),
    };
    result.map_err(|error| export_error(&error))
}

/// Writes a file beside its place and renames it when it is whole. What is no file, such as `/dev/null` or a
/// pipe, is written into, and a link is followed.
pub(crate) fn write_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Error>,
) -> Result<(), Error> {
    let io = |error: std::io::Error| Error::new(ErrorKind::Export, error.to_string());
    let into = |file: fs::File| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        write(&mut out).and_then(|()| out.flush().map_err(io))
    };
    if fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        let file = fs::OpenOptions::new().write(true).open(path);
        return into(file.map_err(io)?);
    }
    let path = match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => &*followed(path).map_err(io)?,
        _ => path,
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        fs::create_dir_all(parent).map_err(io)?;
    }
    let file = fs::File::create(&part).map_err(io)?;
    let result = into(file).and_then(|()| fs::rename(&part, path).map_err(io));
    if result.is_err() {
        // The error that matters is the one above.
        let _ = fs::remove_file(&part);
    }
    result
}

/// Returns where a link leads, be it there or not yet.
fn followed(link: &Path) -> std::io::Result<PathBuf> {
    /// As many as the system follows.
    const LINKS_MAX: u32 = 40;
    let is_link = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
    match fs::canonicalize(link) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        found => return found,
    }
    let mut place = link.to_owned();
    for _ in 0..LINKS_MAX {
        if !is_link(&place) {
            break;
        }
        let target = fs::read_link(&place)?;
        place.pop();
        place.push(target);
    }
    Ok(place)
}

pub(crate) fn export_error(error: &dyn std::error::Error) -> Error {
    Error::new(ErrorKind::Export, failure::chain(error))
}
