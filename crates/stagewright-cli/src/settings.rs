//! What the machine and its user say: the library reads none of it; it is told.

use std::path::Path;

use stagewright::{BuilderOptions, Mirror};

use crate::arguments::MirrorArgument;
use crate::failure::Failure;

/// Returns the options of the builder: the store's folder and the registries' settings.
pub(crate) fn builder_options(
    store: Option<&Path>,
    store_limit: Option<u64>,
    mirrors: &[MirrorArgument],
) -> Result<BuilderOptions, Failure> {
    // Mounts are made in another working directory than this one.
    let store = store.map(std::path::absolute).transpose()?;
    let mut options = BuilderOptions::of_user(store, &variable)?;
    options.store_limit = store_limit;
    for mirror in mirrors {
        let place = Mirror {
            location: mirror.location.clone(),
            insecure: false,
            pull: Default::default(),
        };
        options
            .registries
            .registries
            .add_mirror(&mirror.registry, place);
    }
    Ok(options)
}

/// Returns a variable that is set to something.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Says whether colours are wanted on a terminal (no-color.org).
pub(crate) fn wants_colour() -> bool {
    variable("NO_COLOR").is_none()
}
