//! Builders.

use std::collections::HashMap;
use std::path::PathBuf;

use pyo3::prelude::*;
use stagewright::{Builder, BuilderOptions, json};

use crate::build::NativeBuild;
use crate::errors::{detached, raised};
use crate::image::NativeImage;
use crate::owned::Owned;
use crate::told::telling;

/// A builder.
#[pyclass(frozen, module = "stagewright._native")]
pub(crate) struct NativeBuilder(Owned<Builder>);

#[pymethods]
impl NativeBuilder {
    #[new]
    fn new(
        py: Python<'_>,
        store: Option<PathBuf>,
        mirrors: Vec<String>,
        environment: HashMap<String, String>,
        store_limit: Option<u64>,
        store_min_free: Option<u64>,
        store_reserved: Option<u64>,
    ) -> PyResult<Self> {
        let builder = detached(py, || {
            let mut options =
                BuilderOptions::of_user(store, &|name| environment.get(name).cloned())?;
            for mirror in mirrors {
                options.add_mirror(&mirror)?;
            }
            options.store_limit = store_limit;
            options.store_min_free = store_min_free.map(Into::into);
            options.store_reserved = store_reserved.map(Into::into);
            Builder::open(options)
        })?;
        Ok(Self(Owned::new(builder)))
    }

    fn start(&self, py: Python<'_>, request: &str) -> PyResult<NativeBuild> {
        let builder = self.0.get()?;
        let request = json::parse_request(request).map_err(|error| raised(py, &error))?;
        NativeBuild::new(builder.build(request))
    }

    fn explain(&self, py: Python<'_>, request: &str) -> PyResult<String> {
        let builder = self.0.get()?;
        let explained = detached(py, || builder.explain(json::parse_request(request)?))?;
        Ok(json::explanation(&explained).to_string())
    }

    fn check(&self, py: Python<'_>, request: &str) -> PyResult<String> {
        let builder = self.0.get()?;
        let report = detached(py, || builder.check(json::parse_request(request)?))?;
        Ok(json::plain(&report).to_string())
    }

    fn outline(&self, py: Python<'_>, request: &str) -> PyResult<String> {
        let builder = self.0.get()?;
        let outline = detached(py, || builder.outline(json::parse_request(request)?))?;
        Ok(json::plain(&outline).to_string())
    }

    fn targets(&self, py: Python<'_>, request: &str) -> PyResult<String> {
        let builder = self.0.get()?;
        let targets = detached(py, || builder.targets(json::parse_request(request)?))?;
        Ok(json::plain(&targets).to_string())
    }

    fn image(&self, py: Python<'_>, name: &str) -> PyResult<NativeImage> {
        let builder = self.0.get()?;
        Ok(NativeImage::new(detached(py, || builder.image(name))?))
    }

    fn images(&self, py: Python<'_>) -> PyResult<String> {
        let builder = self.0.get()?;
        let entries = detached(py, || builder.images())?;
        Ok(json::named_entries(&entries).to_string())
    }

    fn tag_image(&self, py: Python<'_>, name: &str, new_name: &str) -> PyResult<()> {
        let builder = self.0.get()?;
        detached(py, || builder.tag_image(name, new_name))
    }

    fn remove_image(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        let builder = self.0.get()?;
        detached(py, || builder.remove_image(name))
    }

    fn pull_image(
        &self,
        py: Python<'_>,
        name: String,
        options: String,
        on_event: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<NativeImage> {
        let builder = self.0.get()?.clone();
        let image = telling(py, on_event, move |tell| {
            let (options, _) = json::parse_copy(&options)?;
            builder.pull_image(&name, &options, tell)
        })?;
        Ok(NativeImage::new(image))
    }

    fn load_images(
        &self,
        py: Python<'_>,
        path: PathBuf,
        options: String,
        on_event: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Vec<String>> {
        let builder = self.0.get()?.clone();
        telling(py, on_event, move |tell| {
            let (options, _) = json::parse_copy(&options)?;
            builder.load_images(&path, &options, tell)
        })
    }

    fn copy_image(
        &self,
        py: Python<'_>,
        source: String,
        dest: String,
        options: String,
        on_event: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<String>> {
        let builder = self.0.get()?.clone();
        let copied = telling(py, on_event, move |tell| {
            let (options, _) = json::parse_copy(&options)?;
            let (from, to) = (source.parse()?, dest.parse()?);
            builder.copy_image(&from, &to, &options, tell)
        })?;
        Ok(copied.manifest.map(|digest| digest.to_string()))
    }

    fn inspect_image(&self, py: Python<'_>, place: &str, options: &str) -> PyResult<String> {
        let builder = self.0.get()?;
        let inspected = detached(py, || {
            let (options, predicates) = json::parse_copy(options)?;
            builder.inspect_image(&place.parse()?, &options, predicates)
        })?;
        Ok(json::inspected(&inspected).to_string())
    }

    fn cache_usage(&self, py: Python<'_>) -> PyResult<String> {
        let builder = self.0.get()?;
        let usage = detached(py, || builder.cache_usage())?;
        Ok(json::cache_usage(&usage).to_string())
    }

    fn layer_uses(&self, py: Python<'_>) -> PyResult<String> {
        let builder = self.0.get()?;
        let uses = detached(py, || builder.layer_uses())?;
        Ok(json::layer_uses(&uses).to_string())
    }

    fn prune_cache(&self, py: Python<'_>, options: &str) -> PyResult<String> {
        let builder = self.0.get()?;
        let pruned = detached(py, || builder.prune_cache(&json::parse_prune(options)?))?;
        Ok(json::pruned(&pruned).to_string())
    }

    fn verify_cache(&self, py: Python<'_>, repair: bool) -> PyResult<String> {
        let builder = self.0.get()?;
        let verification = detached(py, || builder.verify_cache(repair))?;
        Ok(json::cache_verification(&verification).to_string())
    }

    fn host_report(&self, py: Python<'_>) -> PyResult<String> {
        let builder = self.0.get()?;
        let report = detached(py, || builder.host_report())?;
        Ok(json::host_report(&report).to_string())
    }
}
