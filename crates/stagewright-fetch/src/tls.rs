//! TLS: which certificates are trusted, and which are shown.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use thiserror::Error;

/// Where distributions keep the CA certificates that they trust, one file for all.
const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Which certificates are trusted, and which are shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsOptions {
    /// Files of CA certificates in PEM that take the place of the system's.
    pub bundles: Vec<PathBuf>,
    /// Folders as `/etc/docker/certs.d`: in each, a folder `host[:port]` with CA certificates as
    /// `*.crt`, and client certificates as `*.cert` beside their `*.key`.
    pub certs_dirs: Vec<PathBuf>,
}

/// Certificates cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A file is not PEM of what is expected.
    #[error("{path}: {reason}", path = path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The TLS library does not take what the files hold.
    #[error("the certificates for {host} cannot be used: {source}")]
    Config {
        /// The host.
        host: String,
        /// What the library says.
        source: rustls::Error,
    },
}

/// Reads the CA certificates that are trusted for every host.
pub(crate) fn read_roots(options: &TlsOptions) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if options.bundles.is_empty() {
        let system = SYSTEM_BUNDLES
            .iter()
            .map(Path::new)
            .find(|path| path.is_file());
        match system {
            Some(path) => add_roots(&mut roots, path)?,
            None => tracing::warn!(
                "no CA certificates on this machine: install ca-certificates, or no https works"
            ),
        }
    }
    for path in &options.bundles {
        add_roots(&mut roots, path)?;
    }
    Ok(roots)
}

fn add_roots(roots: &mut RootCertStore, path: &Path) -> Result<(), TlsError> {
    let certificates = read_certificates(path)?;
    // System bundles hold certificates that rustls finds fault with; the others still count.
    let (_, ignored) = roots.add_parsable_certificates(certificates);
    if ignored > 0 {
        tracing::debug!(
            "{ignored} certificates of {} cannot be used",
            path.display()
        );
    }
    Ok(())
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = fs::read(path)?;
    CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::Pem {
            path: path.to_owned(),
            reason: format!("not certificates in PEM: {error}"),
        })
}

/// Certificates and keys of one host.
type ClientCertificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Makes the TLS configuration for one host. Reads the host's folders of certs.d.
pub(crate) fn client_config(
    host: &str,
    insecure: bool,
    options: &TlsOptions,
    roots: &RootCertStore,
) -> Result<ClientConfig, TlsError> {
    let mut roots = roots.clone();
    let mut client = None;
    for folder in &options.certs_dirs {
        read_host_folder(&folder.join(host), &mut roots, &mut client)?;
    }
    let wrong = |source| TlsError::Config {
        host: host.to_owned(),
        source,
    };
    // Named here, so that the process-wide default of rustls is neither used nor set.
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(wrong)?;
    let builder = if insecure {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    } else {
        builder.with_root_certificates(roots)
    };
    match client {
        Some((certificates, key)) => builder
            .with_client_auth_cert(certificates, key)
            .map_err(wrong),
        None => Ok(builder.with_no_client_auth()),
    }
}

fn read_host_folder(
    folder: &Path,
    roots: &mut RootCertStore,
    client: &mut Option<ClientCertificate>,
) -> Result<(), TlsError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    for path in paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => add_roots(roots, &path)?,
            Some("cert") if client.is_none() => *client = Some(read_client(&path)?),
            _ => {}
        }
    }
    Ok(())
}

fn read_client(path: &Path) -> Result<ClientCertificate, TlsError> {
    let key_path = path.with_extension("key");
    let pem = fs::read(&key_path)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| TlsError::Pem {
        path: key_path,
        reason: format!("not a private key in PEM: {error}"),
    })?;
    Ok((read_certificates(path)?, key))
}

/// Takes any certificate, for registries that are marked as insecure.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
