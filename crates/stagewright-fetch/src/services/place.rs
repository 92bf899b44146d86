//! Which service, and where in it, as somebody wrote it down.

use std::fmt;
use std::time::Duration;

/// A place for caches in a service. What is absent is taken from the [`ServiceEnvironment`].
///
/// [`ServiceEnvironment`]: crate::ServiceEnvironment
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServicePlace {
    /// A bucket of S3, or of a service that speaks its protocol.
    S3(S3Place),
    /// A container of Azure's Blob Storage.
    Azure(AzurePlace),
    /// The cache of GitHub Actions, or of a service that speaks its protocol.
    Actions(ActionsPlace),
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// A bucket, with the options that BuildKit's `type=s3` has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct S3Place {
    /// The bucket; `$AWS_BUCKET` if absent.
    pub bucket: Option<String>,
    /// The region; `$AWS_REGION` or `$AWS_DEFAULT_REGION` if absent.
    pub region: Option<String>,
    /// Where the service is, if it is not Amazon's.
    pub endpoint_url: Option<String>,
    /// The bucket is part of the path and not of the host. Only with an endpoint.
    pub use_path_style: bool,
    /// What the names of all objects begin with.
    pub prefix: String,
    /// What the names of blobs begin with, after the prefix; `blobs/` if absent.
    pub blobs_prefix: Option<String>,
    /// What the names of manifests begin with, after the prefix; `manifests/` if absent.
    pub manifests_prefix: Option<String>,
    /// The names of the cache: it is written under each and read by the first. `stagewright` if there is none.
    pub names: Vec<String>,
    /// The id of the key; `$AWS_ACCESS_KEY_ID`, or the profile's in the file of credentials, if absent.
    pub access_key_id: Option<String>,
    /// The key.
    pub secret_access_key: Option<Hidden>,
    /// The token that a temporary key comes with.
    pub session_token: Option<Hidden>,
    /// A blob that was written longer ago than this is marked as new when a cache needs it, for buckets that
    /// remove what is old; a day if absent.
    pub touch_refresh: Option<Duration>,
    /// How many blobs are sent at once; 4 if absent.
    pub upload_parallelism: Option<usize>,
    /// How often a request is tried.
    pub retry_max_attempts: Option<u32>,
}

/// A container, with the options that BuildKit's `type=azblob` has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AzurePlace {
    /// The address of the account, with a shared access signature behind `?` where there is no key;
    /// `$BUILDKIT_AZURE_STORAGE_ACCOUNT_URL` if absent.
    pub account_url: Option<Hidden>,
    /// The account; the first part of the address's host if absent.
    pub account_name: Option<String>,
    /// The container, which is made if it is not there; `buildkit-cache` if absent.
    pub container: Option<String>,
    /// What the names of all objects begin with.
    pub prefix: Option<String>,
    /// The folder of blobs below the prefix; `blobs` if absent.
    pub blobs_prefix: Option<String>,
    /// The folder of manifests below the prefix; `manifests` if absent.
    pub manifests_prefix: Option<String>,
    /// The names of the cache: it is written under each and read by the first. `stagewright` if there is none.
    pub names: Vec<String>,
    /// The key of the account.
    pub secret_access_key: Option<Hidden>,
}

/// A cache of GitHub Actions, with the options that BuildKit's `type=gha` has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ActionsPlace {
    /// Which of the caches of a repository; `stagewright` if absent.
    pub scope: Option<String>,
    /// Where the service is, for the first version of its protocol; `$ACTIONS_CACHE_URL` if absent.
    pub url: Option<String>,
    /// Where the service is, for the second version of its protocol; `$ACTIONS_RESULTS_URL` if absent.
    pub url_v2: Option<String>,
    /// Who asks; `$ACTIONS_RUNTIME_TOKEN` if absent.
    pub token: Option<Hidden>,
    /// The version of the protocol, 1 or 2; as `$ACTIONS_CACHE_SERVICE_V2` says if absent.
    pub version: Option<u8>,
    /// How long an export may take, and so may finding a cache; ten minutes if absent. Layers come later and take their time.
    pub timeout: Option<Duration>,
}

impl ServicePlace {
    /// Says where this is, without what is secret.
    pub fn shown(&self) -> String {
        match self {
            Self::S3(place) => {
                let bucket = place.bucket.as_deref().unwrap_or("$AWS_BUCKET");
                format!("s3://{bucket}/{}{}", place.prefix, first(&place.names))
            }
            Self::Azure(place) => {
                let container = place.container.as_deref().unwrap_or(AzurePlace::CONTAINER);
                let prefix = place.prefix.as_deref().unwrap_or_default();
                let slash = if prefix.is_empty() || prefix.ends_with('/') {
                    ""
                } else {
                    "/"
                };
                format!(
                    "azblob://{container}/{prefix}{slash}{}",
                    first(&place.names)
                )
            }
            Self::Actions(place) => {
                let scope = place.scope.as_deref().unwrap_or(DEFAULT_NAME);
                format!("GitHub Actions ({scope})")
            }
        }
    }
}

impl AzurePlace {
    /// The container of caches that are given none.
    pub(super) const CONTAINER: &str = "buildkit-cache";
}

/// What a cache is called that is given no name: not as BuildKit calls it, whose caches would be overwritten.
pub(super) const DEFAULT_NAME: &str = "stagewright";

fn first(names: &[String]) -> &str {
    names.first().map_or(DEFAULT_NAME, String::as_str)
}
