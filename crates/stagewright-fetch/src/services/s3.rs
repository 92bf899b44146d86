//! S3: objects in a bucket, by URLs that are signed for one request (AWS Signature Version 4).

use std::time::Duration;

use reqwest::header::HeaderName;
use reqwest::{Method, Url};
use rusty_s3::{Bucket, BucketError, Credentials, S3Action as _, UrlStyle};

use super::environment::ServiceEnvironment;
use super::error::ServiceError;
use super::object::{Names, Object, ObjectRequest, given};
use super::place::{Hidden, S3Place};

/// How long a signed URL holds: a layer may take long to be sent.
const VALID: Duration = Duration::from_secs(6 * 60 * 60);
/// After how long a blob that is still needed is marked as new.
const TOUCH_REFRESH: Duration = Duration::from_secs(24 * 60 * 60);

/// A bucket, and who asks it.
#[derive(Debug)]
pub(super) struct S3 {
    bucket: Bucket,
    /// Whether the bucket is part of the path.
    by_path: bool,
    credentials: Credentials,
    pub(super) names: Names,
    pub(super) touch_refresh: Duration,
}

impl S3 {
    /// What the service is called.
    pub(super) const SERVICE: &str = "S3";

    pub(super) fn new(
        place: &S3Place,
        environment: &ServiceEnvironment,
    ) -> Result<Self, ServiceError> {
        let missing = |what: &str| fail(format!("it needs {what}"));
        let bucket = given(place.bucket.as_ref(), environment.get("AWS_BUCKET"))
            .ok_or_else(|| missing("bucket=, or the variable AWS_BUCKET"))?;
        let variable = environment
            .get("AWS_REGION")
            .or_else(|| environment.get("AWS_DEFAULT_REGION"));
        let region = given(place.region.as_ref(), variable)
            .ok_or_else(|| missing("region=, or the variable AWS_REGION"))?;
        let endpoint = match place.endpoint_url.as_deref() {
            Some(endpoint) => endpoint.to_owned(),
            None => {
                let domain = if region.starts_with("cn-") {
                    "amazonaws.com.cn"
                } else {
                    "amazonaws.com"
                };
                format!("https://s3.{region}.{domain}")
            }
        };
        let wrong = |reason: String| fail(format!("endpoint_url {endpoint:?}: {reason}"));
        let url = Url::parse(&endpoint).map_err(|error| wrong(error.to_string()))?;
        // A certificate for `*.s3.REGION…` holds for one name before it.
        let by_path = match place.endpoint_url {
            Some(_) => place.use_path_style,
            None => bucket.contains('.'),
        };
        let style = if by_path {
            UrlStyle::Path
        } else {
            UrlStyle::VirtualHost
        };
        let bucket = Bucket::new(url, style, bucket, region).map_err(|error| {
            wrong(match error {
                BucketError::ParseError(error) if !by_path => {
                    format!("{error}; an address takes use_path_style=true")
                }
                other => other.to_string(),
            })
        })?;
        let prefixed = |own: &Option<String>, usual: &str| {
            format!("{}{}", place.prefix, own.as_deref().unwrap_or(usual))
        };
        let blobs = prefixed(&place.blobs_prefix, "blobs/");
        let manifests = prefixed(&place.manifests_prefix, "manifests/");
        Ok(Self {
            bucket,
            by_path,
            credentials: credentials(place, environment)?,
            names: Names::new(blobs, manifests, &place.names).map_err(fail)?,
            touch_refresh: place.touch_refresh.unwrap_or(TOUCH_REFRESH),
        })
    }

    pub(super) fn get(&self, object: &Object) -> Url {
        self.bucket
            .get_object(Some(&self.credentials), &self.names.of(object))
            .sign(VALID)
    }

    pub(super) fn head(&self, object: &Object) -> ObjectRequest {
        let key = self.names.of(object);
        let action = self.bucket.head_object(Some(&self.credentials), &key);
        ObjectRequest::new(Method::HEAD, action.sign(VALID))
    }

    pub(super) fn put(&self, object: &Object) -> ObjectRequest {
        let key = self.names.of(object);
        let action = self.bucket.put_object(Some(&self.credentials), &key);
        ObjectRequest::new(Method::PUT, action.sign(VALID))
    }

    /// Makes an object new by copying it onto itself, which S3 does only if something changes with it: its
    /// description is said again.
    pub(super) fn touch(&self, object: &Object) -> ObjectRequest {
        let key = self.names.of(object);
        let url = self.bucket.object_url(&key);
        let source = match self.by_path {
            true => url.path().to_owned(),
            false => format!("/{}{}", self.bucket.name(), url.path()),
        };
        // It needs no code there, and some services of the protocol leave the codes of what needs none.
        let source = source.replace("%3A", ":");
        let headers = [
            ("x-amz-copy-source", source),
            ("x-amz-metadata-directive", "REPLACE".to_owned()),
        ];
        let mut action = self.bucket.put_object(Some(&self.credentials), &key);
        for (name, value) in &headers {
            action.headers_mut().insert(*name, value.as_str());
        }
        ObjectRequest {
            method: Method::PUT,
            url: action.sign(VALID),
            headers: headers
                .map(|(name, value)| (HeaderName::from_static(name), value))
                .into(),
        }
    }
}

/// Finds who asks: as the cache says, as the variables say, as the file of credentials says.
fn credentials(
    place: &S3Place,
    environment: &ServiceEnvironment,
) -> Result<Credentials, ServiceError> {
    let made = |id: &str, key: &str, token: Option<&str>| match token {
        Some(token) => Credentials::new_with_token(id.to_owned(), key.to_owned(), token.to_owned()),
        None => Credentials::new(id.to_owned(), key.to_owned()),
    };
    match (&place.access_key_id, &place.secret_access_key) {
        (Some(id), Some(Hidden(key))) => {
            let token = place
                .session_token
                .as_ref()
                .map(|Hidden(token)| token.as_str());
            return Ok(made(id, key, token));
        }
        (None, None) => {}
        _ => {
            return Err(fail(
                "access_key_id= and secret_access_key= come together".to_owned(),
            ));
        }
    }
    if let (Some(id), Some(key)) = (
        environment.get("AWS_ACCESS_KEY_ID"),
        environment.get("AWS_SECRET_ACCESS_KEY"),
    ) {
        return Ok(made(id, key, environment.get("AWS_SESSION_TOKEN")));
    }
    let profile = environment
        .aws_profile()
        .map_err(|error| fail(format!("the file of credentials: {error}")))?;
    if let Some(profile) = &profile
        && let (Some(id), Some(key)) = (
            profile.get("aws_access_key_id"),
            profile.get("aws_secret_access_key"),
        )
    {
        return Ok(made(
            id,
            key,
            profile.get("aws_session_token").map(String::as_str),
        ));
    }
    let others = [
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    ];
    let other = others.iter().find(|name| environment.get(name).is_some());
    Err(fail(match other {
        Some(name) => format!(
            "keys by way of {name} are not supported: set AWS_ACCESS_KEY_ID and the like by `aws configure export-credentials --format env`"
        ),
        None => "there is no key: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give access_key_id= and secret_access_key=".to_owned(),
    }))
}

fn fail(reason: String) -> ServiceError {
    ServiceError::Settings {
        service: S3::SERVICE,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_key() -> S3Place {
        S3Place {
            bucket: Some("b".to_owned()),
            region: Some("eu-west-1".to_owned()),
            access_key_id: Some("A".to_owned()),
            secret_access_key: Some(Hidden("B".to_owned())),
            ..S3Place::default()
        }
    }

    #[test]
    fn objects_are_where_buildkit_puts_them() {
        let object = Object::Manifest("main".to_owned());
        for (place, expected) in [
            (
                with_key(),
                "https://b.s3.eu-west-1.amazonaws.com/manifests/main",
            ),
            (
                S3Place {
                    region: Some("cn-north-1".to_owned()),
                    prefix: "p/".to_owned(),
                    ..with_key()
                },
                "https://b.s3.cn-north-1.amazonaws.com.cn/p/manifests/main",
            ),
            (
                S3Place {
                    bucket: Some("b.c".to_owned()),
                    manifests_prefix: Some(String::new()),
                    ..with_key()
                },
                "https://s3.eu-west-1.amazonaws.com/b.c/main",
            ),
            (
                S3Place {
                    endpoint_url: Some("http://127.0.0.1:9000".to_owned()),
                    use_path_style: true,
                    ..with_key()
                },
                "http://127.0.0.1:9000/b/manifests/main",
            ),
        ] {
            let url = S3::new(&place, &ServiceEnvironment::default())
                .unwrap()
                .get(&object);
            assert_eq!(url.as_str().split('?').next(), Some(expected));
            assert!(
                url.query().unwrap().contains("X-Amz-Credential=A%2F"),
                "{url}"
            );
        }
    }

    #[test]
    fn an_object_is_copied_from_where_it_is() {
        let digest = stagewright_digest::Digest::of(b"blob");
        for (endpoint_url, use_path_style) in [
            (None, false),
            (Some("http://127.0.0.1:9000".to_owned()), true),
        ] {
            let place = S3Place {
                prefix: "p q/".to_owned(),
                endpoint_url,
                use_path_style,
                ..with_key()
            };
            let s3 = S3::new(&place, &ServiceEnvironment::default()).unwrap();
            let request = s3.touch(&Object::Blob(digest));
            let source = &request.headers[0].1;
            assert_eq!(*source, format!("/b/p%20q/blobs/{digest}"));
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let without_key = S3Place {
            access_key_id: None,
            secret_access_key: None,
            ..with_key()
        };
        for (place, variables, expected) in [
            (
                S3Place::default(),
                vec![],
                "bucket=, or the variable AWS_BUCKET",
            ),
            (
                S3Place::default(),
                vec![("AWS_BUCKET", "b")],
                "region=, or the variable AWS_REGION",
            ),
            (
                without_key.clone(),
                vec![],
                "there is no key: set AWS_ACCESS_KEY_ID",
            ),
            (
                without_key.clone(),
                vec![("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")],
                "by way of AWS_WEB_IDENTITY_TOKEN_FILE are not supported",
            ),
            (
                S3Place {
                    secret_access_key: None,
                    ..with_key()
                },
                vec![],
                "come together",
            ),
            (
                S3Place {
                    endpoint_url: Some("http://127.0.0.1:1".to_owned()),
                    ..with_key()
                },
                vec![],
                "an address takes use_path_style=true",
            ),
            (
                S3Place {
                    endpoint_url: Some("x".to_owned()),
                    ..with_key()
                },
                vec![],
                "endpoint_url \"x\"",
            ),
            (
                S3Place {
                    names: vec!["../x".to_owned()],
                    ..with_key()
                },
                vec![],
                "no object can be called",
            ),
        ] {
            let error = S3::new(&place, &ServiceEnvironment::with(&variables))
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
        let keys = [
            ("AWS_ACCESS_KEY_ID", "A"),
            ("AWS_SECRET_ACCESS_KEY", "B"),
            ("AWS_SESSION_TOKEN", "T"),
        ];
        let url = S3::new(&without_key, &ServiceEnvironment::with(&keys))
            .unwrap()
            .get(&Object::Manifest("m".to_owned()));
        assert!(
            url.query().unwrap().contains("X-Amz-Security-Token=T"),
            "{url}"
        );
    }
}
