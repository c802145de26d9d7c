//! A connection to an agent: TCP or forwarded, TLS, HTTP.

use std::future::Future;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::{AgentError, Agents, Target};

/// Bytes that a connection buffers at most before a reader takes them; the least that hyper accepts.
const BUFFER: usize = 8192;

/// Connects to `target`'s agent, and returns the sender of requests and what moves the bytes, which must be polled
/// while requests are sent and answers read.
///
/// # Errors
/// If there are no keys, no connection, or the other end is no instance of the cluster.
pub(crate) async fn open(
    agents: &Agents,
    target: &Target,
) -> Result<(SendRequest<Full<Bytes>>, impl Future<Output = Result<(), hyper::Error>> + use<>), AgentError> {
    let config = agents.0.trust.config(&target.cluster).await?;
    let io = agents.0.dialer.dial(target).await?;
    let name = ServerName::try_from(target.host()).map_err(|error| AgentError::Dial(error.to_string()))?;
    let tls = TlsConnector::from(config).connect(name, io).await.map_err(AgentError::Tls)?;
    Ok(http1::Builder::new().max_buf_size(BUFFER).handshake(TokioIo::new(tls)).await?)
}
