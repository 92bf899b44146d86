//! Opening an image where it is.

use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use fs_err as fs;
use stagewright_fetch::RegistryClient;
use stagewright_oci::{
    BlobContent, Descriptor, ImageSelector, ImageSource, MANIFEST_BYTES_MAX, OutgoingBlob,
    OutgoingImage, OutgoingPlatform, Platform, Reference, media_type, open_image, read_blob,
};
use stagewright_solver::{EventKind, Reporter};
use stagewright_store::Store;
use tokio::runtime::Handle;

use super::graph::{self, Content, Scope};
use super::place::ImagePlace;
use super::program;
use crate::builder::Builder;
use crate::error::{Error, ErrorKind};
use crate::export::Export;
use crate::failure;
use crate::outgoing::outgoing;

/// An image that can be copied.
pub(super) struct Opened {
    pub(super) image: OutgoingImage,
    /// Where the registry that it goes to may find its blobs.
    pub(super) origin: Option<Reference>,
    /// A file that another tool wrote, kept while its blobs are read.
    _file: Option<stagewright_store::TempDir>,
}

/// What opening needs to know.
pub(super) struct Opening<'a> {
    pub(super) builder: &'a Builder,
    pub(super) client: &'a RegistryClient,
    /// Only this platform is wanted.
    pub(super) platform: Option<&'a Platform>,
    /// The image goes where one platform is taken, the host's if none is named; what is attested of it
    /// goes with it.
    pub(super) one: bool,
    /// What the image will be called, which an image of the store says of itself.
    pub(super) names: &'a [String],
    pub(super) reporter: &'a Reporter,
    pub(super) event: u64,
}

impl Opening<'_> {
    /// Opens an image. Its documents are read, its blobs when they are wanted.
    pub(super) fn open(&self, place: &ImagePlace) -> Result<Opened, Error> {
        match place {
            ImagePlace::Store(name) => self.stored(name),
            ImagePlace::Registry(name) => self.in_registry(name),
            ImagePlace::OciDirectory { path, name }
            | ImagePlace::OciArchive { path, name }
            | ImagePlace::DockerArchive { path, name } => self.on_disk(path, name.as_deref(), None),
            ImagePlace::ContainersStorage(name) => {
                let folder = self.builder.inner().store.temp_dir()?;
                let file = folder.path().join("image.tar");
                program::save_from_podman(name, &file)?;
                self.on_disk(&file, None, Some(folder))
            }
            ImagePlace::DockerDaemon(name) => {
                let folder = self.builder.inner().store.temp_dir()?;
                let file = folder.path().join("image.tar");
                program::save_from_docker(name, &file)?;
                self.on_disk(&file, None, Some(folder))
            }
        }
    }

    fn scope(&self) -> Scope<'_> {
        match (self.one, self.platform) {
            (true, platform) => Scope::One(platform),
            (false, Some(platform)) => Scope::Platform(platform),
            (false, None) => Scope::All,
        }
    }

    fn stored(&self, name: &str) -> Result<Opened, Error> {
        let mut images = self.builder.image_platforms(name)?;
        if let Some(platform) = self.platform {
            images.retain(|image| platform.matches(&image.config().platform()));
            if images.is_empty() {
                let message = format!("the image {name:?} is not there for {platform}");
                return Err(Error::new(ErrorKind::NotFound, message));
            }
        }
        let export = Export {
            names: self.names.to_vec(),
            ..Export::default()
        };
        Ok(Opened {
            image: outgoing(&images.iter().collect::<Vec<_>>(), &export)?,
            origin: None,
            _file: None,
        })
    }

    fn in_registry(&self, name: &str) -> Result<Opened, Error> {
        let reference = parse(name)?;
        let registry = |error: stagewright_fetch::FetchError| {
            Error::new(ErrorKind::Registry, error.to_string())
        };
        let runtime = self.builder.runtime()?;
        let root = runtime
            .block_on(self.client.fetch_document(&reference))
            .map_err(registry)?;
        let content = InRegistry {
            client: self.client.clone(),
            reference: reference.with_digest(root.descriptor.digest),
            root: (root.descriptor.clone(), root.bytes),
            runtime: runtime.handle().clone(),
            store: self.builder.inner().snapshots.session().store().clone(),
            reporter: self.reporter.clone(),
            event: self.event,
        };
        Ok(Opened {
            image: graph::read(&content, &root.descriptor, self.scope())?,
            origin: Some(reference),
            _file: None,
        })
    }

    fn on_disk(
        &self,
        path: &Path,
        name: Option<&str>,
        file: Option<stagewright_store::TempDir>,
    ) -> Result<Opened, Error> {
        let source: Arc<dyn ImageSource> = Arc::from(open_image(path).map_err(image_error)?);
        let selector = match name {
            None => ImageSelector::Sole,
            Some(name) => match name.parse() {
                Ok(digest) => ImageSelector::Digest(digest),
                Err(_) => ImageSelector::Name(name.to_owned()),
            },
        };
        let content = OnDisk {
            source: Arc::clone(&source),
        };
        let image = match source.root(&selector).map_err(image_error)? {
            Some(root) => graph::read(&content, &root, self.scope())?,
            None => self.without_manifest(&content, &selector)?,
        };
        Ok(Opened {
            image,
            origin: None,
            _file: file,
        })
    }

    /// Makes the manifest of an image that has none: one in Docker's archive.
    fn without_manifest(
        &self,
        content: &OnDisk,
        selector: &ImageSelector,
    ) -> Result<OutgoingImage, Error> {
        let platform = self.platform.cloned().unwrap_or_else(Platform::host);
        let (manifest, config) = content
            .source
            .manifest(selector, &platform)
            .map_err(image_error)?;
        let parsed = stagewright_oci::ImageConfig::parse(&config)
            .map_err(|error| Error::new(ErrorKind::Image, error.to_string()))?;
        let mut blobs = vec![OutgoingBlob::bytes(media_type::DOCKER_CONFIG, config)];
        for layer in &manifest.layers {
            blobs.push(content.blob(layer)?);
        }
        let platform = OutgoingPlatform::new(parsed.platform(), manifest, blobs);
        Ok(OutgoingImage::single(platform, Vec::new()))
    }
}

pub(super) fn parse(name: &str) -> Result<Reference, Error> {
    name.parse()
        .map_err(|error| Error::new(ErrorKind::Request, format!("{error}")))
}

fn image_error(error: stagewright_oci::ImageError) -> Error {
    Error::new(ErrorKind::Image, failure::chain(&error))
}

struct OnDisk {
    source: Arc<dyn ImageSource>,
}

impl Content for OnDisk {
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        read_blob(&*self.source, descriptor, MANIFEST_BYTES_MAX).map_err(image_error)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<OutgoingBlob, Error> {
        let (source, wanted) = (Arc::clone(&self.source), descriptor.clone());
        let open = move || -> io::Result<Box<dyn Read + Send>> {
            source.open_blob(&wanted).map_err(io::Error::other)
        };
        Ok(OutgoingBlob {
            descriptor: descriptor.clone(),
            content: BlobContent::Stream(Arc::new(open)),
        })
    }
}

/// A registry's blobs are downloaded when they are first wanted, and kept as blobs of the store: a
/// registry that has them already need not be sent them, nor this one asked.
struct InRegistry {
    client: RegistryClient,
    reference: Reference,
    /// What the name stands for, which was fetched.
    root: (Descriptor, Vec<u8>),
    runtime: Handle,
    store: Store,
    reporter: Reporter,
    event: u64,
}

impl Content for InRegistry {
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        if descriptor.digest == self.root.0.digest {
            return Ok(self.root.1.clone());
        }
        let reference = self.reference.with_digest(descriptor.digest);
        let fetched = self
            .runtime
            .block_on(self.client.fetch_document(&reference));
        let fetched =
            fetched.map_err(|error| Error::new(ErrorKind::Registry, error.to_string()))?;
        Ok(fetched.bytes)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<OutgoingBlob, Error> {
        let download = Download {
            client: self.client.clone(),
            reference: self.reference.clone(),
            descriptor: descriptor.clone(),
            runtime: self.runtime.clone(),
            store: self.store.clone(),
            reporter: self.reporter.clone(),
            event: self.event,
            turn: Mutex::new(()),
        };
        let open = move || download.open();
        Ok(OutgoingBlob {
            descriptor: descriptor.clone(),
            content: BlobContent::Stream(Arc::new(open)),
        })
    }
}

struct Download {
    client: RegistryClient,
    reference: Reference,
    descriptor: Descriptor,
    runtime: Handle,
    store: Store,
    reporter: Reporter,
    event: u64,
    /// Held while the blob is downloaded: who wants it meanwhile waits for it.
    turn: Mutex<()>,
}

impl Download {
    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        let digest = &self.descriptor.digest;
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.store.blob(digest).map_err(io::Error::other)?.is_none() {
            let progress = |bytes: u64| {
                self.reporter.send(EventKind::Progress {
                    vertex: self.event,
                    label: digest.to_string(),
                    current_bytes: bytes,
                    total_bytes: Some(self.descriptor.size),
                });
            };
            let open = || self.store.blob_writer().map_err(io::Error::other);
            let fetched =
                self.client
                    .fetch_blob(&self.reference, &self.descriptor, open, &progress);
            // Blobs are opened on threads for blocking work.
            let writer = self.runtime.block_on(fetched).map_err(io::Error::other)?;
            writer.commit(Some(digest)).map_err(io::Error::other)?;
        }
        let blob = self.store.blob(digest).map_err(io::Error::other)?;
        let blob = blob.ok_or_else(|| io::Error::other(format!("blob {digest} is gone")))?;
        Ok(Box::new(fs::File::open(blob.path)?))
    }
}
