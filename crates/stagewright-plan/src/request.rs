//! What a caller asks of lowering.

use std::collections::BTreeMap;

use stagewright_oci::Platform;

use crate::op::{NetworkMode, SourceOp};

/// What a caller asks for besides the Dockerfile.
#[derive(Debug, Clone)]
pub struct LowerOptions {
    /// The stage to build: a name or an index; the last one if absent.
    pub target: Option<String>,
    /// `--build-arg`s.
    pub build_args: BTreeMap<String, String>,
    /// `--label`s, set after all of the Dockerfile's.
    pub labels: Vec<(String, String)>,
    /// Variables and labels that the image has not, whoever set them.
    pub unset: Unset,
    /// Which layers become one.
    pub squash: Squash,
    /// The platform of the image.
    pub platform: Platform,
    /// The platform of the machine that builds.
    pub build_platform: Platform,
    /// Ignore the cache for every step.
    pub no_cache: bool,
    /// Ignore the cache for the steps of these stages.
    pub no_cache_stages: Vec<String>,
    /// The network of steps that name none.
    pub network: NetworkMode,
    /// The build context, where it lies on the network and not on this machine.
    pub remote_context: Option<SourceOp>,
    /// Named contexts, which take the place of stages and images of their names.
    pub named: BTreeMap<String, NamedSource>,
    /// The seconds since 1970 that `SOURCE_DATE_EPOCH` gives, if set: visible to steps as an
    /// argument.
    pub source_date_epoch: Option<u64>,
    /// Names the Dockerfile across builds; enters [`crate::Vertex::place`].
    pub project: String,
}

/// Which layers of an image become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Squash {
    /// None.
    #[default]
    No,
    /// Those that the build makes, on those of the base.
    New,
    /// All.
    All,
}

/// What an image does not take over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unset {
    /// Variables, which the steps see all the same.
    pub env: Vec<String>,
    /// Labels.
    pub labels: Vec<String>,
    /// All labels of what a stage starts from.
    pub inherited_labels: bool,
}

/// What a named context is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedSource {
    /// Files: a directory, an unpacked archive or a git checkout.
    Files,
    /// An image, by the reference that the caller resolves.
    Image(String),
    /// Something from the network.
    Remote(SourceOp),
    /// A stage of the same Dockerfile, by its index, wherever it stands.
    Stage(usize),
}

/// Returns the names of the predefined proxy arguments, which a Dockerfile can use without
/// declaring them and which enter no key and no history (Dockerfile reference, "Predefined ARGs").
pub fn proxy_args() -> &'static [&'static str] {
    &[
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "FTP_PROXY",
        "ftp_proxy",
        "NO_PROXY",
        "no_proxy",
        "ALL_PROXY",
        "all_proxy",
    ]
}
