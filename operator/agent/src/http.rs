//! The agent's servers: HTTPS for the operator, HTTP for the kubelet's probes.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use futures::stream;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use mainstay_proto::{
    Answer, Directory, GrantedRole, LAG_LIMIT_SECONDS, Order, PATH_ORDER, PATH_REPORT, PATH_WATCH,
    QUERY_FRESH, Refusal, Report, Server, heartbeat,
};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::crowd::accept;
use crate::executor::Executor;
use crate::report::{ReportPublisher, dated};

/// Longest order, in bytes.
const BODY: usize = 64 * 1024;
/// How long the operator's connection is kept between two requests: longer than the operator keeps it.
const KEPT: Duration = Duration::from_secs(600);
/// Longest time for a TLS handshake, and for the head of a request.
pub(crate) const HEAD: Duration = Duration::from_secs(10);
/// Longest time for a probe from its connection to its end: the kubelet waits no longer.
const PROBE: Duration = Duration::from_secs(5);

/// Listens on every address of the pod, of both families where the kernel has both.
pub(crate) async fn listen(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await,
    }
}

/// Serves the operator: reports and orders. Never returns.
pub(crate) async fn serve_operator(
    listener: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
    publisher: ReportPublisher,
    executor: Executor,
) -> Infallible {
    let router = Router::new()
        .route(PATH_WATCH, get(watch_reports))
        .with_state(publisher)
        .merge(
            Router::new().route(PATH_REPORT, get(report)).route(PATH_ORDER, post(order)).with_state(executor),
        )
        .layer(DefaultBodyLimit::max(BODY));
    accept(listener, move |stream, standing| {
        let acceptor = TlsAcceptor::from(tls.borrow().clone());
        let router = router.clone();
        async move {
            match timeout(HEAD, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    standing.trusted();
                    serve_for(KEPT, stream, router).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            }
        }
    })
    .await
}

/// Serves the kubelet's probes. Never returns.
pub(crate) async fn serve_probes(listener: TcpListener, publisher: ReportPublisher) -> Infallible {
    let router = Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .with_state(publisher);
    accept(listener, move |stream, _| probe(stream, router.clone())).await
}

/// Answers one probe and closes: the kubelet makes a connection for each.
async fn probe(stream: TcpStream, router: Router) {
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = timeout(PROBE, connection).await {
        tracing::debug!(%error, "a probe ended badly");
    }
}

/// Serves one connection.
pub(crate) async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    serve_for(HEAD, stream, router).await;
}

/// Serves one connection, which is closed when no request has come for so long.
async fn serve_for(
    idle: Duration,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
) {
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection ended badly");
    }
}

/// What is known; or, if that is asked for, what is so now.
async fn report(State(executor): State<Executor>, uri: Uri) -> Json<Report> {
    let fresh = uri.query().is_some_and(|query| query.split('&').any(|part| part == QUERY_FRESH));
    Json(if fresh { executor.look().await } else { executor.report() })
}

/// Reports without end, one JSON object a line: at once on a change that matters, else with every heartbeat.
async fn watch_reports(State(publisher): State<ReportPublisher>, uri: Uri) -> Response {
    let interval = heartbeat::agree(uri.query());
    let mut reports = publisher.watch();
    reports.mark_changed();
    let lines = stream::unfold(reports, move |mut reports| async move {
        // On either side of it, and also when it times out, there is a report to send.
        if let Ok(Err(_)) = timeout(interval, reports.changed()).await {
            return None;
        }
        let report = dated(&reports.borrow_and_update());
        let line = serde_json::to_vec(&report).map(|mut line| {
            line.push(b'\n');
            Bytes::from(line)
        });
        Some((line, reports))
    });
    let agreed = HeaderValue::from(u64::try_from(interval.as_millis()).unwrap_or(u64::MAX));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson")),
        (HeaderName::from_static(heartbeat::HEADER), agreed),
    ];
    (headers, Body::from_stream(lines)).into_response()
}

/// An order that can't be read is one that this agent does not know, if it is JSON at all: a newer operator's.
async fn order(State(executor): State<Executor>, body: Bytes) -> Response {
    match serde_json::from_slice::<Order>(&body) {
        Ok(order) => Json(executor.order(order).await).into_response(),
        Err(error) if serde_json::from_slice::<serde_json::Value>(&body).is_ok() => {
            Json(Answer::Refused { reason: Refusal::Unknown, message: error.to_string() }).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

async fn ready(State(publisher): State<ReportPublisher>) -> Response {
    match readiness(&publisher.report()) {
        Ok(()) => (StatusCode::OK, "ready\n").into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

/// Whether the instance is ready for its role. A primary's readiness does not depend on acknowledgements.
fn readiness(report: &Report) -> Result<(), &'static str> {
    let Directory::Complete { marker } = &report.directory else {
        return Err("the data directory is not complete");
    };
    let state = match &report.server {
        Server::Running { state } => state,
        Server::Stopped { .. } => return Err("the server does not run"),
        Server::Starting => return Err("the server is starting"),
        Server::Stopping => return Err("the server is stopping"),
        Server::Silent { .. } => return Err("the server does not answer"),
    };
    match marker.grant.as_ref().map(|grant| &grant.role) {
        None => Err("no role was ordered"),
        Some(GrantedRole::Primary { .. }) if state.super_read_only => Err("the primary is read-only"),
        Some(GrantedRole::Primary { .. }) => Ok(()),
        Some(GrantedRole::Replica { .. }) => match &state.channel {
            None => Err("the replica has no replication channel"),
            Some(channel) if !channel.applier_running => Err("the replica's applier does not run"),
            Some(channel) if channel.receiver_running => Ok(()),
            // A source that restarts takes nothing from what its replicas can be read for.
            Some(channel)
                if channel.receiver_connecting
                    && channel.lag_seconds.is_some_and(|lag| lag <= LAG_LIMIT_SECONDS) =>
            {
                Ok(())
            }
            Some(_) => Err("the replica's receiver is not connected"),
        },
    }
}

#[cfg(test)]
mod tests {
    use mainstay_proto::{Channel, Grant, Identity, Marker, ServerState, Stage, Term};

    use super::*;

    fn ready(role: Option<GrantedRole>, read_only: bool, threads: Option<(bool, bool)>) -> bool {
        let mut report = ReportPublisher::new(Identity::default(), Stage::Serve).report();
        let grant = role.map(|role| Grant { term: Term::default(), role });
        report.directory = Directory::Complete { marker: Marker { grant, ..Marker::default() } };
        let channel = threads.map(|(receiver_running, applier_running)| Channel {
            receiver_running,
            applier_running,
            ..Channel::default()
        });
        let state = ServerState { super_read_only: read_only, channel, ..ServerState::default() };
        report.server = Server::Running { state: Box::new(state) };
        readiness(&report).is_ok()
    }

    #[test]
    fn a_replica_that_lost_its_source_can_be_read_for_a_while() {
        let mut report = ReportPublisher::new(Identity::default(), Stage::Serve).report();
        let role = GrantedRole::Replica { source: mainstay_proto::Endpoint { host: "a".into(), port: 1 } };
        let grant = Some(Grant { term: Term::default(), role });
        report.directory = Directory::Complete { marker: Marker { grant, ..Marker::default() } };
        for (lag_seconds, expected) in
            [(None, false), (Some(0), true), (Some(LAG_LIMIT_SECONDS), true), (Some(31), false)]
        {
            let channel = Channel {
                receiver_connecting: true,
                applier_running: true,
                lag_seconds,
                ..Channel::default()
            };
            let state = ServerState { channel: Some(channel), ..ServerState::default() };
            report.server = Server::Running { state: Box::new(state) };
            assert_eq!(readiness(&report).is_ok(), expected, "{lag_seconds:?}");
        }
    }

    #[test]
    fn an_instance_is_ready_when_it_does_what_its_role_is_for() {
        let primary = || Some(GrantedRole::Primary { alone: false });
        let source = mainstay_proto::Endpoint { host: "a".into(), port: 1 };
        let replica = || Some(GrantedRole::Replica { source: source.clone() });
        assert!(ready(primary(), false, None));
        assert!(!ready(primary(), true, None));
        assert!(!ready(None, false, None));
        assert!(ready(replica(), true, Some((true, true))));
        assert!(!ready(replica(), true, Some((false, true))));
        assert!(!ready(replica(), true, Some((true, false))));
        assert!(!ready(replica(), true, None));
    }
}
