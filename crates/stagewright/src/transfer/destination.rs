//! Writing an image where it goes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use stagewright_digest::LayerId;
use stagewright_fetch::{PushOptions, RegistryClient};
use stagewright_oci::{
    BlobPlacement, CONFIG_BYTES_MAX, Descriptor, Document, ImageLayout, LayerBlob,
    MANIFEST_BYTES_MAX, OutgoingBlob, OutgoingImage, Platform, Reference, summarize,
    write_docker_archive, write_layout_archive,
};
use stagewright_snapshot::Snapshots;
use stagewright_solver::{Reporter, adopt_layer};

use super::graph::{self, Content, Scope};
use super::place::{ImagePlace, destination_name};
use super::program;
use super::source::Opened;
use crate::attest::{Attestation, IN_TOTO, STATEMENT_BYTES_MAX, Taken, is_about};
use crate::builder::Builder;
use crate::error::{Error, ErrorKind};
use crate::failure;
use crate::image::Image;
use crate::push::push_each;
use crate::tagging::put_name;
use crate::write::{Exported, export_error, write_file};

/// As many layers are taken in at once.
const LAYERS_AT_ONCE: usize = 4;

/// What writing needs.
pub(super) struct Destination<'a> {
    pub(super) builder: &'a Builder,
    pub(super) client: &'a RegistryClient,
    /// Only this platform is wanted.
    pub(super) platform: Option<&'a Platform>,
    pub(super) reporter: &'a Reporter,
}

impl ImagePlace {
    /// Returns the full name that an image has there, for what it says of itself.
    pub(super) fn image_name(&self) -> Vec<String> {
        let name = match self {
            Self::Store(name)
            | Self::Registry(name)
            | Self::ContainersStorage(name)
            | Self::DockerDaemon(name) => Some(name),
            Self::OciDirectory { name, .. }
            | Self::OciArchive { name, .. }
            | Self::DockerArchive { name, .. } => name.as_ref(),
        };
        name.filter(|name| is_full(name))
            .cloned()
            .into_iter()
            .collect()
    }
}

/// Tells a name from a tag alone, which would be read as one.
pub(super) fn is_full(name: &str) -> bool {
    name.contains([':', '/'])
}

impl Destination<'_> {
    pub(super) fn write(&self, to: &ImagePlace, opened: Opened) -> Result<Exported, Error> {
        let image = opened.image.clone();
        match to {
            ImagePlace::Registry(name) => {
                let mut image = image;
                image.names = vec![destination_name(name)?];
                let options = PushOptions {
                    mount_from: opened.origin.clone().into_iter().collect(),
                    by_digest: false,
                };
                let push = push_each(self.client, &image, &options, self.reporter);
                self.builder.runtime()?.block_on(push)?;
                Ok(Exported::of(&image))
            }
            ImagePlace::OciDirectory { path, name } => {
                let image = in_layout(image, name.as_deref())?;
                ImageLayout::write(path, &image, BlobPlacement::Copy)
                    .map_err(|error| export_error(&error))?;
                Ok(Exported::of(&image))
            }
            ImagePlace::OciArchive { path, name } => {
                let image = in_layout(image, name.as_deref())?;
                write_file(path, |out| {
                    write_layout_archive(&image, out).map_err(|error| export_error(&error))
                })?;
                Ok(Exported::of(&image))
            }
            ImagePlace::DockerArchive { path, name } => {
                let image = self.one_platform(image, name.as_deref())?.0;
                write_file(path, |out| {
                    write_docker_archive(&image, out).map_err(|error| export_error(&error))
                })?;
                Ok(Exported::of(&image))
            }
            ImagePlace::ContainersStorage(name) => self.load(image, name, "podman"),
            ImagePlace::DockerDaemon(name) => self.load(image, name, "docker"),
            ImagePlace::Store(name) => {
                let name = destination_name(name)?;
                let (image, attested) = self.one_platform(image, None)?;
                self.take_in(&image, &attested, &name)?;
                Ok(Exported::of(&image))
            }
        }
    }

    /// Makes the image one of the store.
    fn take_in(
        &self,
        image: &OutgoingImage,
        attested: &Attested,
        name: &Reference,
    ) -> Result<(), Error> {
        let fail = |message: String| Error::new(ErrorKind::Image, message);
        let [manifest] = image.manifests() else {
            return Err(fail("there is no manifest of one platform".to_owned()));
        };
        let config = Content::document(image, &manifest.config)?;
        let root = image.root().digest;
        let summary = summarize(root, root, manifest, &config)
            .map_err(|error| fail(failure::chain(&error)))?;
        let session = self.builder.inner().snapshots.session();
        let id = session.store().put_blob(&config)?;
        let layers = AllLayers {
            image,
            session: &session,
            name,
            layers: &summary.layers,
            next: AtomicUsize::new(0),
            failure: Mutex::default(),
        };
        layers.take_in()?;
        let ids = summary.layers.iter();
        let ids: Vec<LayerId> = ids.map(|layer| LayerId::Pulled(layer.diff_id)).collect();
        let attestations = self.take_in_attested(attested, &session)?;
        let image = Image::taken_in(self.builder, session, id, summary.config, ids, attestations);
        put_name(&[&image], name)
    }

    /// Stores what is attested of the image. What is no statement is told of and left out: it could not be
    /// said of the manifest that the image has when it leaves the store.
    fn take_in_attested(
        &self,
        attested: &Attested,
        session: &Snapshots,
    ) -> Result<Vec<Attestation>, Error> {
        let mut taken = Taken::new(session.store());
        for statement in &attested.statements {
            let Descriptor {
                media_type,
                digest,
                size,
                ..
            } = statement;
            if media_type != IN_TOTO || *size > STATEMENT_BYTES_MAX {
                self.reporter.warn(format!(
                    "the attestation {digest} is not kept: it is of type {media_type} and {size} bytes long, and only statements of type {IN_TOTO} of at most {STATEMENT_BYTES_MAX} bytes are"
                ));
                continue;
            }
            let reader = blob_of(&attested.image, digest)?.open();
            let reader =
                reader.map_err(|error| Error::new(ErrorKind::Image, failure::chain(&error)))?;
            taken.add(digest, reader)?;
        }
        Ok(taken.into_attestations())
    }

    /// Takes the image of one platform: the one that is wanted, else the only one, else the host's.
    fn one_platform(
        &self,
        image: OutgoingImage,
        name: Option<&str>,
    ) -> Result<(OutgoingImage, Attested), Error> {
        let parse = |descriptor: &Descriptor| {
            let bytes = Content::document(&image, descriptor)?;
            Document::parse(&bytes, Some(&descriptor.media_type))
                .map_err(|error| Error::new(ErrorKind::Image, error.to_string()))
        };
        let mut root = image.root().clone();
        let mut statements = Vec::new();
        while let Document::Index(index) = parse(&root)? {
            let entry = graph::chosen(&index, self.platform)?;
            for about in &index.manifests {
                if is_about(about, &entry.digest)
                    && let Document::Manifest(manifest) = parse(about)?
                {
                    statements.extend(manifest.layers);
                }
            }
            root = entry.clone();
        }
        let mut one = match root.digest == image.root().digest {
            true => image.clone(),
            false => graph::read(&image, &root, Scope::All)?,
        };
        one.names = name
            .map(destination_name)
            .into_iter()
            .collect::<Result<_, _>>()?;
        Ok((one, Attested { image, statements }))
    }

    /// Loads the image of one platform into the store of another tool.
    fn load(&self, image: OutgoingImage, name: &str, program: &str) -> Result<Exported, Error> {
        let (image, _) = self.one_platform(image, Some(name))?;
        program::load_into(program, &mut |out| {
            write_docker_archive(&image, out).map_err(|error| export_error(&error))
        })?;
        Ok(Exported::of(&image))
    }
}

/// What is attested of an image.
struct Attested {
    /// Where its blobs are.
    image: OutgoingImage,
    statements: Vec<Descriptor>,
}

/// Layers on their way into the store.
struct AllLayers<'a> {
    image: &'a OutgoingImage,
    session: &'a Snapshots,
    name: &'a Reference,
    layers: &'a [LayerBlob],
    next: AtomicUsize,
    failure: Mutex<Option<Error>>,
}

impl AllLayers<'_> {
    fn take_in(self) -> Result<(), Error> {
        std::thread::scope(|scope| {
            for _ in 0..LAYERS_AT_ONCE.min(self.layers.len()) {
                scope.spawn(|| self.work());
            }
        });
        let failure = self.failure.into_inner();
        match failure.unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn work(&self) {
        while let Some(layer) = self.layers.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = self.take_in_one(layer) {
                let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                failure.get_or_insert(error);
                // The others need not go on.
                self.next.store(self.layers.len(), Ordering::Relaxed);
            }
        }
    }

    fn take_in_one(&self, layer: &LayerBlob) -> Result<(), Error> {
        let store = self.session.store();
        if store.layer(&LayerId::Pulled(layer.diff_id))?.is_some() {
            return Ok(());
        }
        let digest = &layer.descriptor.digest;
        if store.blob(digest)?.is_none() {
            let fail = |error: std::io::Error| Error::new(ErrorKind::Image, failure::chain(&error));
            let blob = blob_of(self.image, digest)?;
            let mut reader = blob.open().map_err(fail)?;
            // A registry's was put there by opening it.
            if store.blob(digest)?.is_none() {
                let mut writer = store.blob_writer()?;
                std::io::copy(&mut reader, &mut writer).map_err(fail)?;
                writer.commit(Some(digest))?;
            }
        }
        adopt_layer(store, self.session, layer, self.name).map_err(failure::of_step)
    }
}

fn blob_of<'i>(
    image: &'i OutgoingImage,
    digest: &stagewright_digest::Digest,
) -> Result<&'i OutgoingBlob, Error> {
    let mut blobs = image.blobs().iter();
    let found = blobs.find(|blob| blob.descriptor.digest == *digest);
    found.ok_or_else(|| {
        let message = format!("the image names the blob {digest}, which is not there");
        Error::new(ErrorKind::Image, message)
    })
}

/// What was read of an image can be read again.
impl Content for OutgoingImage {
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let bytes_max = MANIFEST_BYTES_MAX.max(CONFIG_BYTES_MAX);
        if descriptor.size > bytes_max {
            let message = format!(
                "the document {} is {} bytes long, more than the {bytes_max} that are read",
                descriptor.digest, descriptor.size
            );
            return Err(Error::new(ErrorKind::Image, message));
        }
        let mut bytes = Vec::new();
        let read = blob_of(self, &descriptor.digest)?
            .open()
            .and_then(|mut reader| std::io::Read::read_to_end(&mut reader, &mut bytes));
        read.map_err(|error| Error::new(ErrorKind::Image, failure::chain(&error)))?;
        Ok(bytes)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<OutgoingBlob, Error> {
        blob_of(self, &descriptor.digest).cloned()
    }
}

/// Names the image in a layout: in full, or by a tag alone.
fn in_layout(mut image: OutgoingImage, name: Option<&str>) -> Result<OutgoingImage, Error> {
    image.names = Vec::new();
    match name {
        Some(name) if is_full(name) => image.names = vec![destination_name(name)?],
        name => image.set_tag(name),
    }
    Ok(image)
}
