//! What the machine and its user say: the library reads none of it; it is told.

use stagewright::{BuilderOptions, Mirror};

use crate::arguments::{GlobalArguments, MirrorArgument};
use crate::failure::Failure;

/// Returns the options of the builder: the store's folder and the registries' settings.
pub(crate) fn builder_options(
    global: &GlobalArguments,
    mirrors: &[MirrorArgument],
) -> Result<BuilderOptions, Failure> {
    // Mounts are made in another working directory than this one.
    let store = global.store.as_ref().map(std::path::absolute);
    let store = store.transpose()?;
    let mut options = BuilderOptions::of_user(store, &variable)?;
    options.store_limit = global.store_limit;
    options.store_min_free = global.store_min_free;
    options.store_reserved = global.store_reserved;
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
