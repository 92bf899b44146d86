//! Azure's Blob Storage: objects in a container, by URLs with a shared access signature of the account.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use reqwest::header::HeaderName;
use reqwest::{Method, Url};
use sha2::Sha256;

use super::environment::ServiceEnvironment;
use super::error::ServiceError;
use super::object::{Names, Object, ObjectRequest, given};
use super::place::{AzurePlace, Hidden};

/// How long a signed URL holds: a layer may take long to be sent.
const VALID: Duration = Duration::from_secs(6 * 60 * 60);
/// The version of the service that signatures are written for.
const VERSION: &str = "2021-08-06";

/// A container, and who asks it.
pub(super) struct Azure {
    url: Url,
    account: String,
    container: String,
    /// The key of the account; a signature is part of the address where there is none.
    key: Option<Vec<u8>>,
    pub(super) names: Names,
}

impl std::fmt::Debug for Azure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Azure({}/{})", self.account, self.container)
    }
}

impl Azure {
    /// What the service is called.
    pub(super) const SERVICE: &str = "Azure Blob Storage";

    pub(super) fn new(
        place: &AzurePlace,
        environment: &ServiceEnvironment,
    ) -> Result<Self, ServiceError> {
        let written = place.account_url.as_ref().map(|Hidden(url)| url);
        let text = given(
            written,
            environment.get("BUILDKIT_AZURE_STORAGE_ACCOUNT_URL"),
        )
        .ok_or_else(|| {
            fail(
                "it needs account_url=, or the variable BUILDKIT_AZURE_STORAGE_ACCOUNT_URL"
                    .to_owned(),
            )
        })?;
        let url = Url::parse(&text)
            .map_err(|error| fail(format!("account_url is no address: {error}")))?;
        let host = match url.host_str() {
            Some(host) if matches!(url.scheme(), "http" | "https") => host,
            _ => {
                return Err(fail(
                    "account_url begins neither with http:// nor with https://".to_owned(),
                ));
            }
        };
        let variable = |name: &str| environment.get(&format!("BUILDKIT_AZURE_STORAGE_{name}"));
        let account = given(place.account_name.as_ref(), variable("ACCOUNT_NAME"))
            .unwrap_or_else(|| host.split('.').next().unwrap_or_default().to_owned());
        let key = match &place.secret_access_key {
            Some(Hidden(key)) => Some(
                STANDARD
                    .decode(key)
                    .map_err(|_| fail("secret_access_key is not in base64".to_owned()))?,
            ),
            None if url.query().is_some_and(|query| query.contains("sig=")) => None,
            None => {
                let reason = "it needs secret_access_key=, or a shared access signature behind `?` in account_url; logins of Entra ID are not supported";
                return Err(fail(reason.to_owned()));
            }
        };
        let container = given(place.container.as_ref(), variable("CONTAINER"))
            .unwrap_or_else(|| AzurePlace::CONTAINER.to_owned());
        let prefix = given(place.prefix.as_ref(), variable("PREFIX")).unwrap_or_default();
        let folder = |own: &Option<String>, usual: &str| {
            let parts = [prefix.as_str(), own.as_deref().unwrap_or(usual)];
            let parts = parts.iter().map(|part| part.trim_matches('/'));
            let parts = parts.filter(|part| !part.is_empty());
            parts.fold(format!("{container}/"), |path, part| {
                format!("{path}{part}/")
            })
        };
        let blobs = folder(&place.blobs_prefix, "blobs");
        let manifests = folder(&place.manifests_prefix, "manifests");
        Ok(Self {
            url,
            account,
            key,
            names: Names::new(blobs, manifests, &place.names).map_err(fail)?,
            container,
        })
    }

    pub(super) fn get(&self, object: &Object) -> Url {
        self.signed(&self.names.of(object))
    }

    pub(super) fn head(&self, object: &Object) -> ObjectRequest {
        ObjectRequest::new(Method::HEAD, self.get(object))
    }

    pub(super) fn put(&self, object: &Object) -> ObjectRequest {
        put_to(self.get(object))
    }

    pub(super) fn make_container(&self) -> ObjectRequest {
        let mut url = self.signed(&self.container);
        url.query_pairs_mut().append_pair("restype", "container");
        ObjectRequest::new(Method::PUT, url)
    }

    fn signed(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/'));
        }
        if let Some(key) = &self.key {
            let expiry = expiry(SystemTime::now() + VALID);
            let parameters = signature(&self.account, key, &expiry);
            url.query_pairs_mut().extend_pairs(parameters);
        }
        url
    }
}

/// Writes a blob at once to a URL that is signed for it.
pub(super) fn put_to(url: Url) -> ObjectRequest {
    let kind = HeaderName::from_static("x-ms-blob-type");
    ObjectRequest {
        headers: vec![(kind, "BlockBlob".to_owned())],
        ..ObjectRequest::new(Method::PUT, url)
    }
}

/// Writes a time as the service reads it, in whole seconds.
fn expiry(at: SystemTime) -> String {
    let seconds = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    jiff::Timestamp::from_second(i64::try_from(seconds).unwrap_or(i64::MAX))
        .unwrap_or(jiff::Timestamp::MAX)
        .to_string()
}

/// Returns the parameters of an account's signature that allows to read, write and create blobs and containers
/// (Azure Storage, "Create an account SAS").
fn signature(account: &str, key: &[u8], expiry: &str) -> [(&'static str, String); 6] {
    let (permissions, services, kinds) = ("rwc", "b", "co");
    // Start, addresses, protocols and the scope of encryption are left open.
    let text =
        format!("{account}\n{permissions}\n{services}\n{kinds}\n\n{expiry}\n\n\n{VERSION}\n\n");
    let mut code = Hmac::<Sha256>::new_from_slice(key).expect("because a key may have any length");
    code.update(text.as_bytes());
    [
        ("sv", VERSION.to_owned()),
        ("ss", services.to_owned()),
        ("srt", kinds.to_owned()),
        ("sp", permissions.to_owned()),
        ("se", expiry.to_owned()),
        ("sig", STANDARD.encode(code.finalize().into_bytes())),
    ]
}

fn fail(reason: String) -> ServiceError {
    ServiceError::Settings {
        service: Azure::SERVICE,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str, key: Option<&str>) -> AzurePlace {
        AzurePlace {
            account_url: Some(Hidden(url.to_owned())),
            secret_access_key: key.map(|key| Hidden(key.to_owned())),
            prefix: Some("p/".to_owned()),
            ..AzurePlace::default()
        }
    }

    #[test]
    fn objects_are_where_buildkit_puts_them() {
        let open = |place| Azure::new(&place, &ServiceEnvironment::default()).unwrap();
        let object = Object::Manifest("main".to_owned());
        let azure = open(place("https://me.blob.core.windows.net", Some("a2V5")));
        assert_eq!(azure.account, "me");
        let url = azure.put(&object).url;
        let expected = "https://me.blob.core.windows.net/buildkit-cache/p/manifests/main?sv=2021-08-06&ss=b&srt=co&sp=rwc&se=";
        assert!(url.as_str().starts_with(expected), "{url}");
        let azure = open(place("http://127.0.0.1:1/me/?sv=1&sig=x", None));
        assert_eq!(
            azure.get(&object).as_str(),
            "http://127.0.0.1:1/me/buildkit-cache/p/manifests/main?sv=1&sig=x"
        );
        let made = azure.make_container().url;
        assert_eq!(
            made.as_str(),
            "http://127.0.0.1:1/me/buildkit-cache?sv=1&sig=x&restype=container"
        );
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (place, expected) in [
            (AzurePlace::default(), "BUILDKIT_AZURE_STORAGE_ACCOUNT_URL"),
            (place("x", None), "account_url is no address"),
            (place("ftp://x", None), "neither with http:// nor"),
            (
                place("https://x", None),
                "logins of Entra ID are not supported",
            ),
            (place("https://x", Some("?")), "not in base64"),
            (
                AzurePlace {
                    names: vec!["..".to_owned()],
                    ..place("https://x", Some(""))
                },
                "no object can be called",
            ),
        ] {
            let error = Azure::new(&place, &ServiceEnvironment::default())
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_signature_is_that_of_its_key_account_and_time() {
        let of = |account, key: &[u8], expiry| signature(account, key, expiry)[5].1.clone();
        let one = of("me", b"key", "2026-01-01T00:00:00Z");
        // As Python's hmac makes it of the text that the documents describe.
        assert_eq!(one, "PhQz2cnEiR8JjZgQFOQv7qcTqwX25CuTSbDETNV6/dU=");
        for other in [
            of("you", b"key", "2026-01-01T00:00:00Z"),
            of("me", b"KEY", "2026-01-01T00:00:00Z"),
            of("me", b"key", "2026-01-01T00:00:01Z"),
        ] {
            assert_ne!(one, other);
        }
        assert_eq!(expiry(SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00Z");
    }
}
