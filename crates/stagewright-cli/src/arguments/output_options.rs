//! The options of outputs: BuildKit's names, and what becomes of each.

use stagewright::did_you_mean;

use super::output::OutputKind;

/// An option of an output.
#[derive(Debug)]
pub(super) struct OutputOption {
    pub(super) name: &'static str,
    places: Places,
    /// Values that ask for what happens anyway.
    granted: &'static [&'static str],
    /// Why other values are refused; options without a reason have a meaning.
    refused: Option<&'static str>,
}

/// What an option is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Places {
    All,
    /// What stays in the store or is pushed.
    Images,
    /// Layouts and archives of images.
    Archives,
    ImagesAndArchives,
    /// All that is written somewhere.
    Written,
    /// Files of an image.
    Files,
}

const fn option(name: &'static str, places: Places) -> OutputOption {
    OutputOption {
        name,
        places,
        granted: &[],
        refused: None,
    }
}

const fn refused(
    name: &'static str,
    places: Places,
    granted: &'static [&'static str],
    reason: &'static str,
) -> OutputOption {
    OutputOption {
        name,
        places,
        granted,
        refused: Some(reason),
    }
}

const TRUE: &[&str] = &["true", "1"];
const FALSE: &[&str] = &["false", "0"];

/// Every option that BuildKit's exporters have, or had.
pub(super) const OPTIONS: &[OutputOption] = &[
    option("type", Places::All),
    option("dest", Places::Written),
    option("tar", Places::Archives),
    option("name", Places::ImagesAndArchives),
    option("push", Places::Images),
    option("push-by-digest", Places::Images),
    option("insecure", Places::Images),
    option("registry.insecure", Places::Images),
    option("compression", Places::ImagesAndArchives),
    option("compression-level", Places::ImagesAndArchives),
    option("force-compression", Places::ImagesAndArchives),
    option("oci-mediatypes", Places::ImagesAndArchives),
    option("rewrite-timestamp", Places::ImagesAndArchives),
    option("name-canonical", Places::ImagesAndArchives),
    option("annotation", Places::ImagesAndArchives),
    refused(
        "unpack",
        Places::Images,
        FALSE,
        "layers are unpacked when a step needs them",
    ),
    refused(
        "store",
        Places::Images,
        TRUE,
        "what is built is kept in the store; `cache prune` removes it",
    ),
    refused(
        "dangling-name-prefix",
        Places::Images,
        &[],
        "an image here has the names that it is given, or none",
    ),
    refused(
        "prefer-nondist-layers",
        Places::ImagesAndArchives,
        FALSE,
        "layers are always sent",
    ),
    refused(
        "buildinfo",
        Places::ImagesAndArchives,
        FALSE,
        "it is none of BuildKit's any more; write --provenance",
    ),
    refused(
        "buildinfo-attrs",
        Places::ImagesAndArchives,
        FALSE,
        "it is none of BuildKit's any more; write --provenance",
    ),
    refused(
        "attestation-prefix",
        Places::Files,
        &[""],
        "files with attestations have the names that are documented",
    ),
    refused(
        "platform-split",
        Places::Files,
        TRUE,
        "files of several platforms have a folder each",
    ),
    refused(
        "mode",
        Places::Files,
        &["copy"],
        "a folder that has files is refused: empty it first",
    ),
];

/// Finds an option by its name in small letters.
pub(super) fn of_option(key: &str) -> Result<&'static OutputOption, String> {
    // Those have a level, a platform and a key of their own.
    let is_annotation = ["annotation-", "annotation.", "annotation["]
        .iter()
        .any(|prefix| key.starts_with(prefix));
    let family = if is_annotation { "annotation" } else { key };
    let mut options = OPTIONS.iter();
    options.find(|option| option.name == family).ok_or_else(|| {
        let near = did_you_mean(key, OPTIONS.iter().map(|option| option.name));
        let near = near.map(|near| format!(": {near}")).unwrap_or_default();
        format!("there is no output option `{key}`{near}")
    })
}

impl OutputOption {
    /// Says whether a value asks for what happens anyway, of an option without other meanings.
    pub(super) fn means_nothing(&self, value: &str) -> bool {
        self.refused.is_some() && self.granted.contains(&value)
    }

    /// Says why a value is refused.
    pub(super) fn refusal(&self, value: &str) -> String {
        let name = self.name;
        match self.refused {
            Some(reason) => {
                format!("the output option `{name}={value}` is not supported: {reason}")
            }
            None => {
                format!("the output option `{name}` is written otherwise, as `{name}.KEY=VALUE`")
            }
        }
    }

    /// Says whether an output can have the option.
    pub(super) fn is_of(&self, kind: &OutputKind) -> bool {
        let (image, archive, files) = match kind {
            OutputKind::Store | OutputKind::Push(_) => (true, false, false),
            OutputKind::Oci { .. } | OutputKind::DockerArchive { .. } | OutputKind::Load => {
                (false, true, false)
            }
            OutputKind::Directory { .. } | OutputKind::Tar { .. } => (false, false, true),
            OutputKind::CacheOnly => (false, false, false),
        };
        match self.places {
            Places::All => true,
            Places::Images => image,
            Places::Archives => archive,
            Places::ImagesAndArchives => image || archive,
            Places::Written => archive || files,
            Places::Files => files,
        }
    }

    /// Names the outputs that can have the option.
    pub(super) fn places(&self) -> &'static str {
        match self.places {
            Places::All => "all",
            Places::Images => "images",
            Places::Archives => "archives of images",
            Places::ImagesAndArchives => "images and archives of them",
            Places::Written => "what is written",
            Places::Files => "files",
        }
    }
}
