//! Builders.

use std::collections::HashMap;
use std::path::PathBuf;

use stagewright::{Builder, BuilderOptions, Error, ErrorKind, json};

use crate::build::NativeBuild;
use crate::image::NativeImage;
use crate::owned::Owned;
use crate::thrown::Thrown;
use crate::transfer::{NativeTransfer, Outcome};

/// A builder.
pub(crate) struct NativeBuilder(Owned<Builder>);

/// Opens a store; that of the user if none is named. The environment is given as `NAME=value`;
/// the limit, what is to be free and what is reserved are numbers, or nothing for what is usual.
pub(crate) fn open_builder(
    store: &str,
    mirrors: Vec<String>,
    environment: Vec<String>,
    store_limit: &str,
    store_min_free: &str,
    store_reserved: &str,
) -> Result<Box<NativeBuilder>, Thrown> {
    let environment: HashMap<&str, &str> = environment
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .collect();
    let store = (!store.is_empty()).then(|| store.into());
    let mut options = BuilderOptions::of_user(store, &|name| {
        environment.get(name).map(|value| (*value).to_owned())
    })?;
    for mirror in mirrors {
        options.add_mirror(&mirror)?;
    }
    options.store_limit = bytes(store_limit)?;
    options.store_min_free = bytes(store_min_free)?.map(Into::into);
    options.store_reserved = bytes(store_reserved)?.map(Into::into);
    let builder = Builder::open(options)?;
    Ok(Box::new(NativeBuilder(Owned::new(builder))))
}

/// Reads a number of bytes, or nothing.
fn bytes(text: &str) -> Result<Option<u64>, Error> {
    let read = (!text.is_empty()).then(|| text.parse()).transpose();
    read.map_err(|_| {
        let message = format!("{text:?} is not a number of bytes");
        Error::new(ErrorKind::Request, message)
    })
}

/// Writes stages as a Dockerfile.
pub(crate) fn to_dockerfile(stages: &str) -> Result<String, Thrown> {
    Ok(json::parse_stage(stages)?.to_dockerfile()?)
}

impl NativeBuilder {
    pub(crate) fn start(&self, request: &str) -> Result<Box<NativeBuild>, Thrown> {
        let build = self.0.get()?.build(json::parse_request(request)?);
        Ok(Box::new(NativeBuild::new(build)))
    }

    pub(crate) fn explain(&self, request: &str) -> Result<String, Thrown> {
        let explained = self.0.get()?.explain(json::parse_request(request)?)?;
        Ok(json::explanation(&explained).to_string())
    }

    pub(crate) fn check(&self, request: &str) -> Result<String, Thrown> {
        let report = self.0.get()?.check(json::parse_request(request)?)?;
        Ok(json::plain(&report).to_string())
    }

    pub(crate) fn outline(&self, request: &str) -> Result<String, Thrown> {
        let outline = self.0.get()?.outline(json::parse_request(request)?)?;
        Ok(json::plain(&outline).to_string())
    }

    pub(crate) fn targets(&self, request: &str) -> Result<String, Thrown> {
        let targets = self.0.get()?.targets(json::parse_request(request)?)?;
        Ok(json::plain(&targets).to_string())
    }

    pub(crate) fn image(&self, name: &str) -> Result<Box<NativeImage>, Thrown> {
        Ok(Box::new(NativeImage::new(self.0.get()?.image(name)?)))
    }

    pub(crate) fn images(&self) -> Result<String, Thrown> {
        Ok(json::named_entries(&self.0.get()?.images()?).to_string())
    }

    pub(crate) fn tag_image(&self, name: &str, new_name: &str) -> Result<(), Thrown> {
        Ok(self.0.get()?.tag_image(name, new_name)?)
    }

    pub(crate) fn remove_image(&self, name: &str) -> Result<(), Thrown> {
        Ok(self.0.get()?.remove_image(name)?)
    }

    pub(crate) fn pull_image(
        &self,
        name: &str,
        options: &str,
    ) -> Result<Box<NativeTransfer>, Thrown> {
        let (options, _) = json::parse_copy(options)?;
        let (builder, name) = (self.0.get()?.clone(), name.to_owned());
        Ok(NativeTransfer::start(move |tell| {
            let image = builder.pull_image(&name, &options, tell)?;
            Ok(Outcome::Image(Box::new(image)))
        }))
    }

    pub(crate) fn load_images(
        &self,
        path: &str,
        options: &str,
    ) -> Result<Box<NativeTransfer>, Thrown> {
        let (options, _) = json::parse_copy(options)?;
        let (builder, path) = (self.0.get()?.clone(), PathBuf::from(path));
        Ok(NativeTransfer::start(move |tell| {
            let names = builder.load_images(&path, &options, tell)?;
            Ok(Outcome::Texts(names))
        }))
    }

    pub(crate) fn copy_image(
        &self,
        source: &str,
        dest: &str,
        options: &str,
    ) -> Result<Box<NativeTransfer>, Thrown> {
        let (options, _) = json::parse_copy(options)?;
        let (from, to) = (source.parse()?, dest.parse()?);
        let builder = self.0.get()?.clone();
        Ok(NativeTransfer::start(move |tell| {
            let copied = builder.copy_image(&from, &to, &options, tell)?;
            Ok(Outcome::of_digest(copied.manifest))
        }))
    }

    pub(crate) fn inspect_image(&self, place: &str, options: &str) -> Result<String, Thrown> {
        let (options, predicates) = json::parse_copy(options)?;
        let place = place.parse()?;
        let found = self.0.get()?.inspect_image(&place, &options, predicates)?;
        Ok(json::inspected(&found).to_string())
    }

    pub(crate) fn cache_usage(&self) -> Result<String, Thrown> {
        Ok(json::cache_usage(&self.0.get()?.cache_usage()?).to_string())
    }

    pub(crate) fn layer_uses(&self) -> Result<String, Thrown> {
        Ok(json::layer_uses(&self.0.get()?.layer_uses()?).to_string())
    }

    pub(crate) fn prune_cache(&self, options: &str) -> Result<String, Thrown> {
        let builder = self.0.get()?;
        let pruned = builder.prune_cache(&json::parse_prune(options)?)?;
        Ok(json::pruned(&pruned).to_string())
    }

    pub(crate) fn verify_cache(&self, repair: bool) -> Result<String, Thrown> {
        Ok(json::cache_verification(&self.0.get()?.verify_cache(repair)?).to_string())
    }

    pub(crate) fn host_report(&self) -> Result<String, Thrown> {
        Ok(json::host_report(&self.0.get()?.host_report()?).to_string())
    }
}
