//! Builders.

use std::collections::HashMap;

use napi::bindgen_prelude::AsyncTask;
use napi_derive::napi;
use stagewright::{Builder, BuilderOptions, Error, json};

use crate::build::NativeBuild;
use crate::errors::thrown;
use crate::image::{Blocking, NativeImage};
use crate::transfer::NativeTransfer;

/// A builder.
#[napi]
pub struct NativeBuilder(Builder);

fn open(
    store: Option<String>,
    mirrors: &[String],
    environment: &HashMap<String, String>,
    room: [Option<u64>; 3],
) -> Result<Builder, Error> {
    let mut options = BuilderOptions::of_user(store.map(Into::into), &|name| {
        environment.get(name).cloned()
    })?;
    for mirror in mirrors {
        options.add_mirror(mirror)?;
    }
    let [limit, min_free, reserved] = room;
    options.store_limit = limit;
    options.store_min_free = min_free.map(Into::into);
    options.store_reserved = reserved.map(Into::into);
    Builder::open(options)
}

#[napi]
impl NativeBuilder {
    /// Opens a store, or makes it.
    #[napi(constructor)]
    pub fn new(
        store: Option<String>,
        mirrors: Vec<String>,
        environment: HashMap<String, String>,
        store_limit: Option<i64>,
        store_min_free: Option<i64>,
        store_reserved: Option<i64>,
    ) -> napi::Result<Self> {
        let room = [store_limit, store_min_free, store_reserved]
            .map(|bytes| bytes.map(|bytes| u64::try_from(bytes).unwrap_or_default()));
        let builder = open(store, &mirrors, &environment, room).map_err(|error| thrown(&error))?;
        Ok(Self(builder))
    }

    /// Starts a build.
    #[napi]
    pub fn start(&self, request: String) -> napi::Result<NativeBuild> {
        let request = json::parse_request(&request).map_err(|error| thrown(&error))?;
        Ok(NativeBuild::new(self.0.build(request)))
    }

    /// What a build would do, in JSON.
    #[napi]
    pub fn explain(&self, request: String) -> AsyncTask<Blocking> {
        let builder = self.0.clone();
        Blocking::task(move || {
            let explained = builder.explain(json::parse_request(&request)?)?;
            Ok(Some(json::explanation(&explained).to_string()))
        })
    }

    /// What build checks find, in JSON.
    #[napi]
    pub fn check(&self, request: String) -> AsyncTask<Blocking> {
        let builder = self.0.clone();
        Blocking::task(move || {
            let report = builder.check(json::parse_request(&request)?)?;
            Ok(Some(json::plain(&report).to_string()))
        })
    }

    /// What a target takes, in JSON.
    #[napi]
    pub fn outline(&self, request: String) -> AsyncTask<Blocking> {
        let builder = self.0.clone();
        Blocking::task(move || {
            let outline = builder.outline(json::parse_request(&request)?)?;
            Ok(Some(json::plain(&outline).to_string()))
        })
    }

    /// What can be built, in JSON.
    #[napi]
    pub fn targets(&self, request: String) -> AsyncTask<Blocking> {
        let builder = self.0.clone();
        Blocking::task(move || {
            let targets = builder.targets(json::parse_request(&request)?)?;
            Ok(Some(json::plain(&targets).to_string()))
        })
    }

    /// Finds an image by its name.
    #[napi]
    pub fn image(&self, name: String) -> napi::Result<NativeImage> {
        let image = self.0.image(&name).map_err(|error| thrown(&error))?;
        Ok(NativeImage::new(image))
    }

    /// The names in the store, in JSON.
    #[napi]
    pub fn images(&self) -> AsyncTask<Blocking> {
        let builder = self.0.clone();
        Blocking::task(move || Ok(Some(json::named_entries(&builder.images()?).to_string())))
    }

    /// Gives an image another name.
    #[napi]
    pub fn tag_image(&self, name: String, new_name: String) -> AsyncTask<Blocking> {
        let builder = self.0.clone();
        Blocking::task(move || builder.tag_image(&name, &new_name).map(|()| None))
    }

    /// Removes a name.
    #[napi]
    pub fn remove_image(&self, name: String) -> AsyncTask<Blocking> {
        let builder = self.0.clone();
        Blocking::task(move || builder.remove_image(&name).map(|()| None))
    }

    /// Pulls an image into the store, under its name.
    #[napi]
    pub fn pull_image(&self, name: String, options: String, is_told: bool) -> NativeTransfer {
        let builder = self.0.clone();
        NativeTransfer::new(is_told, move |tell| {
            let (options, _) = json::parse_copy(&options)?;
            builder.pull_image(&name, &options, tell)?;
            Ok(None)
        })
    }

    /// Loads an archive into the store; the names that it had, in JSON.
    #[napi]
    pub fn load_images(&self, path: String, options: String, is_told: bool) -> NativeTransfer {
        let builder = self.0.clone();
        NativeTransfer::new(is_told, move |tell| {
            let (options, _) = json::parse_copy(&options)?;
            let names = builder.load_images(path.as_ref(), &options, tell)?;
            Ok(Some(serde_json::Value::from(names).to_string()))
        })
    }

    /// Copies an image from one place to another; its digest.
    #[napi]
    pub fn copy_image(
        &self,
        source: String,
        dest: String,
        options: String,
        is_told: bool,
    ) -> NativeTransfer {
        let builder = self.0.clone();
        NativeTransfer::new(is_told, move |tell| {
            let (options, _) = json::parse_copy(&options)?;
            let (from, to) = (source.parse()?, dest.parse()?);
            let copied = builder.copy_image(&from, &to, &options, tell)?;
            Ok(copied.manifest.map(|digest| digest.to_string()))
        })
    }

    /// What is known of an image in some place, in JSON.
    #[napi]
    pub fn inspect_image(&self, place: String, options: String) -> AsyncTask<Blocking> {
        let builder = self.0.clone();
        Blocking::task(move || {
            let (options, predicates) = json::parse_copy(&options)?;
            let found = builder.inspect_image(&place.parse()?, &options, predicates)?;
            Ok(Some(json::inspected(&found).to_string()))
        })
    }

    /// What the store takes on disk, in JSON.
    #[napi]
    pub fn cache_usage(&self) -> AsyncTask<Blocking> {
        let builder = self.0.clone();
        Blocking::task(move || Ok(Some(json::cache_usage(&builder.cache_usage()?).to_string())))
    }

    /// When and how often layers were used, in JSON.
    #[napi]
    pub fn layer_uses(&self) -> AsyncTask<Blocking> {
        let builder = self.0.clone();
        Blocking::task(move || Ok(Some(json::layer_uses(&builder.layer_uses()?).to_string())))
    }

    /// Removes what nobody needs; what was removed, in JSON.
    #[napi]
    pub fn prune_cache(&self, options: String) -> AsyncTask<Blocking> {
        let builder = self.0.clone();
        Blocking::task(move || {
            let pruned = builder.prune_cache(&json::parse_prune(&options)?)?;
            Ok(Some(json::pruned(&pruned).to_string()))
        })
    }

    /// What a check of the store finds, in JSON.
    #[napi]
    pub fn verify_cache(&self, repair: bool) -> AsyncTask<Blocking> {
        let builder = self.0.clone();
        Blocking::task(move || {
            let found = builder.verify_cache(repair)?;
            Ok(Some(json::cache_verification(&found).to_string()))
        })
    }

    /// What this host can do, in JSON.
    #[napi]
    pub fn host_report(&self) -> AsyncTask<Blocking> {
        let builder = self.0.clone();
        Blocking::task(move || Ok(Some(json::host_report(&builder.host_report()?).to_string())))
    }
}
