//! Orders to agents.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mainstay_proto::{Answer, Order, PATH_ORDER};
use tokio::time::timeout;

use super::{AgentError, Agents, Target, channel};

/// How long an agent may take to answer an order. It only takes it; the work shows in reports.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer.
const LONGEST: usize = 64 << 10;

impl Agents {
    /// Sends `order` to the agent of the pod with its UID.
    ///
    /// # Errors
    /// If the pod is not known, its agent can't be reached, or does not answer in time.
    pub(crate) async fn order(&self, order: &Order) -> Result<Answer, AgentError> {
        let target = self.followed().get(&order.pod_uid).map(|followed| followed.target.clone());
        let target = target.ok_or_else(|| AgentError::Dial("the pod has no address".into()))?;
        let answer = timeout(PATIENCE, send(self, &target, order)).await;
        answer.map_err(|_| AgentError::Silent(PATIENCE.as_secs()))?
    }
}

async fn send(agents: &Agents, target: &Target, order: &Order) -> Result<Answer, AgentError> {
    let stream = channel::open(agents, target).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::post(PATH_ORDER)
        .header(hyper::header::HOST, target.host())
        .header(hyper::header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(serde_json::to_vec(order)?)))
        .map_err(|error| AgentError::Dial(error.to_string()))?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        if !response.status().is_success() {
            return Err(AgentError::Status(response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        Ok(serde_json::from_slice(&body.map_err(|_| AgentError::TooLong(LONGEST))?.to_bytes())?)
    };
    tokio::pin!(connection, exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // The other end may close as soon as it has answered: what was read by then still counts.
        _ = &mut connection => exchange.await,
    }
}
