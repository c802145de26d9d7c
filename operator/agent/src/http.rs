//! HTTPS for the operator, HTTP for the kubelet's probes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use mainstay_proto::{
    Answer, GrantedRole, HEARTBEAT_SECONDS, Order, PATH_ORDER, PATH_REPORT, PATH_WATCH, Refusal, Report,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::hub::{Hub, running};
use crate::orders::{self, Situation, Verdict};
use crate::tls::{self, Tls};

const HANDSHAKE: Duration = Duration::from_secs(10);
const ORDER_LIMIT: usize = 64 << 10;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) hub: Arc<Hub>,
    /// The order to be carried out; a newer one replaces one that has not been begun.
    pub(crate) orders: watch::Sender<Option<Order>>,
}

/// Serves the operator until the process ends.
pub(crate) async fn serve_operator(listener: TcpListener, tls: Tls, desk: Desk) -> Infallible {
    let router = Router::new()
        .route(PATH_REPORT, get(report))
        .route(PATH_WATCH, get(watch_reports))
        .route(PATH_ORDER, post(order))
        .layer(DefaultBodyLimit::max(ORDER_LIMIT))
        .with_state(desk);
    let tls = Arc::new(tls);
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (tls, router) = (Arc::clone(&tls), router.clone());
        tokio::spawn(async move {
            if let Err(error) = connection(stream, &tls, router).await {
                tracing::debug!(%peer, error, "a connection ended");
            }
        });
    }
}

async fn connection(stream: TcpStream, tls: &Tls, router: Router) -> Result<(), String> {
    let config = tls.config().map_err(|error| error.to_string())?;
    let _ = stream.set_nodelay(true);
    let accepting = TlsAcceptor::from(config).accept(stream);
    let stream = tokio::time::timeout(HANDSHAKE, accepting)
        .await
        .map_err(|_| "no handshake in time".to_owned())?
        .map_err(|error| error.to_string())?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    if !tls::is_operator(certificate) {
        return Err("the client is not the operator".into());
    }
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await
        .map_err(|error| error.to_string())
}

async fn report(State(desk): State<Desk>) -> Json<Report> {
    Json(desk.hub.report())
}

/// One report a line: at once on every change, else with every heartbeat.
async fn watch_reports(State(desk): State<Desk>) -> Response {
    let mut changes = desk.hub.changes();
    changes.mark_changed();
    let lines = futures::stream::unfold((desk.hub, changes), |(hub, mut changes)| async move {
        let heartbeat = Duration::from_secs(HEARTBEAT_SECONDS);
        // The sender lives as long as the hub, so that the only other outcome is the heartbeat's.
        let _ = tokio::time::timeout(heartbeat, changes.changed()).await;
        changes.mark_unchanged();
        let mut line = serde_json::to_vec(&hub.report()).ok()?;
        line.push(b'\n');
        Some((Ok::<Bytes, Infallible>(line.into()), (hub, changes)))
    });
    ([("content-type", "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

async fn order(State(desk): State<Desk>, Json(order): Json<serde_json::Value>) -> Json<Answer> {
    let order: Order = match serde_json::from_value(order) {
        Ok(order) => order,
        Err(error) => {
            let message = format!("the order is not understood: {error}");
            return Json(Answer::Refused { reason: Refusal::Unknown, message });
        }
    };
    Json(take(&desk, order))
}

fn take(desk: &Desk, order: Order) -> Answer {
    let hub = &desk.hub;
    let now = hub.report();
    let verdict = orders::judge(
        &order,
        &Situation {
            identity: hub.identity(),
            stage: hub.stage(),
            highest: now.highest,
            directory: &now.directory,
            task: now.task.as_ref(),
        },
    );
    tracing::info!(
        kind = order.action.kind(),
        epoch = order.epoch,
        revision = order.revision,
        ?verdict,
        "an order"
    );
    if verdict == Verdict::Begin {
        if let Err(error) = hub.raise(orders::fence(&order)) {
            let message = format!("can't write the volume's marker: {error}");
            return Answer::Refused { reason: Refusal::WrongDirectory, message };
        }
        desk.orders.send_replace(Some(order));
    }
    verdict.answer()
}

/// Serves the kubelet until the process ends.
pub(crate) async fn serve_probes(listener: TcpListener, hub: Arc<Hub>) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .with_state(hub);
    axum::serve(listener, router).await
}

async fn ready(State(hub): State<Arc<Hub>>) -> (StatusCode, &'static str) {
    match unready(&hub) {
        None => (StatusCode::OK, "serves in its role\n"),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

/// Why it does not serve in its role. A primary's readiness does not depend on acknowledgements.
fn unready(hub: &Hub) -> Option<&'static str> {
    let server = hub.server();
    let Some(state) = running(&server) else { return Some("the server does not answer\n") };
    let marker = hub.marker();
    match marker.as_ref().and_then(|marker| marker.grant.as_ref()).map(|grant| &grant.role) {
        None => Some("it has no role yet\n"),
        Some(GrantedRole::Primary { .. }) if state.super_read_only => {
            Some("the primary waits to be confirmed\n")
        }
        Some(GrantedRole::Primary { .. }) => None,
        Some(GrantedRole::Replica { .. }) => match &state.channel {
            Some(channel) if channel.receiver_running && channel.applier_running => None,
            _ => Some("the replica does not replicate\n"),
        },
    }
}

/// Binds on all addresses of the pod.
pub(crate) async fn bind(port: u16) -> std::io::Result<TcpListener> {
    let any: SocketAddr = (std::net::Ipv6Addr::UNSPECIFIED, port).into();
    match TcpListener::bind(any).await {
        Ok(listener) => Ok(listener),
        // A node without IPv6.
        Err(_) => TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, port)).await,
    }
}
