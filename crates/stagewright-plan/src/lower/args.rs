//! Build arguments and the variables that words are expanded with.

use std::collections::BTreeMap;

use stagewright_oci::Platform;

use stagewright_dockerfile::Dockerfile;

use crate::request::{LowerOptions, proxy_args};

/// Variables by name.
pub(crate) type Variables = BTreeMap<String, String>;

/// Returns the predefined platform arguments, which are in scope of `FROM` lines and which a stage
/// gets when it declares them (Dockerfile reference, "Automatic platform ARGs in the global scope").
pub(crate) fn platform_args(options: &LowerOptions, dockerfile: &Dockerfile) -> Variables {
    let mut variables = Variables::new();
    let mut add = |prefix: &str, platform: &Platform| {
        let variant = platform.variant.clone().unwrap_or_default();
        let os_version = platform.os_version.clone().unwrap_or_default();
        variables.insert(format!("{prefix}PLATFORM"), platform.to_string());
        variables.insert(format!("{prefix}OS"), platform.os.clone());
        variables.insert(format!("{prefix}OSVERSION"), os_version);
        variables.insert(format!("{prefix}ARCH"), platform.architecture.clone());
        variables.insert(format!("{prefix}VARIANT"), variant);
    };
    add("TARGET", &options.platform);
    add("BUILD", &options.build_platform);
    // BuildKit gives this one without documenting it; a target without a name is `default`.
    let last = dockerfile.stages.last();
    let target = options
        .target
        .as_deref()
        .or_else(|| last.and_then(|stage| stage.name.as_deref()));
    variables.insert(
        "TARGETSTAGE".to_owned(),
        target.unwrap_or("default").to_owned(),
    );
    // An argument of the request takes the place of a predefined one.
    for (name, value) in &mut variables {
        if let Some(given) = options.build_args.get(name) {
            value.clone_from(given);
        }
    }
    variables
}

/// Returns the proxy arguments that the request gives: in every step's environment, in no key. One
/// that is given in upper or lower case is set in both, as programs look at one of them.
pub(crate) fn proxy_variables(options: &LowerOptions) -> Variables {
    proxy_args()
        .iter()
        .filter_map(|name| {
            let given = |name: &str| options.build_args.get(name);
            let other = || given(&name.to_uppercase()).or_else(|| given(&name.to_lowercase()));
            let value = given(name).or_else(other)?;
            Some(((*name).to_owned(), value.clone()))
        })
        .collect()
}

/// Arguments that steer the builder and never become environment of a step.
pub(crate) fn is_builder_switch(name: &str) -> bool {
    matches!(
        name,
        "BUILDKIT_SBOM_SCAN_CONTEXT" | "BUILDKIT_SBOM_SCAN_STAGE"
    )
}
