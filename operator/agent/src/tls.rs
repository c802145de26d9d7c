//! TLS for the agent's HTTPS ports: the cluster's own authority, and only who is meant to may speak.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    ServerConfig, SignatureScheme,
};

use mainstay_proto::pod::OPERATOR_SAN;

/// Why the mounted certificates are of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file can't be read or is not what it should be.
    #[error("{file} of the certificates: {source}")]
    Pem {
        /// Key in the Secret.
        file: &'static str,
        /// The error.
        source: rustls::pki_types::pem::Error,
    },
    /// They don't fit together.
    #[error("the certificates can't be used: {0}")]
    Unfit(String),
}

/// The server's configuration from the mounted Secret: only the operator may speak.
pub(crate) fn server_config(directory: &Path) -> Result<ServerConfig, TlsError> {
    server_config_for(directory, OPERATOR_SAN)
}

/// The server's configuration from the mounted Secret: only who has a certificate for `name` may speak.
pub(crate) fn server_config_for(directory: &Path, name: &str) -> Result<ServerConfig, TlsError> {
    let (chain, key, roots) = mounted(directory)?;
    let inner = WebPkiClientVerifier::builder(Arc::new(roots))
        .build()
        .map_err(|error| TlsError::Unfit(error.to_string()))?;
    let name = ServerName::try_from(name.to_owned()).map_err(|error| TlsError::Unfit(error.to_string()))?;
    ServerConfig::builder()
        .with_client_cert_verifier(Arc::new(OnlyNamed { inner, name }))
        .with_single_cert(chain, key)
        .map_err(|error| TlsError::Unfit(error.to_string()))
}

/// The client's configuration from the mounted Secret, to speak to another instance of the cluster.
pub(crate) fn client_config(directory: &Path) -> Result<ClientConfig, TlsError> {
    let (chain, key, roots) = mounted(directory)?;
    ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|error| TlsError::Unfit(error.to_string()))
}

type Mounted = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, RootCertStore);

/// The instance's certificates and key, and the cluster's authority.
fn mounted(directory: &Path) -> Result<Mounted, TlsError> {
    let pem = |source| TlsError::Pem { file: "tls.key", source };
    let chain = certificates(directory, "tls.crt")?;
    let key = PrivateKeyDer::from_pem_file(directory.join("tls.key")).map_err(pem)?;
    let mut roots = RootCertStore::empty();
    for authority in certificates(directory, "ca.crt")? {
        roots.add(authority).map_err(|error| TlsError::Unfit(error.to_string()))?;
    }
    Ok((chain, key, roots))
}

fn certificates(directory: &Path, file: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = |source| TlsError::Pem { file, source };
    CertificateDer::pem_file_iter(directory.join(file)).map_err(pem)?.collect::<Result<_, _>>().map_err(pem)
}

/// Lets in who has a certificate of the cluster's authority *for this name*: operator and instances have
/// certificates of the same authority; only the operator may give orders, and only instances may have the data.
#[derive(Debug)]
struct OnlyNamed {
    inner: Arc<dyn ClientCertVerifier>,
    name: ServerName<'static>,
}

impl ClientCertVerifier for OnlyNamed {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, &self.name)
            .map_err(|_| Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
