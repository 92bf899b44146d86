//! Images.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use stagewright::{Image, RunCanceller, json};

use crate::errors::{detached, raised};
use crate::owned::Owned;
use crate::told::telling;

/// How long a wait goes on before it looks whether a signal came.
const LOOK: Duration = Duration::from_millis(50);

/// An image of the store.
#[pyclass(frozen, module = "stagewright._native")]
pub(crate) struct NativeImage(Owned<Image>);

impl NativeImage {
    pub(crate) fn new(image: Image) -> Self {
        Self(Owned::new(image))
    }
}

#[pymethods]
impl NativeImage {
    fn describe(&self) -> PyResult<String> {
        Ok(json::image(self.0.get()?).to_string())
    }

    fn sizes(&self, py: Python<'_>) -> PyResult<String> {
        let image = self.0.get()?;
        let sizes = detached(py, || image.sizes())?;
        Ok(json::image_sizes(&sizes).to_string())
    }

    /// Runs it on this process's standard streams and returns the exit code. A signal's handler
    /// that raises stops it.
    fn run(&self, py: Python<'_>, options: &str) -> PyResult<i32> {
        let image = self.0.get()?.clone();
        let options = json::parse_run(options).map_err(|error| raised(py, &error))?;
        let canceller = RunCanceller::new().map_err(|error| raised(py, &error))?;
        let (sender, mut result) = mpsc::channel();
        let cancelled = canceller.clone();
        std::thread::spawn(move || {
            // The receiver waits for as long as it takes.
            let _ = sender.send(image.run(&options, &cancelled));
        });
        let mut interrupted = None;
        loop {
            let waiting = &mut result;
            match py.detach(move || waiting.recv_timeout(LOOK)) {
                Ok(ended) => {
                    return match interrupted {
                        Some(error) => Err(error),
                        None => ended.map_err(|error| raised(py, &error)),
                    };
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(PyRuntimeError::new_err("the run ended without a result"));
                }
                Err(RecvTimeoutError::Timeout) => {
                    if interrupted.is_none()
                        && let Err(error) = py.check_signals()
                    {
                        canceller.cancel();
                        interrupted = Some(error);
                    }
                }
            }
        }
    }

    fn export_cache(
        &self,
        py: Python<'_>,
        to: String,
        on_event: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<String>> {
        let image = self.0.get()?.clone();
        let exported = telling(py, on_event, move |tell| {
            image.export_cache(&to.parse()?, tell)
        })?;
        Ok(exported.manifest.map(|digest| digest.to_string()))
    }
}

/// Writes images of several platforms out as one.
#[pyfunction]
pub(crate) fn export_images(
    py: Python<'_>,
    images: Vec<Py<NativeImage>>,
    export: &str,
) -> PyResult<Option<String>> {
    let images = owned(&images)?;
    let exported = detached(py, || {
        stagewright::export_images(&images, &json::parse_export(export)?)
    })?;
    Ok(exported.manifest.map(|digest| digest.to_string()))
}

/// Pushes images of several platforms as one.
#[pyfunction]
pub(crate) fn push_images(
    py: Python<'_>,
    images: Vec<Py<NativeImage>>,
    push: String,
    on_event: Option<&Bound<'_, PyAny>>,
) -> PyResult<Option<String>> {
    let images: Vec<Image> = owned(&images)?.into_iter().cloned().collect();
    let exported = telling(py, on_event, move |tell| {
        let (export, push) = json::parse_push(&push)?;
        let images: Vec<&Image> = images.iter().collect();
        stagewright::push_images(&images, &export, &push, tell)
    })?;
    Ok(exported.manifest.map(|digest| digest.to_string()))
}

fn owned(images: &[Py<NativeImage>]) -> PyResult<Vec<&Image>> {
    images.iter().map(|image| image.get().0.get()).collect()
}
