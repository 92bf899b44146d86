//! The ssh agents that steps reach by `RUN --mount=type=ssh`: an agent of the host, of which a step
//! may list the keys and have data signed and nothing else, or keys from files.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::AssociatedOid;
use rsa::sha2::Digest;
use rsa::signature::{RandomizedSigner as _, SignatureEncoding as _, Signer as _};
use rsa::{BigUint, RsaPrivateKey};
use ssh_key::private::{KeypairData, RsaKeypair};
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, HashAlg, Mpint, PrivateKey, Signature};
use stagewright_store::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};

use crate::error::StepError;

// Messages of the agent protocol (draft-ietf-sshm-ssh-agent, "Message numbers").
const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
/// Flags of a sign request: which hash an RSA key signs with.
const RSA_SHA2_256: u32 = 2;
const RSA_SHA2_512: u32 = 4;
/// OpenSSH's limit for a message.
const MESSAGE_BYTES: u32 = 256 << 10;
/// A file of a key is not longer, as in BuildKit.
const KEY_FILE_BYTES: u64 = 100 << 10;

/// An agent that steps may reach.
#[derive(Clone)]
pub enum SshAgent {
    /// An agent that listens on a socket of the host.
    Socket(PathBuf),
    /// Keys that are served from memory.
    Keys(Arc<[PrivateKey]>),
}

impl fmt::Debug for SshAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => f.debug_tuple("Socket").field(path).finish(),
            Self::Keys(keys) => write!(f, "Keys({})", keys.len()),
        }
    }
}

impl SshAgent {
    /// Opens the socket of an agent, or reads the files of keys.
    ///
    /// # Errors
    /// [`StepError::SshAgent`] when there is no path, a path does not exist, a file holds no key
    /// that can be used, or a socket comes with anything else.
    pub fn open(paths: &[PathBuf]) -> Result<Self, StepError> {
        if paths.is_empty() {
            return Err(fail("there is neither a socket nor a key"));
        }
        let mut keys = Vec::new();
        for path in paths {
            let about = fs::metadata(path).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => fail(format!("{} does not exist", path.display())),
                _ => fail(error.to_string()),
            })?;
            if !about.file_type().is_socket() {
                keys.push(read_key(path, &about)?);
            } else if let [socket] = paths {
                return Ok(Self::Socket(socket.clone()));
            } else {
                let path = path.display();
                return Err(fail(format!(
                    "{path} is a socket: an agent is one socket, or files of keys"
                )));
            }
        }
        Ok(Self::Keys(keys.into()))
    }

    /// Answers whoever connects to a new socket in a folder, until what is returned is dropped.
    pub(crate) fn serve(&self, folder: TempDir, runtime: &Handle) -> io::Result<Served> {
        let path = folder.path().join("agent");
        // The address of a socket is short, the path of a store need not be.
        let directory = fs::File::open(folder.path())?;
        let address = format!("/proc/self/fd/{}/agent", directory.as_raw_fd());
        let _entered = runtime.enter();
        let listener = UnixListener::bind(address)?;
        let task = runtime.spawn(accept(self.clone(), listener));
        Ok(Served {
            path,
            task,
            _folder: folder,
        })
    }

    async fn answer(&self, mut step: UnixStream) -> io::Result<()> {
        let mut agent = match self {
            Self::Socket(path) => Some(UnixStream::connect(path).await?),
            Self::Keys(_) => None,
        };
        loop {
            let request = read_message(&mut step).await?;
            let kind = request.first().copied();
            let answer = match (self, &mut agent, kind) {
                (_, Some(agent), Some(REQUEST_IDENTITIES | SIGN_REQUEST)) => {
                    write_message(agent, &request).await?;
                    read_message(agent).await?
                }
                (Self::Keys(keys), _, Some(REQUEST_IDENTITIES)) => identities(keys),
                (Self::Keys(keys), _, Some(SIGN_REQUEST)) => sign(keys, &request[1..]),
                // Steps neither add nor remove keys, nor lock the agent.
                _ => vec![FAILURE],
            };
            write_message(&mut step, &answer).await?;
        }
    }
}

/// An agent that answers steps.
#[derive(Debug)]
pub(crate) struct Served {
    path: PathBuf,
    task: JoinHandle<()>,
    _folder: TempDir,
}

impl Served {
    /// Returns the path of its socket.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(agent: SshAgent, listener: UnixListener) {
    // Ends them all when it is dropped.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let agent = agent.clone();
                    connections.spawn(async move { agent.answer(stream).await });
                }
                // No descriptor is free: one may be soon.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            },
            // A connection ends as the step, or the agent behind it, hangs up.
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn read_message(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u32().await?;
    if length > MESSAGE_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length as usize];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_message(stream: &mut UnixStream, message: &[u8]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(message.len() + 4);
    put(&mut bytes, message);
    stream.write_all(&bytes).await
}

/// Appends a string of the protocol: its length, its bytes.
fn put(to: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    to.extend_from_slice(&length.to_be_bytes());
    to.extend_from_slice(bytes);
}

/// Takes a string of the protocol.
fn take<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = from.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (taken, rest) = rest.split_at_checked(length)?;
    *from = rest;
    Some(taken)
}

fn identities(keys: &[PrivateKey]) -> Vec<u8> {
    let mut listed = Vec::new();
    let mut count: u32 = 0;
    for key in keys {
        if let Ok(public) = key.public_key().to_bytes() {
            put(&mut listed, &public);
            put(&mut listed, key.comment().as_bytes());
            count += 1;
        }
    }
    let mut answer = vec![IDENTITIES_ANSWER];
    answer.extend_from_slice(&count.to_be_bytes());
    answer.extend_from_slice(&listed);
    answer
}

fn sign(keys: &[PrivateKey], request: &[u8]) -> Vec<u8> {
    match signature(keys, request) {
        Some(signature) => {
            let mut answer = vec![SIGN_RESPONSE];
            put(&mut answer, &signature);
            answer
        }
        None => vec![FAILURE],
    }
}

fn signature(keys: &[PrivateKey], mut request: &[u8]) -> Option<Vec<u8>> {
    let public = take(&mut request)?;
    let data = take(&mut request)?;
    let flags = u32::from_be_bytes(*request.first_chunk()?);
    let key = keys
        .iter()
        .find(|key| key.public_key().to_bytes().is_ok_and(|it| it == public))?;
    let signature = match key.key_data() {
        KeypairData::Rsa(pair) => rsa_signature(pair, data, flags)?,
        _ => key.try_sign(data).ok()?,
    };
    Vec::try_from(signature).ok()
}

/// Signs with SHA-256 or SHA-512: servers no longer take SHA-1.
fn rsa_signature(pair: &RsaKeypair, data: &[u8], flags: u32) -> Option<Signature> {
    use rsa::sha2::{Sha256, Sha512};
    let key = rsa_key(pair)?;
    let (hash, signed) = if flags & RSA_SHA2_512 != 0 {
        (HashAlg::Sha512, sign_rsa::<Sha512>(key, data)?)
    } else if flags & RSA_SHA2_256 != 0 {
        (HashAlg::Sha256, sign_rsa::<Sha256>(key, data)?)
    } else {
        return None;
    };
    Signature::new(Algorithm::Rsa { hash: Some(hash) }, signed).ok()
}

fn sign_rsa<D: Digest + AssociatedOid>(key: RsaPrivateKey, data: &[u8]) -> Option<Vec<u8>> {
    let key = SigningKey::<D>::new(key);
    // Blinded, so that its time says nothing of the key.
    let signature = key.try_sign_with_rng(&mut OsRng, data).ok()?;
    Some(signature.to_vec())
}

fn rsa_key(pair: &RsaKeypair) -> Option<RsaPrivateKey> {
    let number = |number: &Mpint| Some(BigUint::from_bytes_be(number.as_positive_bytes()?));
    let (public, private) = (&pair.public, &pair.private);
    let primes = vec![number(&private.p)?, number(&private.q)?];
    let (n, e, d) = (number(&public.n)?, number(&public.e)?, number(&private.d)?);
    RsaPrivateKey::from_components(n, e, d, primes).ok()
}

fn read_key(path: &Path, about: &std::fs::Metadata) -> Result<PrivateKey, StepError> {
    let shown = path.display();
    if !about.is_file() || about.len() > KEY_FILE_BYTES {
        return Err(fail(format!("{shown} is neither a socket nor a key")));
    }
    let text = fs::read(path).map_err(|error| fail(error.to_string()))?;
    let key = PrivateKey::from_openssh(&text).map_err(|error| {
        fail(format!(
            "{shown} holds no private key in OpenSSH's format ({error}); `ssh-keygen -p -f {shown}` rewrites one in another format"
        ))
    })?;
    if key.is_encrypted() {
        return Err(fail(format!(
            "the key {shown} has a passphrase: add it to an agent with `ssh-add {shown}` and give the agent's socket"
        )));
    }
    match key.key_data() {
        KeypairData::Rsa(pair) if rsa_key(pair).is_none() => {
            Err(fail(format!("the key {shown} is no valid RSA key")))
        }
        KeypairData::Ed25519(_) | KeypairData::Rsa(_) | KeypairData::Ecdsa(_) => Ok(key),
        _ => Err(fail(format!(
            "the key {shown} is of the kind {}, which only an agent can serve: give an agent's socket",
            key.algorithm()
        ))),
    }
}

fn fail(message: impl Into<String>) -> StepError {
    StepError::SshAgent(message.into())
}

#[cfg(test)]
mod tests;
