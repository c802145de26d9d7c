//! How the agent reaches its server.
//!
//! A server that serves is reached over its administrative interface (manual, "Administrative Connection
//! Management"): no number of clients keeps the agent out there, and the one connection beyond `max_connections` on
//! the ordinary interface stays a person's. The socket is for a server that has no such interface, and for one whose
//! administrative interface does not let the agent in.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mysql_async::{Conn, OptsBuilder, SslOpts};
use tokio::time::timeout;

use super::{AGENT, SqlError};
use crate::credentials::Password;

/// Where the administrative interface listens: in the pod, and for nobody outside of it. A pod has it whatever family
/// its own address is of.
pub(crate) const ADMIN_ADDRESS: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Longest time to connect over the socket.
const SOCKET: Duration = Duration::from_secs(5);
/// Longest time to connect over the administrative interface.
const ADMIN: Duration = Duration::from_secs(2);
/// What is tried.
const WHAT: &str = "connect to the server";

/// How the agent reaches one run of the server.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// The server's socket.
    pub(crate) socket: PathBuf,
    /// The password of [`AGENT`] for this run.
    pub(crate) password: Password,
    /// The administrative interface, where the server has one.
    pub(crate) admin: Option<Arc<Admin>>,
}

/// The administrative interface of one run of the server.
#[derive(Debug)]
pub(crate) struct Admin {
    port: u16,
    /// Path of the authority's certificate.
    authority: PathBuf,
    /// The name that the server's certificate is for.
    host: String,
    /// It was said that it does not let the agent in.
    told: AtomicBool,
}

impl Admin {
    /// On this port, with a certificate of this authority for this name.
    pub(crate) fn new(port: u16, authority: PathBuf, host: String) -> Arc<Self> {
        Arc::new(Admin { port, authority, host, told: AtomicBool::new(false) })
    }

    /// With TLS, though nobody is in between: `require_secure_transport` asks for it, and others in the pod could
    /// listen on the port before the server does.
    fn reached(&self, options: OptsBuilder) -> OptsBuilder {
        let tls = SslOpts::default()
            .with_root_certs(vec![self.authority.clone().into()])
            .with_disable_built_in_roots(true)
            .with_danger_tls_hostname_override(Some(self.host.clone()));
        options.ip_or_hostname(ADMIN_ADDRESS.to_string()).tcp_port(self.port).ssl_opts(tls)
    }
}

/// Connects as [`AGENT`]. The session writes nothing to the binary log, and its literals are as
/// [`super::quote::text`] makes them.
pub(super) async fn connect(access: &Access) -> Result<Conn, SqlError> {
    let options = || {
        OptsBuilder::default()
            .user(Some(AGENT))
            .pass(Some(access.password.reveal()))
            .prefer_socket(false)
            .setup(vec!["SET SESSION sql_mode = '', sql_log_bin = 0, autocommit = 1"])
    };
    let Some(admin) = &access.admin else {
        return within(SOCKET, options().socket(Some(access.socket.to_string_lossy()))).await;
    };
    if let Ok(conn) = within(ADMIN, admin.reached(options())).await {
        return Ok(conn);
    }
    let conn = within(SOCKET, options().socket(Some(access.socket.to_string_lossy()))).await?;
    // A server that starts has its socket before it has the other, and lets nobody in before it has both.
    let error = match within(ADMIN, admin.reached(options())).await {
        Ok(conn) => return Ok(conn),
        Err(error) => error,
    };
    if !admin.told.swap(true, Ordering::Relaxed) {
        tracing::warn!(%error, "the administrative interface does not let the agent in: it uses the socket");
    }
    Ok(conn)
}

async fn within(bound: Duration, options: OptsBuilder) -> Result<Conn, SqlError> {
    timeout(bound, Conn::new(options))
        .await
        .map_err(|_| SqlError::Timeout { what: WHAT, seconds: bound.as_secs() })?
        .map_err(|error| SqlError::new(WHAT, error, None))
}
