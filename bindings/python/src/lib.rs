//! The Python package's native module: it converts and calls the facade, and decides nothing.
//!
//! What goes in and out is text in JSON, as `stagewright::json` describes it; the Python files
//! beside it make classes of that.

mod build;
mod builder;
mod errors;
mod image;
mod module;
mod owned;
mod stage;
mod told;
mod waker;
