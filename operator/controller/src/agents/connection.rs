//! A kept connection by which an agent is asked one thing after the other.

use std::future::pending;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use mainstay_proto::{Answer, Order, PATH_ORDER, PATH_REPORT, QUERY_FRESH, Report};
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::dial::Io;
use super::{AgentError, Agents, Target, channel};

/// The longest answer to an order, and the longest report: GTID sets of very old clusters have hundreds of kilobytes.
const ANSWER: usize = 64 << 10;
const REPORT: usize = 8 << 20;

type Driver = http1::Connection<TokioIo<TlsStream<Box<dyn Io>>>, Full<Bytes>>;

/// A connection with TLS and HTTP/1.1.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once the connection is closed.
    driver: Option<Pin<Box<Driver>>>,
    host: String,
}

impl Connection {
    /// Connects to `target`'s agent; to one that was connected to before, without looking at its certificate again.
    ///
    /// # Errors
    /// If there are no keys, no connection, or the other end is no instance of the cluster.
    pub(super) async fn open(agents: &Agents, target: &Target) -> Result<Self, AgentError> {
        let keys = agents.0.trust.keys(&target.cluster).await?;
        let stream = channel::open(agents, target, keys.resuming()).await?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Connection { sender, driver: Some(Box::pin(driver)), host: target.host() })
    }

    /// Gives an order, which is to be answered within `bound`.
    ///
    /// # Errors
    /// If the connection breaks, or the answer is none or comes too late. The connection is of no more use then.
    pub(super) async fn order(&mut self, order: &Order, bound: Duration) -> Result<Answer, AgentError> {
        let request = Request::post(PATH_ORDER)
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(serde_json::to_vec(order)?)))
            .map_err(|error| AgentError::Dial(error.to_string()))?;
        self.ask(request, ANSWER, bound).await
    }

    /// Asks for a report of what is so now, which is to be answered within `bound`.
    ///
    /// # Errors
    /// As of [`Connection::order`].
    pub(super) async fn report(&mut self, bound: Duration) -> Result<Report, AgentError> {
        let request = Request::get(format!("{PATH_REPORT}?{QUERY_FRESH}"))
            .header(HOST, &self.host)
            .body(Full::default())
            .map_err(|error| AgentError::Dial(error.to_string()))?;
        self.ask(request, REPORT, bound).await
    }

    async fn ask<T: DeserializeOwned>(
        &mut self,
        request: Request<Full<Bytes>>,
        longest: usize,
        bound: Duration,
    ) -> Result<T, AgentError> {
        let answered = timeout(bound, self.exchange(request, longest)).await;
        let body = answered.map_err(|_| AgentError::Silent(bound.as_secs()))??;
        Ok(serde_json::from_slice(&body)?)
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>, longest: usize) -> Result<Bytes, AgentError> {
        let Connection { sender, driver, .. } = self;
        let exchange = async {
            sender.ready().await?;
            let response = sender.send_request(request).await?;
            if !response.status().is_success() {
                return Err(AgentError::Status(response.status().as_u16()));
            }
            let body = Limited::new(response.into_body(), longest).collect().await;
            Ok(body.map_err(|_| AgentError::TooLong(longest))?.to_bytes())
        };
        tokio::pin!(exchange);
        tokio::select! {
            biased;
            answer = &mut exchange => answer,
            // The other end may close as soon as it has answered: what was read by then still counts.
            () = ended(driver) => exchange.await,
        }
    }

    /// Comes back when the other end has closed it.
    pub(super) async fn closed(&mut self) {
        ended(&mut self.driver).await;
    }

    /// Whether it can be used again.
    pub(super) fn is_open(&self) -> bool {
        self.driver.is_some() && !self.sender.is_closed()
    }
}

/// Moves the connection's bytes until it ends, well or badly: who waits for an answer is told which.
async fn ended(driver: &mut Option<Pin<Box<Driver>>>) {
    match driver {
        Some(open) => {
            let _ = open.await;
            *driver = None;
        }
        None => pending().await,
    }
}
