//! Streams and orders over real TLS connections.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc::UnboundedReceiver;
use futures::{FutureExt, StreamExt};
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use mainstay_core::Agent;
use mainstay_proto::{PATH_WATCH, Report, pod};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio_rustls::TlsAcceptor;

use super::change::tests::report;
use super::target::tests::target;
use super::*;
use crate::secrets::tests::{Pair, authority, issued};
use crate::watch::ClusterRef;

/// A cluster's keys.
pub(super) struct Keys {
    ca: Pair,
    provider: Arc<rustls::crypto::CryptoProvider>,
}

impl Keys {
    pub(super) fn new() -> Self {
        Keys { ca: authority(), provider: Arc::new(rustls::crypto::ring::default_provider()) }
    }
    pub(super) fn client(&self) -> rustls::ClientConfig {
        let operator = issued(&self.ca, &[pod::OPERATOR_SAN]);
        trust::client_config(
            self.provider.clone(),
            self.ca.certificate.as_bytes(),
            operator.certificate.as_bytes(),
            operator.key.as_bytes(),
        )
        .unwrap()
    }
    /// An agent that asks for a client certificate of this cluster.
    pub(super) fn server(&self, names: &[&str]) -> ServerConfig {
        let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.ca.certificate)).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), self.provider.clone());
        let own = issued(&self.ca, names);
        ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                vec![certificate(&own.certificate)],
                PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap(),
            )
            .unwrap()
    }
}

type Lines = Arc<Mutex<mpsc::Receiver<String>>>;

/// Serves what is sent as the lines of a stream, to one connection after the other.
async fn serve(config: ServerConfig) -> (u16, mpsc::Sender<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (lines, from) = mpsc::channel(8);
    let from: Lines = Arc::new(Mutex::new(from));
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let (acceptor, from) = (acceptor.clone(), from.clone());
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(tcp).await else { return };
                let answer = service_fn(move |request| respond(request, from.clone()));
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(tls), answer)
                    .await;
            });
        }
    });
    (port, lines)
}

async fn respond(
    request: Request<Incoming>,
    lines: Lines,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    Ok(match request.uri().path() {
        PATH_WATCH => {
            // "" ends the stream.
            let frames = futures::stream::unfold(lines, |lines| async move {
                let line = lines.lock().await.recv().await.filter(|line| !line.is_empty())?;
                Some((Ok(Frame::data(Bytes::from(line))), lines))
            });
            Response::new(BodyExt::boxed(StreamBody::new(frames)))
        }
        other => panic!("nobody asks for {other}"),
    })
}

/// Follows the agent at `port` as the instance `shop-1` in `db`.
fn follow(keys: &Keys, port: u16) -> (Agents, Arc<Metrics>, UnboundedReceiver<ClusterRef>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let nowhere = kube::Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
    let (metrics, trust) = (Arc::new(Metrics::new()), Trust::new(nowhere));
    let target = target(Ipv4Addr::LOCALHOST.into());
    trust.know(&target.cluster, keys.client());
    let agents = Agents::new(Dialer::Direct { port }, trust, metrics.clone());
    let (to, calls) = futures::channel::mpsc::unbounded();
    agents.follow(target, Trigger::new(to));
    (agents, metrics, calls)
}

fn line(report: &Report) -> String {
    serde_json::to_string(report).unwrap() + "\n"
}

/// Waits until streams have ended for the reason `kind`.
async fn ended(metrics: &Metrics, kind: &str) {
    let told = format!("mainstay_agent_stream_ends_total{{kind=\"{kind}\"}}");
    while !metrics.text().unwrap().contains(&told) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn reports_are_heard_and_only_changes_call_for_a_look() {
    let keys = Keys::new();
    let (port, lines) = serve(keys.server(&["*.shop.db.svc"])).await;
    let (agents, _, mut calls) = follow(&keys, port);
    let first = report();
    lines.send(line(&first)).await.unwrap();
    calls.next().await.unwrap();
    assert_eq!(agents.heard("uid-1").live(), Some(&first));

    // A heartbeat in two pieces, then a change: it is the change that calls.
    let beat = Report { at: "2026-01-01T00:00:02Z".parse().unwrap(), ..first.clone() };
    let (mut head, changed) =
        (line(&beat), line(&Report { directory: mainstay_proto::Directory::Empty, ..beat.clone() }));
    let tail = head.split_off(30);
    for piece in [head, tail, "\n".into(), changed] {
        lines.send(piece).await.unwrap();
    }
    calls.next().await.unwrap();
    assert_eq!(agents.heard("uid-1").live().unwrap().directory, mainstay_proto::Directory::Empty);
    assert!(calls.next().now_or_never().is_none(), "a heartbeat called");

    lines.send(String::new()).await.unwrap();
    calls.next().await.unwrap();
    assert!(matches!(agents.heard("uid-1"), Agent::Broken { .. }));

    // It is tried again.
    lines.send(line(&first)).await.unwrap();
    calls.next().await.unwrap();
    assert_eq!(agents.heard("uid-1").live(), Some(&first));
    agents.leave("uid-1");
    assert_eq!(agents.heard("uid-1"), Agent::Unheard);
}

#[tokio::test]
async fn an_instance_of_another_cluster_is_not_heard() {
    let keys = Keys::new();
    let (port, lines) = serve(keys.server(&["*.other.db.svc"])).await;
    let (agents, metrics, _calls) = follow(&keys, port);
    lines.send(line(&report())).await.unwrap();
    ended(&metrics, "Tls").await;
    assert_eq!(agents.heard("uid-1"), Agent::Unheard);
}

#[tokio::test]
async fn who_has_a_certificate_of_another_authority_is_not_heard() {
    let (ours, theirs) = (Keys::new(), Keys::new());
    let (port, lines) = serve(theirs.server(&["*.shop.db.svc"])).await;
    let (agents, metrics, _calls) = follow(&ours, port);
    lines.send(line(&report())).await.unwrap();
    ended(&metrics, "Tls").await;
    assert_eq!(agents.heard("uid-1"), Agent::Unheard);
}

#[tokio::test]
async fn a_sibling_that_took_over_the_address_is_not_heard() {
    let keys = Keys::new();
    let (port, lines) = serve(keys.server(&["*.shop.db.svc"])).await;
    let (agents, metrics, _calls) = follow(&keys, port);
    let mut sibling = report();
    sibling.identity.pod_uid = "uid-2".into();
    lines.send(line(&sibling)).await.unwrap();
    ended(&metrics, "Stranger").await;
    assert_eq!(agents.heard("uid-1"), Agent::Unheard);
}
