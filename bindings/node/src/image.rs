//! Images.

use std::sync::Arc;

use napi::bindgen_prelude::AsyncTask;
use napi::{Env, Task};
use napi_derive::napi;
use stagewright::{Error, Image, json};

use crate::errors::thrown;

type Work = dyn FnOnce() -> Result<Option<String>, Error> + Send;

/// Something that blocks, done on another thread.
pub struct Blocking(Option<Box<Work>>);

impl Blocking {
    pub(crate) fn task(
        run: impl FnOnce() -> Result<Option<String>, Error> + Send + 'static,
    ) -> AsyncTask<Self> {
        AsyncTask::new(Self(Some(Box::new(run))))
    }
}

impl Task for Blocking {
    type Output = Option<String>;
    type JsValue = Option<String>;

    fn compute(&mut self) -> napi::Result<Self::Output> {
        match self.0.take() {
            Some(run) => run().map_err(|error| thrown(&error)),
            None => Ok(None),
        }
    }

    fn resolve(&mut self, _: Env, output: Self::Output) -> napi::Result<Self::JsValue> {
        Ok(output)
    }
}

/// An image of the store.
#[napi]
pub struct NativeImage(Image);

impl NativeImage {
    pub(crate) fn new(image: Image) -> Self {
        Self(image)
    }
}

#[napi]
impl NativeImage {
    /// The id, the names and the config, in JSON.
    #[napi]
    pub fn describe(&self) -> String {
        json::image(&self.0).to_string()
    }

    /// How large it is, in JSON.
    #[napi]
    pub fn sizes(&self) -> AsyncTask<Blocking> {
        let image = self.0.clone();
        Blocking::task(move || Ok(Some(json::image_sizes(&image.sizes()?).to_string())))
    }

    /// Writes it out and returns the manifest's digest.
    #[napi]
    pub fn export(&self, export: String) -> AsyncTask<Blocking> {
        let image = self.0.clone();
        Blocking::task(move || {
            let exported = image.export(&json::parse_export(&export)?)?;
            Ok(exported.manifest.map(|digest| digest.to_string()))
        })
    }

    /// Exports the cache of its build and returns the manifest's digest.
    #[napi]
    pub fn export_cache(&self, to: String) -> AsyncTask<Blocking> {
        let image = self.0.clone();
        Blocking::task(move || {
            let exported = image.export_cache(&to.parse()?, Arc::new(|_| {}))?;
            Ok(exported.manifest.map(|digest| digest.to_string()))
        })
    }

    /// Pushes it and returns the manifest's digest.
    #[napi]
    pub fn push(&self, push: String) -> AsyncTask<Blocking> {
        let image = self.0.clone();
        Blocking::task(move || {
            let (export, push) = json::parse_push(&push)?;
            let exported = image.push(&export, &push, Arc::new(|_| {}))?;
            Ok(exported.manifest.map(|digest| digest.to_string()))
        })
    }
}
