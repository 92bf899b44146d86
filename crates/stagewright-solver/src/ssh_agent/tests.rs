use rsa::signature::Verifier as _;
use ssh_key::{EcdsaCurve, LineEnding};

use super::*;

fn key(algorithm: Algorithm) -> PrivateKey {
    PrivateKey::random(&mut OsRng, algorithm).unwrap()
}

fn sign_request(key: &PrivateKey, data: &[u8]) -> Vec<u8> {
    let mut request = vec![SIGN_REQUEST];
    put(&mut request, &key.public_key().to_bytes().unwrap());
    put(&mut request, data);
    request.extend_from_slice(&[0; 4]);
    request
}

#[test]
fn what_is_no_agent_is_told_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let text = key(Algorithm::Ed25519).to_openssh(LineEnding::LF).unwrap();
    fs::write(at("key"), text.as_bytes()).unwrap();
    fs::write(at("pem"), "-----BEGIN RSA PRIVATE KEY-----\n").unwrap();
    fs::write(at("large"), vec![b'x'; 200 << 10]).unwrap();
    let _listening = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    for (names, expected) in [
        (&[][..], "neither a socket nor a key"),
        (&["missing"], "missing"),
        (&["."], "neither a socket nor a key"),
        (&["large"], "neither a socket nor a key"),
        (&["pem"], "ssh-keygen -p -f"),
        (&["socket", "key"], "socket is a socket"),
        (&["key", "socket"], "socket is a socket"),
        (&["socket", "socket"], "socket is a socket"),
    ] {
        let paths: Vec<_> = names.iter().map(|name| at(name)).collect();
        let error = SshAgent::open(&paths).unwrap_err().to_string();
        assert!(error.contains(expected), "{names:?}: {error}");
    }
    let socket = SshAgent::open(&[at("socket")]).unwrap();
    assert!(matches!(socket, SshAgent::Socket(_)));
    let keys = SshAgent::open(&[at("key"), at("key")]).unwrap();
    assert!(matches!(keys, SshAgent::Keys(keys) if keys.len() == 2));
}

#[test]
fn a_keys_debug_form_holds_no_key() {
    let agent = SshAgent::Keys([key(Algorithm::Ed25519)].into());
    assert_eq!(format!("{agent:?}"), "Keys(1)");
}

#[tokio::test]
async fn keys_are_listed_and_sign_and_nothing_else() {
    let curve = EcdsaCurve::NistP256;
    let keys = [key(Algorithm::Ed25519), key(Algorithm::Ecdsa { curve })];
    let agent = SshAgent::Keys(keys.clone().into());
    let (mut step, ours) = UnixStream::pair().unwrap();
    let served = tokio::spawn(async move { agent.answer(ours).await });
    let mut ask = async |request: &[u8]| {
        write_message(&mut step, request).await.unwrap();
        read_message(&mut step).await.unwrap()
    };
    assert_eq!(ask(&[REQUEST_IDENTITIES]).await, identities(&keys));
    for key in &keys {
        let answer = ask(&sign_request(key, b"data")).await;
        let mut rest = &answer[1..];
        let signature = Signature::try_from(take(&mut rest).unwrap()).unwrap();
        key.public_key()
            .key_data()
            .verify(b"data", &signature)
            .unwrap();
    }
    let stranger = key(Algorithm::Ed25519);
    let mut cut = sign_request(&keys[0], b"data");
    cut.truncate(20);
    // Another's key, half a request, nothing; add, remove all, lock, an extension.
    let refused = [sign_request(&stranger, b"data"), cut, Vec::new()];
    let others = [17_u8, 19, 22, 27].map(|kind| vec![kind]);
    for request in refused.into_iter().chain(others) {
        assert_eq!(ask(&request).await, [FAILURE], "{request:?}");
    }
    drop(step);
    assert!(served.await.unwrap().is_err());
}

#[tokio::test]
async fn a_message_beyond_the_limit_ends_the_connection() {
    let (mut step, ours) = UnixStream::pair().unwrap();
    let agent = SshAgent::Keys([key(Algorithm::Ed25519)].into());
    let served = tokio::spawn(async move { agent.answer(ours).await });
    step.write_all(&[0xff; 4]).await.unwrap();
    assert_eq!(
        served.await.unwrap().unwrap_err().kind(),
        io::ErrorKind::InvalidData
    );
}

#[tokio::test]
async fn an_agent_behind_is_asked_for_lists_and_signatures_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let behind = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while let Ok(request) = read_message(&mut stream).await {
            seen.push(request[0]);
            write_message(&mut stream, &[99]).await.unwrap();
        }
        seen
    });
    let (mut step, ours) = UnixStream::pair().unwrap();
    let agent = SshAgent::Socket(path);
    let served = tokio::spawn(async move { agent.answer(ours).await });
    for (kind, expected) in [
        (11, 99),
        (17, FAILURE),
        (13, 99),
        (27, FAILURE),
        (18, FAILURE),
    ] {
        write_message(&mut step, &[kind]).await.unwrap();
        assert_eq!(read_message(&mut step).await.unwrap(), [expected], "{kind}");
    }
    drop(step);
    drop(served.await);
    assert_eq!(behind.await.unwrap(), [11, 13]);
}
