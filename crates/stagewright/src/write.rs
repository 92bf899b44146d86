//! Writes images out.

use std::io::{BufWriter, Write};
use std::path::Path;

use fs_err as fs;
use stagewright_digest::{Digest, LayerId};
use stagewright_layer::Codec;
use stagewright_oci::{
    BlobPlacement, Descriptor, ImageLayout, LayerEncoding, Manifest, OutgoingBlob, OutgoingImage,
    OutgoingPlatform, media_type, write_docker_archive, write_layout_archive,
};

use stagewright_solver::PULLED_CODEC;

use crate::error::{Error, ErrorKind};
use crate::export::{Compression, Export, ExportKind};
use crate::failure;
use crate::image::{Image, parse_names};

/// What an export wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The digest of the manifest; none for an export of files.
    pub manifest: Option<Digest>,
}

impl Image {
    /// Writes the image out. Blocks; the calling thread does the work.
    ///
    /// # Errors
    /// [`ErrorKind::Export`] when the destination cannot be written; what was there before an
    /// archive or a layout's index stays.
    pub fn export(&self, export: &Export) -> Result<Exported, Error> {
        match export.kind {
            ExportKind::Directory => self.export_files(&export.dest),
            ExportKind::Tar => {
                write_file(&export.dest, |out| self.write_files_tar(out))?;
                Ok(Exported { manifest: None })
            }
            ExportKind::OciDirectory => {
                let image = self.outgoing(export)?;
                ImageLayout::write(&export.dest, &image, BlobPlacement::Copy)
                    .map_err(|error| export_error(&error))?;
                Ok(Exported {
                    manifest: Some(image.root().digest),
                })
            }
            ExportKind::OciArchive | ExportKind::DockerArchive => {
                let image = self.outgoing(export)?;
                write_file(&export.dest, |out| write_archive(export.kind, &image, out))?;
                Ok(Exported {
                    manifest: Some(image.root().digest),
                })
            }
        }
    }

    /// Writes an archive or a tar of the image into a stream, such as standard output.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] for a kind that is a directory, [`ErrorKind::Export`] when the stream
    /// cannot be written.
    pub fn export_to(&self, export: &Export, out: &mut dyn Write) -> Result<Exported, Error> {
        match export.kind {
            ExportKind::Directory | ExportKind::OciDirectory => {
                let message = "a directory cannot be written into a stream";
                Err(Error::new(ErrorKind::Request, message))
            }
            ExportKind::Tar => {
                self.write_files_tar(out)?;
                Ok(Exported { manifest: None })
            }
            ExportKind::OciArchive | ExportKind::DockerArchive => {
                let image = self.outgoing(export)?;
                write_archive(export.kind, &image, out)?;
                Ok(Exported {
                    manifest: Some(image.root().digest),
                })
            }
        }
    }

    /// Collects the blobs of the image, compressing the layers that are not yet.
    pub(crate) fn outgoing(&self, export: &Export) -> Result<OutgoingImage, Error> {
        let names = match export.names.as_slice() {
            [] => parse_names(self.names())?,
            names => parse_names(names)?,
        };
        let docker = export.kind == ExportKind::DockerArchive;
        let config_type = if docker {
            media_type::DOCKER_CONFIG
        } else {
            media_type::OCI_CONFIG
        };
        let mut blobs = vec![OutgoingBlob::bytes(config_type, self.config().encode())];
        let mut layers = Vec::new();
        for layer in self.layer_ids() {
            let blob = self.layer_blob(layer, export.compression, docker)?;
            layers.push(blob.descriptor.clone());
            blobs.push(blob);
        }
        let config = blobs[0].descriptor.clone();
        let manifest = if docker {
            Manifest::docker(config, layers)
        } else {
            Manifest::oci(config, layers)
        };
        let platform = OutgoingPlatform::new(self.config().platform(), manifest, blobs);
        Ok(OutgoingImage::single(platform, names))
    }

    /// Returns the blob of a layer: as it came with its image, else compressed as asked for.
    fn layer_blob(
        &self,
        layer: &LayerId,
        compression: Compression,
        docker: bool,
    ) -> Result<OutgoingBlob, Error> {
        self.ensure_layer(layer)?;
        let inner = self.builder().inner();
        let record = inner
            .store
            .layer(layer)?
            .map(|layer| layer.record)
            .unwrap_or_default();
        // A layer of a base image stays as it came.
        let pulled = record
            .compressed
            .into_iter()
            .find(|blob| blob.codec == PULLED_CODEC);
        let blob = match pulled {
            Some(blob) => blob,
            None => inner
                .snapshots
                .compressed(layer, codec(compression))
                .map_err(|error| Error::new(ErrorKind::Export, failure::chain(&error)))?,
        };
        let encoding = LayerEncoding::of_media_type(&blob.media_type).ok_or_else(|| {
            let message = format!("a layer of type {} cannot be exported", blob.media_type);
            Error::new(ErrorKind::Unsupported, message)
        })?;
        let media_type = if docker {
            encoding.docker_media_type()
        } else {
            encoding.oci_media_type()
        };
        let descriptor = Descriptor::new(media_type, blob.digest, blob.bytes);
        let stored = inner.store.blob(&blob.digest)?.ok_or_else(|| {
            let message = format!("blob {} is gone from the store: build again", blob.digest);
            Error::new(ErrorKind::Store, message)
        })?;
        Ok(OutgoingBlob::file(descriptor, stored.path))
    }
}

fn codec(compression: Compression) -> Codec {
    match compression {
        Compression::Uncompressed => Codec::Uncompressed,
        Compression::Gzip => Codec::Gzip { level: 6 },
        Compression::Zstd => Codec::Zstd { level: 3 },
    }
}

fn write_archive(kind: ExportKind, image: &OutgoingImage, out: impl Write) -> Result<(), Error> {
    let result = match kind {
        ExportKind::DockerArchive => write_docker_archive(image, out),
        _ => write_layout_archive(image, out),
    };
    result.map_err(|error| export_error(&error))
}

/// Writes a file beside its place and renames it when it is whole.
fn write_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let io = |error: std::io::Error| Error::new(ErrorKind::Export, error.to_string());
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        fs::create_dir_all(parent).map_err(io)?;
    }
    let file = fs::File::create(&part).map_err(io)?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let result = write(&mut out)
        .and_then(|()| out.flush().map_err(io))
        .and_then(|()| fs::rename(&part, path).map_err(io));
    if result.is_err() {
        // The error that matters is the one above.
        let _ = fs::remove_file(&part);
    }
    result
}

fn export_error(error: &dyn std::error::Error) -> Error {
    Error::new(ErrorKind::Export, failure::chain(error))
}
