//! Files over HTTP.

use std::time::{Duration, UNIX_EPOCH};

use stagewright_digest::Digest;
use stagewright_fetch::{HttpAnswer, HttpClient, HttpError, HttpFile, HttpRequest, HttpVersion};
use stagewright_testkit::{WebFile, WebServer};

use crate::setup::options;

const BODY: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

fn request(server: &WebServer, path: &str) -> HttpRequest {
    HttpRequest {
        url: server.url(path),
        ..HttpRequest::default()
    }
}

async fn fetch(request: &HttpRequest) -> Result<HttpAnswer<Vec<u8>>, HttpError> {
    let client = HttpClient::new(options().network);
    client.fetch(request, || Ok(Vec::new()), &|_| {}).await
}

async fn file(request: &HttpRequest) -> HttpFile<Vec<u8>> {
    match fetch(request).await.unwrap() {
        HttpAnswer::File(file) => file,
        HttpAnswer::NotModified => panic!("not modified"),
    }
}

fn tagged() -> WebFile {
    WebFile {
        body: BODY.to_vec(),
        etag: Some("\"v1\"".to_owned()),
        last_modified: Some("Sun, 06 Nov 1994 08:49:37 GMT".to_owned()),
        ..WebFile::default()
    }
}

#[tokio::test]
async fn a_file_comes_with_what_is_known_of_it() {
    let server = WebServer::start();
    server.put_file("/f", tagged());
    let found = file(&request(&server, "/f#fragment")).await;
    assert_eq!(found.writer, BODY);
    assert_eq!((found.digest, found.size), (Digest::of(BODY), 36));
    assert_eq!(
        found.modified,
        Some(UNIX_EPOCH + Duration::from_secs(784_111_777))
    );
    assert_eq!(found.version.etag.as_deref(), Some("\"v1\""));
    for known in [
        found.version.clone(),
        HttpVersion {
            etag: None,
            ..found.version.clone()
        },
    ] {
        let again = HttpRequest {
            known,
            ..request(&server, "/f")
        };
        assert!(matches!(
            fetch(&again).await.unwrap(),
            HttpAnswer::NotModified
        ));
    }
    let old = HttpVersion {
        etag: Some("\"v0\"".to_owned()),
        last_modified: None,
    };
    let again = HttpRequest {
        known: old,
        ..request(&server, "/f")
    };
    assert_eq!(file(&again).await.writer, BODY);
}

#[tokio::test]
async fn a_file_may_be_so_long_and_no_longer() {
    let server = WebServer::start();
    server.put("/f", BODY);
    let limited = |bytes_max| HttpRequest {
        bytes_max: Some(bytes_max),
        ..request(&server, "/f")
    };
    assert_eq!(file(&limited(36)).await.writer, BODY);
    let error = fetch(&limited(35)).await.unwrap_err().to_string();
    assert!(error.ends_with("/f: more comes than 35 bytes"), "{error}");
}

#[tokio::test]
async fn a_transfer_that_breaks_goes_on_or_begins_anew() {
    for (what, served, ranges) in [
        (
            "resumed",
            WebFile {
                cuts: vec![5, 10],
                ..tagged()
            },
            2,
        ),
        (
            "begun anew",
            WebFile {
                cuts: vec![5, 10],
                etag: None,
                ..tagged()
            },
            0,
        ),
        (
            "a weak tag",
            WebFile {
                cuts: vec![10],
                etag: Some("W/\"v1\"".to_owned()),
                ..tagged()
            },
            0,
        ),
        (
            "busy",
            WebFile {
                statuses: vec![503, 500],
                ..tagged()
            },
            0,
        ),
    ] {
        let server = WebServer::start();
        server.put_file("/f", served);
        assert_eq!(file(&request(&server, "/f")).await.writer, BODY, "{what}");
        let requests = server.requests();
        let ranged = requests
            .iter()
            .filter(|request| request.header("range").is_some());
        assert_eq!(ranged.count(), ranges, "{what}");
    }
}

#[tokio::test]
async fn a_file_that_changes_meanwhile_is_not_pieced_together() {
    let server = WebServer::start();
    server.put_file(
        "/f",
        WebFile {
            cuts: vec![10],
            ..tagged()
        },
    );
    let other = b"another body that is longer than the first one".to_vec();
    let client = HttpClient::new(options().network);
    let replaced = WebFile {
        body: other.clone(),
        etag: Some("\"v2\"".to_owned()),
        ..WebFile::default()
    };
    let change = |_| server.put_file("/f", replaced.clone());
    let answer = client
        .fetch(&request(&server, "/f"), || Ok(Vec::new()), &change)
        .await;
    let HttpAnswer::File(found) = answer.unwrap() else {
        panic!("not modified")
    };
    assert_eq!(found.writer, other);
    assert_eq!(found.version.etag.as_deref(), Some("\"v2\""));
}

#[tokio::test]
async fn credentials_are_sent_and_do_not_follow_a_redirect() {
    let server = WebServer::start();
    let other = WebServer::start();
    let secret = "Bearer s";
    server.put_file(
        "/f",
        WebFile {
            authorization: Some(secret.to_owned()),
            ..tagged()
        },
    );
    server.put_file(
        "/away",
        WebFile {
            redirect: Some(other.url("/f")),
            ..WebFile::default()
        },
    );
    server.put_file(
        "/here",
        WebFile {
            redirect: Some("/f".to_owned()),
            ..WebFile::default()
        },
    );
    other.put("/f", BODY);
    let error = fetch(&request(&server, "/f"))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("answered 401; give credentials as the secret HTTP_AUTH_TOKEN"),
        "{error}"
    );
    for path in ["/f", "/here", "/away"] {
        let mut request = request(&server, path);
        request.authorization = Some(secret.to_owned());
        assert_eq!(file(&request).await.writer, BODY, "{path}");
    }
    assert_eq!(other.requests()[0].header("authorization"), None);
}

#[tokio::test]
async fn failures_say_what_they_are() {
    let server = WebServer::start();
    server.put("/f", BODY);
    server.put_file(
        "/loop",
        WebFile {
            redirect: Some("/loop".to_owned()),
            ..WebFile::default()
        },
    );
    server.put_file(
        "/ftp",
        WebFile {
            redirect: Some("ftp://a/b".to_owned()),
            ..WebFile::default()
        },
    );
    server.put_file(
        "/down",
        WebFile {
            statuses: vec![500; 9],
            ..WebFile::default()
        },
    );
    for (url, expected) in [
        (server.url("/none"), "answered 404; check the address"),
        (server.url("/loop"), "redirects more than 10 times"),
        (server.url("/ftp"), "redirects to ftp://"),
        (server.url("/down"), "answered 500"),
        ("file:///etc/passwd".to_owned(), "neither with http://"),
        ("http://".to_owned(), "is not a web address"),
        ("http://127.0.0.1:1/".to_owned(), "Connection refused"),
    ] {
        let request = HttpRequest {
            url: url.clone(),
            ..HttpRequest::default()
        };
        let error = fetch(&request).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{url}: {error}");
    }
    let mut wrong = request(&server, "/f");
    wrong.expected = Some(Digest::of(b"other"));
    let error = fetch(&wrong).await.unwrap_err();
    assert!(matches!(error, HttpError::Checksum { .. }), "{error}");
    wrong.expected = Some(Digest::of(BODY));
    assert_eq!(file(&wrong).await.writer, BODY);
}
