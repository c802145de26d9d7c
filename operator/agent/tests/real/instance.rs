//! One instance: its volume outlives its agents.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::Response;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use mainstay_proto::{
    Action, Answer, Directory, Endpoint, History, Order, PATH_ORDER, PATH_REPORT, PATH_WATCH, QUERY_FRESH,
    Report, Server, ServerState, TaskState, pod,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::cluster::{Cluster, NAMESPACE, free_port};
use crate::pki::Pair;

/// Nothing in these tests takes longer unless it never comes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

pub(crate) struct Instance<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) ordinal: u32,
    pub(crate) pod_uid: String,
    pub(crate) agent: Option<Child>,
    /// Flags besides the usual ones, or in their place.
    pub(crate) flags: Vec<(&'static str, String)>,
    /// Searched before the root's own directories, as the agent sees it.
    pub(crate) path: Option<String>,
    ports: [u16; 5],
}

impl<'a> Instance<'a> {
    pub(crate) fn new(cluster: &'a Cluster, ordinal: u32) -> Self {
        let ports = [free_port(), free_port(), free_port(), free_port(), free_port()];
        let pod_uid = uuid::Uuid::new_v4().to_string();
        Instance { cluster, ordinal, pod_uid, agent: None, flags: Vec::new(), path: None, ports }
    }

    pub(crate) fn volume(&self) -> PathBuf {
        self.cluster.directory.join(format!("volume-{}", self.ordinal))
    }

    pub(crate) fn run_directory(&self) -> PathBuf {
        self.cluster.directory.join(format!("run-{}", self.ordinal))
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.cluster.directory.join(format!("log-{}", self.ordinal))).unwrap()
    }

    /// MySQL's, the administrative, the agent's, the probes' and the donor's port.
    #[allow(dead_code)]
    pub(crate) fn ports(&self) -> [u16; 5] {
        self.ports
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint { host: pod::host(NAMESPACE, &self.cluster.name, self.ordinal), port: self.ports[0] }
    }

    /// Starts `prepare` or `serve`.
    pub(crate) fn start(&mut self, command: &str) {
        let c = self.cluster;
        let flag = |name: &'static str, value: String| {
            let other = self.flags.iter().find(|(other, _)| *other == name);
            format!("--{name}={}", other.map_or(value, |(_, value)| value.clone()))
        };
        let more = self.flags.iter().filter(|(name, _)| !matches!(*name, "tls"));
        let inside = |name: &str| c.inside(&c.directory.join(name));
        let log = File::options()
            .create(true)
            .append(true)
            .open(c.directory.join(format!("log-{}", self.ordinal)))
            .unwrap();
        let child = Command::new("chroot")
            .arg("--userspec=999:999")
            .arg(&c.root)
            .arg(inside("agent"))
            .arg(command)
            .args([
                flag("namespace", NAMESPACE.into()),
                flag("cluster", c.name.clone()),
                flag("cluster-id", c.id.clone()),
                flag("pod-name", format!("{}-{}", c.name, self.ordinal)),
                flag("pod-uid", self.pod_uid.clone()),
                flag("node", "here".into()),
                flag("server-id-base", "100".into()),
                flag("volume", c.inside(&self.volume())),
                flag("run", c.inside(&self.run_directory())),
                flag("config", inside("config")),
                flag("credentials", inside("credentials")),
                flag("tls", inside("tls")),
                flag("mysql-port", self.ports[0].to_string()),
                flag("admin-port", self.ports[1].to_string()),
                flag("agent-port", self.ports[2].to_string()),
                flag("probe-port", self.ports[3].to_string()),
                flag("donor-port", self.ports[4].to_string()),
                flag("mounts-seconds", "1".into()),
            ])
            .args(more.map(|(name, value)| format!("--{name}={value}")))
            .env_clear()
            .env("PATH", self.path.iter().map(|path| format!("{path}:")).collect::<String>() + PATH)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.agent = Some(child);
    }

    /// As a new pod on the same volume.
    pub(crate) fn new_pod(&mut self) {
        self.pod_uid = uuid::Uuid::new_v4().to_string();
    }

    /// Waits for the agent to end by itself.
    pub(crate) fn ended(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let child = self.agent.as_mut().unwrap();
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait().unwrap() {
                self.agent = None;
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the agent does not end:\n{}", self.log());
    }

    /// SIGTERM, and its end.
    pub(crate) fn stop(&mut self) {
        self.signal("TERM", self.agent.as_ref().unwrap().id());
        self.ended();
    }

    pub(crate) fn signal(&self, signal: &str, pid: u32) {
        assert!(Command::new("kill").args(["-s", signal, &pid.to_string()]).status().unwrap().success());
    }

    pub(crate) fn mysqld_pid(&self) -> u32 {
        std::fs::read_to_string(self.run_directory().join("mysqld.pid")).unwrap().trim().parse().unwrap()
    }

    /// A TLS connection to the agent.
    async fn connect(&self, who: &Pair) -> Result<TlsStream<TcpStream>, String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.cluster.pki.authority.as_bytes()).unwrap()).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(who.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(who.key.as_bytes()).unwrap();
        let config =
            ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(chain, key).unwrap();
        let stream = TcpStream::connect(("127.0.0.1", self.ports[2])).await.map_err(|e| e.to_string())?;
        let name = ServerName::try_from(self.endpoint().host).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|e| e.to_string())
    }

    /// The certificate that the agent shows.
    pub(crate) async fn certificate(&self) -> Vec<u8> {
        let stream = self.connect(&self.cluster.pki.operator).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }

    async fn request(&self, who: &Pair, path: &str, body: Option<String>) -> Result<Vec<u8>, String> {
        let body = send(self.connect(who).await?, path, body).await?.into_body();
        let body = body.collect().await.map_err(|e| e.to_string())?;
        Ok(body.to_bytes().to_vec())
    }

    /// What the agent says to a body that may not be an order.
    pub(crate) async fn post(&self, body: String) -> String {
        let answer = self.request(&self.cluster.pki.operator, PATH_ORDER, Some(body)).await;
        String::from_utf8(answer.unwrap()).unwrap()
    }

    /// The status of a probe.
    pub(crate) async fn probe(&self, path: &str) -> u16 {
        let stream = TcpStream::connect(("127.0.0.1", self.ports[3])).await.unwrap();
        send(stream, path, None).await.unwrap().status().as_u16()
    }

    /// The stream of reports.
    pub(crate) async fn watch(&self) -> Watch {
        let stream = self.connect(&self.cluster.pki.operator).await.unwrap();
        Watch { body: send(stream, PATH_WATCH, None).await.unwrap().into_body(), read: Vec::new() }
    }

    pub(crate) async fn try_report(&self, who: &Pair) -> Result<Report, String> {
        let body = self.request(who, PATH_REPORT, None).await?;
        serde_json::from_slice(&body).map_err(|e| e.to_string())
    }

    /// What the server says of itself when the agent is asked for what is so now.
    pub(crate) async fn fresh(&self) -> ServerState {
        let path = format!("{PATH_REPORT}?{QUERY_FRESH}");
        let body = self.request(&self.cluster.pki.operator, &path, None).await.unwrap();
        match serde_json::from_slice::<Report>(&body).unwrap().server {
            Server::Running { state } => *state,
            other => panic!("{other:?}"),
        }
    }

    /// The first report for which `wanted` holds.
    pub(crate) async fn report(&self, what: &str, wanted: impl Fn(&Report) -> bool) -> Report {
        let deadline = Instant::now() + PATIENCE;
        let mut last = Err("none".to_owned());
        while Instant::now() < deadline {
            last = self.try_report(&self.cluster.pki.operator).await;
            if let Ok(report) = &last
                && wanted(report)
            {
                return report.clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{what}: never seen; last {last:?}\n{}", self.log());
    }

    pub(crate) async fn state(&self, what: &str, wanted: impl Fn(&ServerState) -> bool) -> ServerState {
        let report =
            self.report(what, |report| matches!(&report.server, Server::Running { state } if wanted(state)));
        match report.await.server {
            Server::Running { state } => *state,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn make_order(&self, epoch: u64, revision: u64, action: Action) -> Order {
        Order {
            proto: mainstay_proto::VERSION,
            id: format!("{epoch}.{revision}-{}", action.kind()),
            cluster_id: self.cluster.id.clone(),
            pod_uid: self.pod_uid.clone(),
            ordinal: self.ordinal,
            epoch,
            revision,
            action,
            disabled_events: None,
        }
    }

    pub(crate) async fn send(&self, order: &Order) -> Answer {
        let body = serde_json::to_string(order).unwrap();
        let answer = self.request(&self.cluster.pki.operator, PATH_ORDER, Some(body)).await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    pub(crate) async fn order(&self, epoch: u64, revision: u64, action: Action) {
        assert_eq!(self.send(&self.make_order(epoch, revision, action)).await, Answer::Accepted);
    }

    /// Initialises, or clones from a donor, as `prepare` does; then serves.
    pub(crate) async fn provision(&mut self, revision: u64, donor: Option<&Instance<'_>>) {
        self.start("prepare");
        self.report("it is empty", |report| report.directory == Directory::Empty).await;
        let operation = format!("op-{}-{revision}", self.ordinal);
        let action = match donor {
            None => Action::Initialize { operation },
            Some(donor) => Action::Clone {
                operation,
                donor: donor.endpoint(),
                max_mib_per_second: None,
                history: History::default(),
            },
        };
        self.order(1, revision, action).await;
        assert!(self.ended(), "{}", self.log());
        self.start("serve");
        self.state("it serves", |_| true).await;
    }

    /// Initialised, and told to lead.
    pub(crate) async fn primary(&mut self, alone: bool) {
        self.provision(1, None).await;
        self.order(1, 2, Action::Lead { alone }).await;
        self.state("it leads", |state| !state.super_read_only).await;
    }

    pub(crate) async fn failure(&self, what: &str) -> String {
        let failed = |report: &Report| match report.task.as_ref().map(|task| task.state.clone()) {
            Some(TaskState::Failed { error }) => Some(error),
            _ => None,
        };
        let report = self.report(what, |report| failed(report).is_some()).await;
        failed(&report).unwrap()
    }

    /// Waits until `holds`.
    #[allow(dead_code)]
    pub(crate) async fn until<F: Future<Output = bool>>(&self, what: &str, holds: impl Fn() -> F) {
        let deadline = Instant::now() + PATIENCE;
        while !holds().await {
            assert!(Instant::now() < deadline, "{what}: never\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Sends a request over a connection of its own.
async fn send<S>(stream: S, path: &str, body: Option<String>) -> Result<Response<Incoming>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    tokio::spawn(connection);
    let request = hyper::Request::builder()
        .method(if body.is_some() { "POST" } else { "GET" })
        .uri(path)
        .header("host", "agent")
        .header("content-type", "application/json")
        .body(Full::new(bytes::Bytes::from(body.unwrap_or_default())))
        .unwrap();
    sender.send_request(request).await.map_err(|e| e.to_string())
}

/// A stream of reports.
pub(crate) struct Watch {
    body: Incoming,
    read: Vec<u8>,
}

impl Watch {
    /// The next report.
    pub(crate) async fn next(&mut self) -> Report {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return serde_json::from_slice(&line).unwrap();
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.unwrap().unwrap().unwrap();
            self.read.extend_from_slice(frame.data_ref().unwrap());
        }
    }
}

impl Drop for Instance<'_> {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            // mysqld goes first: it would outlive an agent that is killed.
            if let Ok(pid) = std::fs::read_to_string(self.run_directory().join("mysqld.pid")) {
                let _ = Command::new("kill").args(["-s", "KILL", pid.trim()]).stderr(Stdio::null()).status();
            }
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}
