//! The agent's HTTPS: its own certificate, and only the operator's on the other side.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use mainstay_proto::pod::OPERATOR_SAN;
use rustls::client::verify_server_name;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::mounts::{Certificates, certificates};

/// The mounted certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// It can't be read.
    #[error("can't read the certificate: {0}")]
    Read(#[from] std::io::Error),
    /// It is no PEM.
    #[error("the certificate or key is malformed: {0}")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// The parts do not fit.
    #[error("the certificate can't be used: {0}")]
    Rustls(#[from] rustls::Error),
    /// The authority can't be used.
    #[error("the authority can't be used: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// The server's side of TLS, made anew when the mounted files change.
pub(crate) struct Tls {
    directory: PathBuf,
    last: Mutex<Option<(Certificates, Arc<ServerConfig>)>>,
}

impl Tls {
    pub(crate) fn new(directory: &Path) -> Self {
        Tls { directory: directory.to_path_buf(), last: Mutex::new(None) }
    }

    /// What the mounted files say now.
    pub(crate) fn config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let now = certificates(&self.directory)?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((files, config)) = last.as_ref()
            && *files == now
        {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(server_config(&now)?);
        *last = Some((now, Arc::clone(&config)));
        Ok(config)
    }
}

fn server_config([authority, certificate, key]: &Certificates) -> Result<ServerConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(authority) {
        roots.add(root?)?;
    }
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build()?;
    let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(key)?;
    Ok(ServerConfig::builder().with_client_cert_verifier(verifier).with_single_cert(chain, key)?)
}

/// The peer's certificate, which the authority has signed, is the operator's: an instance's own gives no orders.
pub(crate) fn is_operator(certificate: Option<&CertificateDer<'_>>) -> bool {
    let Some(parsed) = certificate.and_then(|der| ParsedCertificate::try_from(der).ok()) else {
        return false;
    };
    ServerName::try_from(OPERATOR_SAN).is_ok_and(|name| verify_server_name(&parsed, &name).is_ok())
}
