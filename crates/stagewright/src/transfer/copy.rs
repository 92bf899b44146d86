//! Copying and pulling.

use stagewright_fetch::RegistryClient;
use stagewright_oci::Platform;
use stagewright_solver::Reporter;

use super::destination::Destination;
use super::place::ImagePlace;
use super::source::{Opened, Opening, parse};
use crate::builder::Builder;
use crate::error::{Error, ErrorKind};
use crate::image::Image;
use crate::push::PushEvents;
use crate::write::Exported;

/// How images are copied, pulled and looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CopyOptions {
    /// Only the image of this platform, as `os/architecture[/variant]`. Absent, all that the place takes:
    /// one that takes one platform gets the host's, or the only one.
    pub platform: Option<String>,
    /// Plain HTTP and untrusted certificates will do.
    pub insecure: bool,
}

impl CopyOptions {
    pub(super) fn platform(&self) -> Result<Option<Platform>, Error> {
        let text = self.platform.as_deref();
        let parsed = text.map(str::parse::<Platform>).transpose();
        parsed.map_err(|error| Error::new(ErrorKind::Request, error.to_string()))
    }
}

impl Builder {
    /// Copies an image from one place to another. Blocks.
    ///
    /// Manifests, an index and what is attested arrive byte for byte where the place takes them: in
    /// registries and image layouts, unless one platform is asked for, whose manifest then comes alone.
    /// Others, the store here among them, get the image of one platform. The store keeps what is attested of
    /// it, for later pushes and exports, where it is about the manifest that the image then has.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] and [`ErrorKind::Image`] when the image is not there or cannot be read,
    /// [`ErrorKind::Registry`] when a registry refuses, [`ErrorKind::Export`] when it cannot be written.
    pub fn copy_image(
        &self,
        from: &ImagePlace,
        to: &ImagePlace,
        options: &CopyOptions,
        events: PushEvents,
    ) -> Result<Exported, Error> {
        let reporter = Reporter::new(events);
        let event = reporter.start_internal(&format!("copying {from} to {to}"));
        let copied = self.copy(from, to, options, &reporter, event);
        reporter.finish_internal(event, &copied);
        copied
    }

    fn copy(
        &self,
        from: &ImagePlace,
        to: &ImagePlace,
        options: &CopyOptions,
        reporter: &Reporter,
        event: u64,
    ) -> Result<Exported, Error> {
        let platform = options.platform()?;
        let client = self.client_for(&[from, to], options.insecure)?;
        let names = to.image_name();
        let opening = Opening {
            builder: self,
            client: &client,
            platform: platform.as_ref(),
            one: to.takes_one_platform(),
            names: names.as_slice(),
            reporter,
            event,
        };
        let opened: Opened = opening.open(from)?;
        let destination = Destination {
            builder: self,
            client: &client,
            platform: platform.as_ref(),
            reporter,
        };
        destination.write(to, opened)
    }

    /// Pulls an image from its registry into the store, under its name. Blocks. It stands for its
    /// registry's from then on, as if it had been built here, with what is attested of it.
    ///
    /// # Errors
    /// As [`Builder::copy_image`].
    pub fn pull_image(
        &self,
        name: &str,
        options: &CopyOptions,
        events: PushEvents,
    ) -> Result<Image, Error> {
        let reference = parse(name)?;
        let own = match (reference.digest(), reference.tag()) {
            (Some(_), None) => {
                return Err(Error {
                    help: Some(format!(
                        "give it a name: stagewright copy docker://{name} NAME"
                    )),
                    ..Error::new(
                        ErrorKind::Request,
                        format!("{name:?} is a digest and no name"),
                    )
                });
            }
            _ => reference.without_digest().to_string(),
        };
        let (from, to) = (
            ImagePlace::Registry(name.to_owned()),
            ImagePlace::Store(own.clone()),
        );
        self.copy_image(&from, &to, options, events)?;
        self.image(&own)
    }

    /// Returns a client that reaches the registries of some places.
    pub(super) fn client_for(
        &self,
        places: &[&ImagePlace],
        insecure: bool,
    ) -> Result<RegistryClient, Error> {
        let mut options = self.inner().registries.clone();
        if insecure {
            for place in places {
                if let ImagePlace::Registry(name) = place {
                    options.insecure.push(parse(name)?.registry().to_owned());
                }
            }
        }
        Ok(RegistryClient::new(options))
    }
}
