//! Images.

use std::sync::Arc;

use pyo3::prelude::*;
use stagewright::{Image, json};

use crate::errors::detached;
use crate::owned::Owned;

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

    fn export(&self, py: Python<'_>, export: &str) -> PyResult<Option<String>> {
        let image = self.0.get()?;
        let exported = detached(py, || image.export(&json::parse_export(export)?))?;
        Ok(exported.manifest.map(|digest| digest.to_string()))
    }

    fn push(&self, py: Python<'_>, push: &str) -> PyResult<Option<String>> {
        let image = self.0.get()?;
        let exported = detached(py, || {
            let (export, push) = json::parse_push(push)?;
            image.push(&export, &push, Arc::new(|_| {}))
        })?;
        Ok(exported.manifest.map(|digest| digest.to_string()))
    }

    fn export_cache(&self, py: Python<'_>, to: &str) -> PyResult<Option<String>> {
        let image = self.0.get()?;
        let exported = detached(py, || image.export_cache(&to.parse()?, Arc::new(|_| {})))?;
        Ok(exported.manifest.map(|digest| digest.to_string()))
    }
}
