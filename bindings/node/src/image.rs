//! Images.

use napi::bindgen_prelude::{AsyncTask, ClassInstance};
use napi::{Env, Task};
use napi_derive::napi;
use stagewright::{Error, Image, RunCanceller, RunOptions, json};

use crate::errors::thrown;
use crate::transfer::NativeTransfer;

pub(crate) type Work = dyn FnOnce() -> Result<Option<String>, Error> + Send;

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

    /// Exports the cache of its build and returns the manifest's digest.
    #[napi]
    pub fn export_cache(&self, to: String, is_told: bool) -> NativeTransfer {
        let image = self.0.clone();
        NativeTransfer::new(is_told, move |tell| {
            let exported = image.export_cache(&to.parse()?, tell)?;
            Ok(exported.manifest.map(|digest| digest.to_string()))
        })
    }

    /// Runs it on this process's standard streams.
    #[napi]
    pub fn run(&self, options: String) -> napi::Result<NativeRun> {
        let options = json::parse_run(&options).map_err(|error| thrown(&error))?;
        let canceller = RunCanceller::new().map_err(|error| thrown(&error))?;
        Ok(NativeRun {
            image: self.0.clone(),
            options,
            canceller,
        })
    }
}

/// An image that runs.
#[napi]
pub struct NativeRun {
    image: Image,
    options: RunOptions,
    canceller: RunCanceller,
}

#[napi]
impl NativeRun {
    /// Waits for the exit code, in JSON; to be called once.
    #[napi]
    pub fn result(&self) -> AsyncTask<Blocking> {
        let (image, options) = (self.image.clone(), self.options.clone());
        let canceller = self.canceller.clone();
        Blocking::task(move || Ok(Some(image.run(&options, &canceller)?.to_string())))
    }

    /// Kills everything in the run.
    #[napi]
    pub fn cancel(&self) {
        self.canceller.cancel();
    }
}

/// Writes images of several platforms out as one; returns the manifest's digest.
#[napi]
pub fn export_images(
    images: Vec<ClassInstance<'_, NativeImage>>,
    export: String,
) -> AsyncTask<Blocking> {
    let images = cloned(&images);
    Blocking::task(move || {
        let images: Vec<&Image> = images.iter().collect();
        let exported = stagewright::export_images(&images, &json::parse_export(&export)?)?;
        Ok(exported.manifest.map(|digest| digest.to_string()))
    })
}

/// Pushes images of several platforms as one; returns the manifest's digest.
#[napi]
pub fn push_images(
    images: Vec<ClassInstance<'_, NativeImage>>,
    push: String,
    is_told: bool,
) -> NativeTransfer {
    let images = cloned(&images);
    NativeTransfer::new(is_told, move |tell| {
        let images: Vec<&Image> = images.iter().collect();
        let (export, push) = json::parse_push(&push)?;
        let exported = stagewright::push_images(&images, &export, &push, tell)?;
        Ok(exported.manifest.map(|digest| digest.to_string()))
    })
}

fn cloned(images: &[ClassInstance<'_, NativeImage>]) -> Vec<Image> {
    images.iter().map(|image| image.0.clone()).collect()
}
