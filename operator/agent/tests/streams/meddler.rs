//! A fault on one of the agents' own sides of TLS, after the donor has taken its digest and before the recipient does:
//! it has the cluster's certificate, and turns one bit of what passes.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::cluster::{Cluster, NAMESPACE};

pub(crate) struct Meddler {
    pub(crate) port: u16,
}

impl Meddler {
    /// In front of the donor at this port. The bit is the lowest of the last byte of the first `text` that comes after
    /// so many bytes.
    pub(crate) async fn new(cluster: &Cluster, to: u16, after: usize, text: &'static [u8]) -> Meddler {
        let pair = &cluster.pki.instance;
        let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(cluster.pki.authority.as_bytes()).unwrap()).unwrap();
        let server = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain.clone(), key.clone_key())
            .unwrap();
        let client =
            ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(chain, key).unwrap();
        let (acceptor, connector) =
            (TlsAcceptor::from(Arc::new(server)), TlsConnector::from(Arc::new(client)));
        let name = ServerName::try_from(mainstay_proto::pod::host(NAMESPACE, &cluster.name, 0)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (recipient, _) = listener.accept().await.unwrap();
            let recipient = acceptor.accept(recipient).await.unwrap();
            let donor = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
            let donor = connector.connect(name, donor).await.unwrap();
            let (mut asks, answers) = tokio::io::split(recipient);
            let (sends, mut hears) = tokio::io::split(donor);
            let up = tokio::spawn(async move { tokio::io::copy(&mut asks, &mut hears).await });
            // However it ends: the recipient is what is looked at.
            let _ = meddle(sends, answers, after, text).await;
            up.abort();
        });
        Meddler { port }
    }
}

async fn meddle(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    after: usize,
    text: &[u8],
) -> std::io::Result<()> {
    let (mut passed, mut held, mut done) = (0, Vec::new(), false);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        held.extend_from_slice(&buffer[..read]);
        if !done
            && passed + held.len() > after
            && let Some(at) = held.windows(text.len()).position(|window| window == text)
        {
            held[at + text.len() - 1] ^= 1;
            done = true;
        }
        // The text may go on in what comes next.
        let keep = if done || read == 0 { 0 } else { held.len().min(text.len() - 1) };
        let go: Vec<u8> = held.drain(..held.len() - keep).collect();
        to.write_all(&go).await?;
        passed += go.len();
        if read == 0 {
            return to.shutdown().await;
        }
    }
}
