//! A connection to an agent: TCP or forwarded, and TLS.

use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, HandshakeKind};
use rustls_pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::dial::Io;
use super::{AgentError, Agents, Target};
use crate::telemetry::Metrics;

/// How long connecting may take, and the handshake after it.
const CONNECT: Duration = Duration::from_secs(3);
const HANDSHAKE: Duration = Duration::from_secs(3);

/// Connects to `target`'s agent, known by the keys in `config`.
///
/// # Errors
/// If there is no connection in time, or the other end is no instance of the cluster.
pub(crate) async fn open(
    agents: &Agents,
    target: &Target,
    config: Arc<ClientConfig>,
) -> Result<TlsStream<Box<dyn Io>>, AgentError> {
    let io = within(CONNECT, agents.0.dialer.dial(target)).await?;
    let name = ServerName::try_from(target.host()).map_err(|error| AgentError::Dial(error.to_string()))?;
    let shaken = async { TlsConnector::from(config).connect(name, io).await.map_err(AgentError::Tls) };
    let stream = within(HANDSHAKE, shaken).await?;
    let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
    Metrics::count(&agents.0.metrics.handshakes, if resumed { "Resumed" } else { "Full" });
    Ok(stream)
}

async fn within<T>(
    bound: Duration,
    what: impl Future<Output = Result<T, AgentError>>,
) -> Result<T, AgentError> {
    timeout(bound, what).await.map_err(|_| AgentError::Silent(bound.as_secs()))?
}
