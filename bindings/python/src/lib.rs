//! The Python package's native module: it converts and calls the facade, and decides nothing.
//!
//! What goes in and out is text in JSON, as `stagewright::json` describes it; the Python files
//! beside it make classes of that.

mod build;
mod builder;
mod errors;
mod image;
mod owned;
mod stage;
mod waker;

use pyo3::prelude::*;

/// The module.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<builder::NativeBuilder>()?;
    module.add_class::<build::NativeBuild>()?;
    module.add_class::<image::NativeImage>()?;
    module.add_function(wrap_pyfunction!(stage::to_dockerfile, module)?)?;
    Ok(())
}
