//! What an instance's server is asked, as one user or another.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, SslOpts};

use crate::cluster::PASSWORDS;
use crate::instance::{Instance, PATIENCE};

impl Instance<'_> {
    /// As root with the password of the Secret.
    pub(crate) async fn client(&self) -> Conn {
        self.try_client().await.unwrap()
    }

    async fn try_client(&self) -> Result<Conn, mysql_async::Error> {
        self.log_in("root", PASSWORDS[0].1).await
    }

    /// Over the network, with TLS.
    pub(crate) async fn log_in(&self, user: &str, password: &str) -> Result<Conn, mysql_async::Error> {
        let tls = SslOpts::default()
            .with_root_certs(vec![self.cluster.pki.authority.clone().into_bytes().into()])
            .with_disable_built_in_roots(true)
            .with_danger_tls_hostname_override(Some(self.endpoint().host));
        let options = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.ports()[0])
            .prefer_socket(false)
            .user(Some(user))
            .pass(Some(password))
            .ssl_opts(tls);
        Conn::new(options).await
    }

    /// As the agent's own account, over the socket, as `client.cnf` has it. Nothing is written to the binary log.
    pub(crate) async fn own_client(&self) -> Conn {
        let file = std::fs::read_to_string(self.run_directory().join("client.cnf")).unwrap();
        let password = file.split('"').nth(1).unwrap();
        let socket = self.run_directory().join("mysql.sock");
        let options = OptsBuilder::default()
            .socket(Some(socket.to_string_lossy().into_owned()))
            .user(Some("mainstay_agent"))
            .pass(Some(password))
            .setup(vec!["SET SESSION sql_log_bin = 0"]);
        Conn::new(options).await.unwrap()
    }

    /// One value, read as the agent's own account.
    pub(crate) async fn own_text(&self, query: &str) -> String {
        let found: Option<Option<String>> = self.own_client().await.query_first(query).await.unwrap();
        found.flatten().unwrap_or_default()
    }

    pub(crate) async fn sql(&self, statement: &str) {
        self.client().await.query_drop(statement).await.unwrap();
    }

    pub(crate) async fn text(&self, query: &str) -> String {
        self.client().await.query_first(query).await.unwrap().unwrap()
    }

    pub(crate) async fn number(&self, query: &str) -> u64 {
        self.client().await.query_first(query).await.unwrap().unwrap()
    }

    pub(crate) async fn wait_for_rows(&self, table: &str, rows: u64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let query = format!("SELECT COUNT(*) FROM {table}");
            let found: Result<Option<u64>, _> = match self.try_client().await {
                Ok(mut client) => client.query_first(query).await,
                Err(error) => Err(error),
            };
            if matches!(found, Ok(Some(found)) if found == rows) {
                return;
            }
            assert!(Instant::now() < deadline, "{table} never had {rows} rows: {found:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
