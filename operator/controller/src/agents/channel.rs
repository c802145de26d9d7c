//! A connection to an agent: TCP or forwarded, and TLS.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::dial::Io;
use super::{AgentError, Agents, Target};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Connects to `target`'s agent.
///
/// # Errors
/// If there are no keys, no connection, or the other end is no instance of the cluster.
pub(crate) async fn open(agents: &Agents, target: &Target) -> Result<TlsStream<Box<dyn Io>>, AgentError> {
    let config = agents.0.trust.config(&target.cluster).await?;
    let connected = timeout(CONNECT, connect(agents, target, config)).await;
    connected.map_err(|_| AgentError::Silent(CONNECT.as_secs()))?
}

async fn connect(
    agents: &Agents,
    target: &Target,
    config: Arc<ClientConfig>,
) -> Result<TlsStream<Box<dyn Io>>, AgentError> {
    let io = agents.0.dialer.dial(target).await?;
    let name = ServerName::try_from(target.host()).map_err(|error| AgentError::Dial(error.to_string()))?;
    TlsConnector::from(config).connect(name, io).await.map_err(AgentError::Tls)
}
