//! The module as Python sees it.

use pyo3::prelude::*;

/// The module.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<crate::builder::NativeBuilder>()?;
    module.add_class::<crate::build::NativeBuild>()?;
    module.add_class::<crate::image::NativeImage>()?;
    module.add_function(wrap_pyfunction!(crate::image::export_images, module)?)?;
    module.add_function(wrap_pyfunction!(crate::image::push_images, module)?)?;
    module.add_function(wrap_pyfunction!(crate::stage::to_dockerfile, module)?)?;
    Ok(())
}
