//! An image as it leaves the store: its manifest, its config and the blobs of its layers.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use fs_err as fs;
use stagewright_digest::{DiffId, LayerId};
use stagewright_layer::{Codec, ESTARGZ_TOC_ANNOTATION};
use stagewright_oci::{
    BlobContent, Descriptor, Index, LayerEncoding, Manifest, OutgoingBlob, OutgoingImage,
    OutgoingPlatform, Platform, Reference, media_type,
};
use stagewright_snapshot::{BlobForm, LayerBlob};
use stagewright_solver::{INLINE_CACHE_FIELD, PULLED_CODEC, pulled_blob};
use stagewright_store::CompressedBlob;

use crate::attest::attestation_platform;
use crate::error::{Error, ErrorKind};
use crate::export::{Annotation, AnnotationLevel, Compression, Export, ExportKind};
use crate::failure;
use crate::image::{Image, parse_names};

/// The usual level of gzip.
const GZIP_LEVEL: u32 = 6;

/// Collects what an image of one or several platforms is made of, compressing the layers that are
/// not yet.
pub(crate) fn outgoing(images: &[&Image], export: &Export) -> Result<OutgoingImage, Error> {
    let names = match (export.names.as_slice(), images) {
        ([], [first, ..]) => parse_names(first.names())?,
        (names, _) => parse_names(names)?,
    };
    let platforms = images
        .iter()
        .map(|image| image.outgoing_platform(export))
        .collect::<Result<Vec<_>, _>>()?;
    let of_index = |level| annotations(export, level, None);
    let attestations = attestations(images, &platforms, &names, export)?;
    if let ([_], []) = (images, attestations.as_slice()) {
        for (level, what) in [
            (AnnotationLevel::Index, "index"),
            (AnnotationLevel::IndexDescriptor, "index-descriptor"),
        ] {
            if !of_index(level)?.is_empty() {
                let message = format!(
                    "an annotation of the {what} needs an image of several platforms, or attestations: there is no index otherwise"
                );
                return Err(Error::new(ErrorKind::Request, message));
            }
        }
        let platform = platforms
            .into_iter()
            .next()
            .ok_or_else(|| Error::new(ErrorKind::Internal, "there is no image to export"))?;
        return Ok(OutgoingImage::single(platform, names));
    }
    let index_annotations = of_index(AnnotationLevel::Index)?;
    let docker = export.docker_media_types() && attestations.is_empty();
    let entries = platforms.into_iter().chain(attestations).collect();
    let mut image = OutgoingImage::index(entries, names, |manifests| Index {
        annotations: index_annotations,
        ..if docker {
            Index::docker(manifests)
        } else {
            Index::oci(manifests)
        }
    });
    image.annotate(of_index(AnnotationLevel::IndexDescriptor)?);
    Ok(image)
}

/// Returns the manifests of the images' attestations, which come after those of all platforms.
fn attestations(
    images: &[&Image],
    platforms: &[OutgoingPlatform],
    names: &[Reference],
    export: &Export,
) -> Result<Vec<OutgoingPlatform>, Error> {
    let mut attestations = Vec::new();
    for (image, platform) in images.iter().zip(platforms) {
        attestations.extend(attestation_platform(image, platform, names)?);
    }
    if !attestations.is_empty() && export.oci_media_types == Some(false) {
        let message = "attestations need OCI's media types: leave out oci-mediatypes=false";
        return Err(Error::new(ErrorKind::Request, message));
    }
    Ok(attestations)
}

impl Export {
    pub(crate) fn docker_media_types(&self) -> bool {
        match self.oci_media_types {
            Some(oci) => !oci,
            None => self.kind == ExportKind::DockerArchive,
        }
    }

    fn form(&self) -> Result<BlobForm, Error> {
        let wrong = |range: &str| {
            let level = self.compression_level.unwrap_or_default();
            let message = format!("the compression level {level} is not {range}");
            Error::new(ErrorKind::Request, message)
        };
        let of_gzip = |level: Option<i32>| match level {
            None | Some(-1) => Ok(GZIP_LEVEL),
            Some(level) => match u32::try_from(level) {
                Ok(level @ 0..=9) => Ok(level),
                _ => Err(wrong("one from 0 to 9, as gzip has them")),
            },
        };
        Ok(BlobForm::Tar(
            match (self.compression, self.compression_level) {
                (Compression::Estargz, _) if self.docker_media_types() => {
                    let message = "compression=estargz needs OCI's media types: write type=oci or type=registry, without oci-mediatypes=false";
                    return Err(Error::new(ErrorKind::Request, message));
                }
                (Compression::Estargz, level) => {
                    let level = of_gzip(level)?;
                    return Ok(BlobForm::Estargz { level });
                }
                (Compression::Uncompressed, None) => Codec::Uncompressed,
                (Compression::Uncompressed, Some(_)) => {
                    return Err(wrong("for what is uncompressed"));
                }
                (Compression::Gzip, level) => Codec::Gzip {
                    level: of_gzip(level)?,
                },
                (Compression::Zstd, None) => Codec::ZSTD,
                (Compression::Zstd, Some(level @ 1..=22)) => Codec::Zstd { level },
                (Compression::Zstd, Some(_)) => {
                    return Err(wrong("one from 1 to 22, as zstd has them"));
                }
            },
        ))
    }
}

/// Returns the annotations of a level that are meant for a platform.
fn annotations(
    export: &Export,
    level: AnnotationLevel,
    platform: Option<&Platform>,
) -> Result<BTreeMap<String, String>, Error> {
    let meant = |annotation: &Annotation| -> Result<bool, Error> {
        let (Some(text), Some(platform)) = (&annotation.platform, platform) else {
            return Ok(true);
        };
        let wanted: Platform = text
            .parse()
            .map_err(|error| Error::new(ErrorKind::Request, format!("an annotation: {error}")))?;
        Ok(wanted.matches(platform))
    };
    let mut found = BTreeMap::new();
    for annotation in export.annotations.iter().filter(|one| one.level == level) {
        if meant(annotation)? {
            found.insert(annotation.key.clone(), annotation.value.clone());
        }
    }
    Ok(found)
}

/// A layer on its way out.
pub(crate) struct OutgoingLayer {
    pub(crate) id: LayerId,
    pub(crate) blob: OutgoingBlob,
    /// How the store calls the form.
    pub(crate) codec: String,
    /// The name of what is in it where that is not the layer's own tar.
    diff_id: Option<DiffId>,
}

impl Image {
    fn outgoing_platform(&self, export: &Export) -> Result<OutgoingPlatform, Error> {
        // Beside attestations there is an index of OCI's, and what it names is of its kind.
        let docker = export.docker_media_types() && self.attestations().is_empty();
        let mut config = self.config().clone();
        let mut outgoing = Vec::new();
        for (place, layer) in self.layer_ids().iter().enumerate() {
            let layer = self.layer_blob(layer, export, docker)?;
            if let Some(diff_id) = layer.diff_id {
                config.rootfs.diff_ids[place] = diff_id;
            }
            outgoing.push(layer);
        }
        if export.inline_cache {
            let document = self.inline_cache(&outgoing)?;
            config.other.insert(INLINE_CACHE_FIELD.to_owned(), document);
        }
        let mut blobs: Vec<OutgoingBlob> = outgoing.into_iter().map(|layer| layer.blob).collect();
        let layers = blobs.iter().map(|blob| blob.descriptor.clone()).collect();
        let config_type = if docker {
            media_type::DOCKER_CONFIG
        } else {
            media_type::OCI_CONFIG
        };
        // The config of another's image stays as it was written.
        let config_bytes = match config == *self.config() {
            true => self.store().read_blob(self.id())?,
            false => None,
        };
        let config_bytes = config_bytes.unwrap_or_else(|| config.encode());
        let config_blob = OutgoingBlob::bytes(config_type, config_bytes);
        let manifest = if docker {
            Manifest::docker(config_blob.descriptor.clone(), layers)
        } else {
            Manifest::oci(config_blob.descriptor.clone(), layers)
        };
        blobs.insert(0, config_blob);
        let platform = self.config().platform();
        let of = |level| annotations(export, level, Some(&platform));
        let manifest_annotations = of(AnnotationLevel::Manifest)?;
        if docker && !manifest_annotations.is_empty() {
            let message =
                "Docker's media types have no annotations: leave out oci-mediatypes=false";
            return Err(Error::new(ErrorKind::Request, message));
        }
        let manifest = Manifest {
            annotations: manifest_annotations,
            ..manifest
        };
        let descriptor_annotations = of(AnnotationLevel::ManifestDescriptor)?;
        Ok(OutgoingPlatform {
            descriptor_annotations,
            ..OutgoingPlatform::new(platform, manifest, blobs)
        })
    }

    /// Returns the blob of a layer of a base image or an imported cache that no step needed and that is exported as it is. It is
    /// downloaded by who reads it: a registry that has it already is not sent it.
    pub(crate) fn unread_blob(
        &self,
        layer: &LayerId,
        export: &Export,
        docker: bool,
    ) -> Result<Option<OutgoingLayer>, Error> {
        let form = export.form()?;
        if self.store().layer(layer)?.is_some() {
            return Ok(None);
        }
        let known = match layer {
            LayerId::Pulled(_) => {
                let known = self.images().base_blob(layer).map_err(failure::of_step)?;
                let blob = known.map(|known| pulled_blob(&known));
                blob.filter(|blob| !export.force_compression || is_of(blob, form))
                    .map(|blob| LayerBlob {
                        diff_id: None,
                        blob,
                    })
            }
            LayerId::Made(_) => self
                .images()
                .imported_blob(layer)
                .and_then(|blob| LayerBlob::of_form(blob, form, export.latest_file_time)),
        };
        let Some(LayerBlob { diff_id, blob }) = known else {
            return Ok(None);
        };
        let (images, reporter, id) = (Arc::clone(self.images()), self.reporter().clone(), *layer);
        let runtime = self.builder().runtime()?.handle().clone();
        let open = move || -> io::Result<Box<dyn Read + Send>> {
            let path = runtime
                .block_on(images.ensure_blob(&id, &reporter))
                .map_err(io::Error::other)?;
            Ok(Box::new(fs::File::open(path)?))
        };
        Ok(Some(OutgoingLayer {
            id,
            blob: OutgoingBlob {
                descriptor: outgoing_descriptor(&blob, docker)?,
                content: BlobContent::Stream(Arc::new(open)),
            },
            codec: blob.codec,
            diff_id,
        }))
    }

    /// Returns the blob of a layer: as it came with its image, else compressed as asked for.
    pub(crate) fn layer_blob(
        &self,
        layer: &LayerId,
        export: &Export,
        docker: bool,
    ) -> Result<OutgoingLayer, Error> {
        if let Some(blob) = self.unread_blob(layer, export, docker)? {
            return Ok(blob);
        }
        let form = export.form()?;
        self.ensure_layer(layer)?;
        let form_of_base = self.images().ensure_form(layer, self.reporter());
        self.builder()
            .runtime()?
            .block_on(form_of_base)
            .map_err(failure::of_step)?;
        let (store, snapshots) = (self.store(), self.snapshots());
        let record = store
            .layer(layer)?
            .map(|layer| layer.record)
            .unwrap_or_default();
        let pulled = record
            .compressed
            .into_iter()
            .find(|blob| blob.codec == PULLED_CODEC);
        let fail = |error| Error::new(ErrorKind::Export, failure::chain(&error));
        let LayerBlob { diff_id, blob } = match (pulled, export.latest_file_time) {
            // A layer of a base image stays as it came.
            (Some(blob), _) if !export.force_compression || is_of(&blob, form) => LayerBlob {
                diff_id: None,
                blob,
            },
            (Some(blob), _) => snapshots.recompressed(layer, &blob, form).map_err(fail)?,
            (None, Some(latest)) => snapshots
                .compressed_until(layer, form, latest)
                .map_err(fail)?,
            (None, None) => snapshots.compressed(layer, form).map_err(fail)?,
        };
        let descriptor = outgoing_descriptor(&blob, docker)?;
        let stored = store.blob(&blob.digest)?.ok_or_else(|| {
            let message = format!("blob {} is gone from the store: build again", blob.digest);
            Error::new(ErrorKind::Store, message)
        })?;
        Ok(OutgoingLayer {
            id: *layer,
            blob: OutgoingBlob::file(descriptor, stored.path),
            codec: blob.codec,
            diff_id,
        })
    }
}

/// Returns what a manifest says of a layer's blob.
fn outgoing_descriptor(blob: &CompressedBlob, docker: bool) -> Result<Descriptor, Error> {
    let encoding = LayerEncoding::of_media_type(&blob.media_type).ok_or_else(|| {
        let message = format!("a layer of type {} cannot be exported", blob.media_type);
        Error::new(ErrorKind::Unsupported, message)
    })?;
    let media_type = if docker {
        encoding.docker_media_type()
    } else {
        encoding.oci_media_type()
    };
    let mut descriptor = Descriptor::new(media_type, blob.digest, blob.bytes);
    // Docker's descriptors have none.
    if !docker {
        descriptor.annotations.clone_from(&blob.annotations);
    }
    Ok(descriptor)
}

/// Says whether a blob that came with its image has a form.
fn is_of(blob: &CompressedBlob, form: BlobForm) -> bool {
    let wanted = match form {
        BlobForm::Tar(Codec::Uncompressed) => LayerEncoding::Uncompressed,
        BlobForm::Tar(Codec::Gzip { .. }) => LayerEncoding::Gzip,
        BlobForm::Tar(Codec::Zstd { .. }) => LayerEncoding::Zstd,
        BlobForm::Estargz { .. } => {
            return blob.annotations.contains_key(ESTARGZ_TOC_ANNOTATION);
        }
    };
    LayerEncoding::of_media_type(&blob.media_type) == Some(wanted)
}
