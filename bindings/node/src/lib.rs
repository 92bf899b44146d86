//! The Node package's native module: it converts and calls the facade, and decides nothing.
//!
//! What goes in and out is text in JSON, as `stagewright::json` describes it; the TypeScript files
//! beside it make classes of that.

mod build;
mod builder;
mod errors;
mod image;
mod stage;
mod told;
mod transfer;

pub use image::{export_images, push_images};
pub use stage::to_dockerfile;
