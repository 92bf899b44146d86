//! Lowers a Dockerfile into a plan.
//!
//! [`lower`] finds the stages that the target needs, asks for the configs of the images that these
//! start from, and then turns each stage's instructions into vertices, an image config and a
//! history.

mod args;
mod copy;
mod image_config;
mod lowering;
mod metadata;
mod paths;
mod run;
mod squash;
mod stage;
mod stages;
mod words;

pub(crate) use lowering::Lowering;
pub use lowering::{Lowered, lower};
pub use stage::source_text;
