//! The library in JSON, for other languages: what goes in and out of it as plain text.
//!
//! The names of fields here are the names of options and fields in every language. Bindings turn
//! their own values into these and back, and decide nothing.

mod describe;
mod export;
mod prune;
mod report;
mod request;
mod run;
mod stage;
mod transfer;

#[cfg(test)]
mod tests;

pub use describe::{check_report, outline, targets};
pub use export::{parse_export, parse_push};
pub use prune::{parse_prune, pruned};
pub use report::{
    cache_usage, cache_verification, error, event, explanation, host_report, image, image_sizes,
    inspected, layer_uses, named_entries, plain,
};
pub use request::{parse_request, parse_stage};
pub use run::parse_run;
pub use transfer::parse_copy;
