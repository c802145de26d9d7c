//! How an agent is reached.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use k8s_openapi::api::core::v1::Pod;
use kube::api::Portforwarder;
use kube::{Api, Client};
use mainstay_proto::pod::ports;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;

use super::{AgentError, Target};
use crate::settings::Dial;

/// A connection in both directions.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// How agents are reached.
#[derive(Clone)]
pub(crate) enum Dialer {
    /// By the pod's address and this port.
    Direct {
        /// The agents' port.
        port: u16,
    },
    /// Through the API server, from outside of the pods' network.
    Forward(Client),
    /// In memory.
    #[cfg(test)]
    Memory(crate::testing::Net),
}

impl Dialer {
    /// The dialer that was asked for.
    pub(crate) fn new(dial: Dial, client: Client) -> Self {
        let direct = match dial {
            Dial::Direct => true,
            Dial::Forward => false,
            Dial::Auto => kube::Config::incluster().is_ok(),
        };
        if direct { Dialer::Direct { port: ports::AGENT } } else { Dialer::Forward(client) }
    }

    /// Connects to `target`'s agent.
    ///
    /// # Errors
    /// [`AgentError::Dial`].
    pub(crate) async fn dial(&self, target: &Target) -> Result<Box<dyn Io>, AgentError> {
        match self {
            Dialer::Direct { port } => {
                let stream = TcpStream::connect((target.ip, *port)).await.map_err(dial_error)?;
                stream.set_nodelay(true).map_err(dial_error)?;
                Ok(Box::new(stream))
            }
            Dialer::Forward(client) => forward(client, target).await,
            #[cfg(test)]
            Dialer::Memory(net) => Ok(Box::new(net.dial(target.ip).map_err(dial_error)?)),
        }
    }
}

fn dial_error(error: impl std::fmt::Display) -> AgentError {
    AgentError::Dial(error.to_string())
}

async fn forward(client: &Client, target: &Target) -> Result<Box<dyn Io>, AgentError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &target.cluster.namespace);
    let mut forwarder = pods.portforward(&target.pod, &[ports::AGENT]).await.map_err(dial_error)?;
    let stream = forwarder.take_stream(ports::AGENT).ok_or_else(|| dial_error("no stream was forwarded"))?;
    Ok(Box::new(Forwarded { stream, forwarder }))
}

/// A forwarded connection, which ends when it is dropped.
struct Forwarded {
    stream: DuplexStream,
    forwarder: Portforwarder,
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        self.forwarder.abort();
    }
}

impl AsyncRead for Forwarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Forwarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
