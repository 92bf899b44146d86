//! The C++ package's native half: it converts and calls the facade, and decides nothing.
//!
//! What goes in and out is text in JSON, as `stagewright::json` describes it; the C++ files beside
//! it make classes of that.

mod bridge;
mod build;
mod builder;
mod image;
mod images;
mod owned;
mod run;
mod thrown;
mod told;
mod transfer;
