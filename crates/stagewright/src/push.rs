//! Images on their way to a registry.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use stagewright_digest::Digest;
use stagewright_fetch::{PushEvent, PushOptions, RegistryClient};
use stagewright_oci::{OutgoingImage, Reference};
use stagewright_solver::{Event, EventKind, LogStream, Reporter};

use crate::error::{Error, ErrorKind};
use crate::export::{Export, Push};
use crate::image::Image;
use crate::outgoing::outgoing;
use crate::write::Exported;

/// Is told what happens during a push, on any thread.
pub type PushEvents = Arc<dyn Fn(Event) + Send + Sync>;

impl Image {
    /// Pushes the image to the registries that its names, or those of the export, are of. Blocks.
    ///
    /// What a registry has already is not sent. A tag moves when everything that it stands for is
    /// there.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] for an image without a name, [`ErrorKind::Registry`] when a registry
    /// cannot be reached or refuses.
    pub fn push(
        &self,
        export: &Export,
        push: &Push,
        events: PushEvents,
    ) -> Result<Exported, Error> {
        push_images(&[self], export, push, events)
    }
}

/// Pushes images of several platforms as one.
///
/// # Errors
/// As [`Image::push`].
pub fn push_images(
    images: &[&Image],
    export: &Export,
    push: &Push,
    events: PushEvents,
) -> Result<Exported, Error> {
    let Some(first) = images.first() else {
        return Err(Error::new(ErrorKind::Request, "there is no image to push"));
    };
    let image = outgoing(images, export)?;
    if image.names.is_empty() {
        return Err(Error {
            help: Some("give it one with -t, or name= of the output".to_owned()),
            ..Error::new(
                ErrorKind::Request,
                "an image without a name cannot be pushed",
            )
        });
    }
    let builder = first.builder();
    let mut options = builder.inner().registries.clone();
    if push.insecure {
        let hosts = image.names.iter().map(|name| name.registry().to_owned());
        options.insecure.extend(hosts);
    }
    let client = RegistryClient::new(options);
    let push_options = PushOptions {
        mount_from: images.iter().flat_map(|image| image.origins()).collect(),
        by_digest: push.by_digest,
    };
    let reporter = Reporter::new(events);
    builder
        .runtime()?
        .block_on(push_each(&client, &image, &push_options, &reporter))?;
    Ok(Exported::of(&image))
}

/// Pushes to each repository in turn, each shown as a vertex.
pub(crate) async fn push_each(
    client: &RegistryClient,
    image: &OutgoingImage,
    options: &PushOptions,
    reporter: &Reporter,
) -> Result<(), Error> {
    let mut repositories: Vec<(String, Vec<Reference>)> = Vec::new();
    for name in &image.names {
        match repositories.iter_mut().find(|(of, _)| *of == name.name()) {
            Some((_, names)) => names.push(name.clone()),
            None => repositories.push((name.name(), vec![name.clone()])),
        }
    }
    for (repository, names) in repositories {
        let event = reporter.start_internal(&format!("pushing {repository}"));
        let mut one = image.clone();
        one.names = names;
        let result = client
            .push(&one, options, progress(reporter.clone(), event))
            .await
            .map_err(|error| Error::new(ErrorKind::Registry, error.to_string()));
        if result.is_ok() {
            let digest = image.root().digest;
            let text = format!("{repository}@{digest}\n");
            reporter.log(event, LogStream::Stderr, text.as_bytes());
        }
        reporter.finish_internal(event, &result);
        result?;
    }
    Ok(())
}

/// Tells of the bytes of each blob.
pub(crate) fn progress(reporter: Reporter, event: u64) -> stagewright_fetch::PushProgress {
    let told: Mutex<HashMap<Digest, u64>> = Mutex::default();
    Arc::new(move |happened| {
        let (descriptor, bytes) = match happened {
            PushEvent::Exists(descriptor) | PushEvent::Mounted(descriptor) => {
                let size = descriptor.size;
                (descriptor, size)
            }
            PushEvent::Sent { descriptor, bytes } => (descriptor, bytes),
        };
        // Each piece that is sent would be an event: one for each hundredth will do.
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        let last = told.entry(descriptor.digest).or_default();
        if bytes < descriptor.size && bytes < *last + descriptor.size / 100 {
            return;
        }
        *last = bytes;
        reporter.send(EventKind::Progress {
            vertex: event,
            label: descriptor.digest.to_string(),
            current_bytes: bytes,
            total_bytes: Some(descriptor.size),
        });
    })
}
