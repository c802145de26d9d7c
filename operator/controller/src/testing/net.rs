//! The pods' network in memory, and agents on it that say and do what a test asks. All that is between them and the
//! operator is real: TLS, HTTP, the messages.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use mainstay_proto::{
    Answer, Order, PATH_ORDER, PATH_REPORT, PATH_WATCH, QUERY_FRESH, Report, Server, heartbeat,
};
use rustls::ServerConfig;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::obedient;

/// Who listens where.
#[derive(Clone, Default)]
pub(crate) struct Net(Arc<Mutex<HashMap<IpAddr, mpsc::UnboundedSender<DuplexStream>>>>);

impl Net {
    /// Connects to whoever listens at `ip`.
    pub(crate) fn dial(&self, ip: IpAddr) -> io::Result<DuplexStream> {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let hosts = self.0.lock().unwrap();
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        hosts.get(&ip).ok_or_else(refused)?.send(theirs).map_err(|_| refused())?;
        Ok(ours)
    }

    fn listen(&self, ip: IpAddr) -> mpsc::UnboundedReceiver<DuplexStream> {
        let (to, from) = mpsc::unbounded_channel();
        self.0.lock().unwrap().insert(ip, to);
        from
    }

    /// Has somebody listen at `ip` who accepts connections and is mute, as long as what is returned is kept.
    pub(crate) fn mute(&self, ip: IpAddr) -> impl Sized + use<> {
        self.listen(ip)
    }

    /// Has an agent listen at `ip`.
    pub(crate) fn host(&self, ip: IpAddr, keys: ServerConfig, report: Report) -> FakeAgent {
        let agent = FakeAgent(Arc::new(Inner {
            report: watch::Sender::new(report),
            orders: Mutex::default(),
            manner: Mutex::new(Manner::Obeys),
            looks: Mutex::default(),
        }));
        let (mut calls, acceptor) = (self.listen(ip), TlsAcceptor::from(Arc::new(keys)));
        let host = agent.clone();
        tokio::spawn(async move {
            while let Some(stream) = calls.recv().await {
                let (agent, acceptor) = (host.clone(), acceptor.clone());
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(stream).await else { return };
                    let answer = service_fn(|request| agent.clone().respond(request));
                    let serving = hyper::server::conn::http1::Builder::new();
                    let _ = serving.serve_connection(TokioIo::new(tls), answer).await;
                });
            }
        });
        agent
    }
}

/// What an agent does with orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It takes them, and carries them out at once.
    Obeys,
    /// It takes them.
    Accepts,
    /// It says so.
    Answers(Answer),
    /// It reads them and never answers.
    Hangs,
    /// It takes one, and closes the connection.
    Closes,
}

/// An agent.
#[derive(Clone)]
pub(crate) struct FakeAgent(Arc<Inner>);

struct Inner {
    report: watch::Sender<Report>,
    orders: Mutex<Vec<Order>>,
    manner: Mutex<Manner>,
    looks: Mutex<u32>,
}

impl FakeAgent {
    /// Changes its report, and says so to who listens.
    pub(crate) fn says(&self, change: impl FnOnce(&mut Report)) {
        self.0.report.send_modify(change);
    }

    /// Its server has executed these transactions, and nobody is told before the next report.
    pub(crate) fn moves(&self, gtid_executed: &str) {
        self.0.report.send_if_modified(|report| {
            if let Server::Running { state } = &mut report.server {
                state.gtid_executed = gtid_executed.into();
            }
            false
        });
    }

    /// How often it was asked for a report.
    pub(crate) fn looks(&self) -> u32 {
        *self.0.looks.lock().unwrap()
    }

    /// What it says.
    pub(crate) fn report(&self) -> Report {
        self.0.report.borrow().clone()
    }

    /// From now on it does this with orders.
    pub(crate) fn will(&self, manner: Manner) {
        *self.0.manner.lock().unwrap() = manner;
    }

    /// The orders that have reached it.
    pub(crate) fn orders(&self) -> Vec<Order> {
        self.0.orders.lock().unwrap().clone()
    }

    async fn respond(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
        match request.uri().path() {
            PATH_WATCH => Ok(Response::new(BodyExt::boxed(StreamBody::new(self.lines())))),
            PATH_ORDER => Ok(self.take(request).await),
            PATH_REPORT if request.uri().query() == Some(QUERY_FRESH) => Ok(self.look()),
            other => panic!("nobody asks for {other}"),
        }
    }

    fn lines(&self) -> impl futures::Stream<Item = Result<Frame<Bytes>, Infallible>> + use<> {
        let mut reports = self.0.report.subscribe();
        reports.mark_changed();
        futures::stream::unfold(reports, |mut reports| async move {
            // Over is as good as changed.
            let _ = timeout(heartbeat::DEFAULT, reports.changed()).await;
            let line = serde_json::to_string(&*reports.borrow_and_update()).unwrap() + "\n";
            Some((Ok(Frame::data(Bytes::from(line))), reports))
        })
    }

    fn look(&self) -> Response<BoxBody<Bytes, Infallible>> {
        *self.0.looks.lock().unwrap() += 1;
        let report = Report { at: jiff::Timestamp::now(), ..self.report() };
        Response::new(Full::from(serde_json::to_vec(&report).unwrap()).boxed())
    }

    async fn take(&self, request: Request<Incoming>) -> Response<BoxBody<Bytes, Infallible>> {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let order: Order = serde_json::from_slice(&body).unwrap();
        self.0.orders.lock().unwrap().push(order.clone());
        let manner = self.0.manner.lock().unwrap().clone();
        let (answer, closes) = match manner {
            Manner::Hangs => return std::future::pending().await,
            Manner::Obeys => {
                self.says(|report| obedient::obey(report, &order));
                (Answer::Accepted, false)
            }
            Manner::Accepts => (Answer::Accepted, false),
            Manner::Closes => (Answer::Accepted, true),
            Manner::Answers(answer) => (answer, false),
        };
        let mut response = Response::new(Full::from(serde_json::to_vec(&answer).unwrap()).boxed());
        if closes {
            response.headers_mut().insert(hyper::header::CONNECTION, "close".parse().unwrap());
        }
        response
    }
}
