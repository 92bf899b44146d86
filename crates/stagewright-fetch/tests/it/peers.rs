//! Against Debian's docker-registry and skopeo, which know nothing of this project.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use stagewright_digest::{DiffId, Digest};
use stagewright_fetch::{FetchError, PushOptions, RegistryClient};
use stagewright_oci::{
    BlobPlacement, ImageConfig, ImageLayout, Manifest, OutgoingBlob, OutgoingImage,
    OutgoingPlatform, Reference, media_type, write_docker_archive, write_layout_archive,
};
use stagewright_testkit::{output, program};
use tempfile::TempDir;

use crate::setup::{amd64, options};

/// The name `u` and the password `p`, as htpasswd keeps them.
const HTPASSWD: &str = "u:$2b$05$LrvXnMs7dehPF6BpVLkwPOtTKhdD0iHXVk01lTUc5TIZou1eL6fFK\n";
const STARTING_TRIES_MAX: u32 = 100;

/// A docker-registry that ends with the test.
struct Peer {
    process: Child,
    address: String,
    folder: TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Peer {
    /// Starts the registry with these additions to its environment, which may name files of the
    /// folder.
    async fn start(setup: impl FnOnce(&Path) -> Vec<(&'static str, String)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs_err::write(
            path.join("config.yml"),
            "version: 0.1\nstorage: {filesystem: {rootdirectory: /nonexistent}}\nhttp: {addr: ':0'}\n",
        )
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let log = fs_err::File::create(path.join("log")).unwrap();
        let process = Command::new(program("docker-registry", "docker-registry"))
            .arg("serve")
            .arg(path.join("config.yml"))
            .env(
                "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY",
                path.join("storage"),
            )
            .env("REGISTRY_HTTP_ADDR", &address)
            .env("OTEL_TRACES_EXPORTER", "none")
            .envs(setup(path))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.into_file())
            .spawn()
            .unwrap();
        let peer = Self {
            process,
            address,
            folder,
        };
        for _ in 0..STARTING_TRIES_MAX {
            if TcpStream::connect(&peer.address).is_ok() {
                return peer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let log = fs_err::read_to_string(peer.folder.path().join("log")).unwrap();
        panic!("docker-registry does not listen:\n{log}");
    }

    fn reference(&self, name: &str) -> Reference {
        format!("{}/{name}", self.address).parse().unwrap()
    }
}

/// An image with a layer that is a real, empty tar.
fn image(docker: bool, names: Vec<Reference>) -> OutgoingImage {
    let layer = vec![0; 1024];
    let mut config = ImageConfig::for_platform(&amd64());
    config
        .rootfs
        .diff_ids
        .push(DiffId::from_bytes(*Digest::of(&layer).as_bytes()));
    let (config_type, layer_type) = match docker {
        true => (media_type::DOCKER_CONFIG, media_type::DOCKER_LAYER),
        false => (media_type::OCI_CONFIG, media_type::OCI_LAYER),
    };
    let config = OutgoingBlob::bytes(config_type, config.encode());
    let layer = OutgoingBlob::bytes(layer_type, layer);
    let make = if docker {
        Manifest::docker
    } else {
        Manifest::oci
    };
    let manifest = make(config.descriptor.clone(), vec![layer.descriptor.clone()]);
    let platform = OutgoingPlatform::new(amd64(), manifest, vec![config, layer]);
    OutgoingImage::single(platform, names)
}

async fn push(client: &RegistryClient, image: &OutgoingImage) -> Result<Digest, FetchError> {
    client
        .push(image, &PushOptions::default(), Arc::new(|_| {}))
        .await
}

fn skopeo(arguments: &[&str]) -> String {
    let mut command = Command::new(program("skopeo", "skopeo"));
    output(command.arg("--insecure-policy").args(arguments))
        .success()
        .stdout
}

#[tokio::test]
#[ignore = "needs docker-registry and skopeo"]
async fn network_docker_registry_takes_and_gives_both_forms() {
    let peer = Peer::start(|_| Vec::new()).await;
    let client = RegistryClient::new(options());
    for (docker, name) in [(false, "oci:v1"), (true, "docker:v1")] {
        let reference = peer.reference(name);
        let image = image(docker, vec![reference.clone()]);
        let digest = push(&client, &image).await.unwrap();
        let pulled = client.resolve(&reference, &amd64()).await.unwrap();
        assert_eq!(pulled.summary.manifest_digest, digest);
        let layer = &pulled.summary.layers[0].descriptor;
        let open = || Ok(Vec::new());
        let bytes = client
            .fetch_blob(&reference, layer, open, &|_| {})
            .await
            .unwrap();
        assert_eq!(bytes, [0; 1024]);
        let source = format!("docker://{reference}");
        let inspected = skopeo(&["inspect", "--tls-verify=false", &source]);
        assert!(inspected.contains(&digest.to_string()), "{inspected}");
        // And back: what skopeo pushes, we pull.
        let copy = peer.reference(&format!("copy-{name}"));
        let target = format!("docker://{copy}");
        skopeo(&[
            "copy",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            &source,
            &target,
        ]);
        let copied = client.resolve(&copy, &amd64()).await.unwrap();
        assert_eq!(copied.summary.config_digest, pulled.summary.config_digest);
    }
    // What lies in another repository is mounted.
    let image = image(false, vec![peer.reference("other")]);
    let options = PushOptions {
        mount_from: vec![peer.reference("oci:v1")],
        ..PushOptions::default()
    };
    let sent = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let noted = Arc::clone(&sent);
    let progress = Arc::new(move |event| {
        let is_sent = matches!(event, stagewright_fetch::PushEvent::Sent { .. });
        noted.fetch_or(is_sent, std::sync::atomic::Ordering::SeqCst);
    });
    client.push(&image, &options, progress).await.unwrap();
    assert!(!sent.load(std::sync::atomic::Ordering::SeqCst));
}

#[tokio::test]
#[ignore = "needs docker-registry"]
async fn network_docker_registry_asks_for_a_login() {
    let peer = Peer::start(|path| {
        fs_err::write(path.join("htpasswd"), HTPASSWD).unwrap();
        vec![
            ("REGISTRY_AUTH_HTPASSWD_REALM", "test".to_owned()),
            (
                "REGISTRY_AUTH_HTPASSWD_PATH",
                path.join("htpasswd").display().to_string(),
            ),
        ]
    })
    .await;
    let image = image(false, vec![peer.reference("app")]);
    let error = push(&RegistryClient::new(options()), &image)
        .await
        .unwrap_err();
    assert!(matches!(error, FetchError::Unauthorized { .. }), "{error}");
    let mut options = options();
    let file = format!(r#"{{"auths":{{"{}":{{"auth":"dTpw"}}}}}}"#, peer.address);
    let file = stagewright_fetch::CredentialFile::parse(&file, "config.json").unwrap();
    options.credentials.files.push(file);
    let client = RegistryClient::new(options);
    push(&client, &image).await.unwrap();
    client
        .resolve(&peer.reference("app"), &amd64())
        .await
        .unwrap();
}

/// Makes a CA, and certificates for the server and for a client, with openssl.
fn make_certificates(path: &Path) {
    let script = "set -e
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca
for who in server client; do
  openssl req -newkey rsa:2048 -nodes -keyout $who.key -out $who.csr -subj /CN=$who
  printf 'subjectAltName=IP:127.0.0.1\n' > ext
  openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out $who.pem -days 2 -extfile ext
done";
    let mut command = Command::new("sh");
    let _ = output(command.args(["-c", script]).current_dir(path)).success();
}

#[tokio::test]
#[ignore = "needs docker-registry and openssl"]
async fn network_docker_registry_over_tls_with_its_own_ca_and_client_certificates() {
    let peer = Peer::start(|path| {
        make_certificates(path);
        let file = |name: &str| path.join(name).display().to_string();
        vec![
            ("REGISTRY_HTTP_TLS_CERTIFICATE", file("server.pem")),
            ("REGISTRY_HTTP_TLS_KEY", file("server.key")),
            (
                "REGISTRY_HTTP_TLS_CLIENTCAS",
                format!("[{}]", file("ca.pem")),
            ),
        ]
    })
    .await;
    let path = peer.folder.path();
    let image = image(false, vec![peer.reference("app")]);
    let host = path.join("certs.d").join(&peer.address);
    fs_err::create_dir_all(&host).unwrap();
    let client = || {
        let mut options = options();
        options.network.tls.certs_dirs.push(path.join("certs.d"));
        RegistryClient::new(options)
    };
    let error = push(&client(), &image).await.unwrap_err().to_string();
    assert!(error.contains("cannot reach the registry"), "{error}");
    assert!(error.to_lowercase().contains("certificate"), "{error}");
    fs_err::copy(path.join("ca.pem"), host.join("ca.crt")).unwrap();
    fs_err::copy(path.join("client.pem"), host.join("client.cert")).unwrap();
    fs_err::copy(path.join("client.key"), host.join("client.key")).unwrap();
    push(&client(), &image).await.unwrap();
    client()
        .resolve(&peer.reference("app"), &amd64())
        .await
        .unwrap();
}

#[tokio::test]
#[ignore = "needs skopeo"]
async fn network_skopeo_reads_every_form_that_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(false, vec!["app:v1".parse().unwrap()]);
    let path = |name: &str| folder.path().join(name);
    let layout = path("layout");
    ImageLayout::write(&layout, &image, BlobPlacement::Copy).unwrap();
    let file = |name: &str| fs_err::File::create(path(name)).unwrap();
    write_layout_archive(&image, file("layout.tar")).unwrap();
    write_docker_archive(&image, file("docker.tar")).unwrap();
    for source in [
        format!("oci:{}:v1", layout.display()),
        format!("oci-archive:{}:v1", path("layout.tar").display()),
        format!("docker-archive:{}:app:v1", path("docker.tar").display()),
    ] {
        let inspected = skopeo(&["inspect", &source]);
        assert!(
            inspected.contains("\"Architecture\": \"amd64\""),
            "{source}: {inspected}"
        );
    }
    // And back: what skopeo writes, we read.
    for (target, file) in [
        ("oci-archive", "s1.tar"),
        ("docker-archive", "s2.tar"),
        ("oci", "s3"),
    ] {
        let source = format!("oci:{}:v1", layout.display());
        skopeo(&[
            "copy",
            &source,
            &format!("{target}:{}:app:v1", path(file).display()),
        ]);
        let opened = stagewright_oci::open_image(&path(file)).unwrap();
        let found = opened
            .resolve(&stagewright_oci::ImageSelector::Sole, &amd64())
            .unwrap();
        for layer in &found.layers {
            let mut reader = opened.open_blob(&layer.descriptor).unwrap();
            std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
        }
    }
}
