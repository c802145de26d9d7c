//! Connections to MySQL: through the API server's port-forward to one pod, as root, with TLS.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::Api;
use mainstay_proto::pod::{credentials, ports};
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, OptsBuilder, SslOpts};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Bound on connecting and on each statement but those that say otherwise.
const STATEMENT: Duration = Duration::from_secs(60);

/// A local port whose connections end in a pod.
#[derive(Debug)]
pub struct Forward {
    port: u16,
    task: JoinHandle<()>,
}

impl Forward {
    /// Listens on a local port; each connection to it is forwarded to `port` of the pod.
    ///
    /// # Errors
    /// If no local port can be had. A pod that can't be reached shows as a connection that is closed.
    pub async fn open(pods: Api<Pod>, pod: &str, port: u16) -> Result<Forward> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let local = listener.local_addr()?.port();
        let pod = pod.to_owned();
        let task = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (pods, pod) = (pods.clone(), pod.clone());
                tokio::spawn(async move {
                    let Ok(mut forwarder) = pods.portforward(&pod, &[port]).await else { return };
                    let Some(mut stream) = forwarder.take_stream(port) else { return };
                    // Either end may close; the other one sees it.
                    let _ = tokio::io::copy_bidirectional(&mut socket, &mut stream).await;
                });
            }
        });
        Ok(Forward { port: local, task })
    }

    /// The local port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a client needs to log in.
#[derive(Clone)]
pub struct Login {
    /// The account.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The certificate authority in PEM; without it, no TLS.
    pub ca: Option<Vec<u8>>,
}

impl Login {
    /// As root, with the passwords and certificates of a cluster's Secrets as they are now.
    ///
    /// # Errors
    /// If there is no such Secret, or no such key in it.
    pub async fn root(secrets: &Api<Secret>, credentials: &str, tls: &str) -> Result<Login> {
        let of = async |name: &str, key: &str| -> Result<Vec<u8>> {
            let secret = secrets.get(name).await.with_context(|| format!("read Secret {name}"))?;
            let value = secret.data.and_then(|mut data| data.remove(key));
            Ok(value.with_context(|| format!("Secret {name} has no key {key}"))?.0)
        };
        let password = String::from_utf8(of(credentials, credentials::ROOT).await?)?;
        Ok(Login { user: credentials::ROOT.into(), password, ca: Some(of(tls, "ca.crt").await?) })
    }
}

/// A connection to one instance.
#[derive(Debug)]
pub struct Sql {
    conn: Conn,
    pod: String,
    _forward: Forward,
}

impl Sql {
    /// Connects to the server in `pod`.
    ///
    /// # Errors
    /// If the pod can't be reached or the login fails.
    pub async fn connect(pods: Api<Pod>, pod: &str, login: &Login) -> Result<Sql> {
        let forward = Forward::open(pods, pod, ports::MYSQL).await?;
        let tls = login.ca.clone().map(|ca| {
            // The certificate names the pod, the connection goes to this machine; `localhost` is among its names.
            SslOpts::default()
                .with_root_certs(vec![ca.into()])
                .with_disable_built_in_roots(true)
                .with_danger_tls_hostname_override(Some("localhost"))
        });
        let opts = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(forward.port())
            .prefer_socket(false)
            .user(Some(&login.user))
            .pass(Some(&login.password))
            .ssl_opts(tls);
        let conn = bounded(STATEMENT, Conn::new(opts)).await.with_context(|| format!("log in to {pod}"))?;
        Ok(Sql { conn, pod: pod.into(), _forward: forward })
    }

    /// The pod that this is connected to.
    pub fn pod(&self) -> &str {
        &self.pod
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// What the server says; see [`error_code`].
    pub async fn exec(&mut self, statement: &str) -> Result<()> {
        self.exec_within(STATEMENT, statement).await
    }

    /// Runs a statement that may take as long as `limit`.
    ///
    /// # Errors
    /// What the server says; see [`error_code`].
    pub async fn exec_within(&mut self, limit: Duration, statement: &str) -> Result<()> {
        bounded(limit, self.conn.query_drop(statement)).await.with_context(|| shown(&self.pod, statement))
    }

    /// The rows of a query.
    ///
    /// # Errors
    /// What the server says; see [`error_code`].
    pub async fn rows<T: FromRow + Send + 'static>(&mut self, query: &str) -> Result<Vec<T>> {
        self.rows_within(STATEMENT, query).await
    }

    /// The rows of a query that may take as long as `limit`.
    ///
    /// # Errors
    /// What the server says; see [`error_code`].
    pub async fn rows_within<T: FromRow + Send + 'static>(
        &mut self,
        limit: Duration,
        query: &str,
    ) -> Result<Vec<T>> {
        bounded(limit, self.conn.query(query)).await.with_context(|| shown(&self.pod, query))
    }

    /// The first row of a query.
    ///
    /// # Errors
    /// If there is none, and what the server says.
    pub async fn one<T: FromRow + Send + 'static>(&mut self, query: &str) -> Result<T> {
        self.rows(query)
            .await?
            .into_iter()
            .next()
            .ok_or_else(|| anyhow!("{}: no row", shown(&self.pod, query)))
    }

    /// Whether all of `gtids` is executed here within `limit`.
    ///
    /// # Errors
    /// What the server says.
    pub async fn has_executed(&mut self, gtids: &str, limit: Duration) -> Result<bool> {
        let wait = format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{gtids}', {})", limit.as_secs());
        let timed_out: Vec<u8> = self.rows_within(limit + STATEMENT, &wait).await?;
        Ok(timed_out.first() == Some(&0))
    }

    /// `@@gtid_executed`, on one line.
    ///
    /// # Errors
    /// What the server says.
    pub async fn gtid_executed(&mut self) -> Result<String> {
        Ok(self.one::<String>("SELECT @@gtid_executed").await?.replace('\n', ""))
    }
}

/// The number of the server's error, if it was one.
pub fn error_code(error: &anyhow::Error) -> Option<u16> {
    match error.downcast_ref::<mysql_async::Error>() {
        Some(mysql_async::Error::Server(error)) => Some(error.code),
        _ => None,
    }
}

async fn bounded<T>(limit: Duration, work: impl Future<Output = mysql_async::Result<T>>) -> Result<T> {
    let done = tokio::time::timeout(limit, work).await;
    Ok(done.map_err(|_| anyhow!("no answer after {} s", limit.as_secs()))??)
}

fn shown(pod: &str, statement: &str) -> String {
    let short: String = statement.chars().take(120).collect();
    format!("{pod}: {short}")
}
