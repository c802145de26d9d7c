//! The replication channel: read, compared, changed.

use std::path::Path;

use mainstay_proto::Endpoint;

use super::quote::text;
use super::{Client, REPLICATION, SqlError};
use crate::credentials::Password;

/// Seconds between two attempts to reach the source, and between two heartbeats of it.
const RETRY_SECONDS: u64 = 1;

/// The channel as the server has it in `mysql.slave_master_info`, the only place that also tells the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Configured {
    /// Everything that [`ChannelConfig`] fixes.
    config: ChannelConfig,
    /// The source's GTIDs decide where to begin.
    auto_position: bool,
}

impl Configured {
    /// The password that it has.
    pub(crate) fn password(&self) -> &Password {
        &self.config.password
    }
}

/// A channel as the agent configures it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChannelConfig {
    source: Endpoint,
    user: String,
    password: Password,
    ssl: bool,
    ssl_ca: String,
    verify: bool,
    retry_seconds: u64,
    retries: u64,
    heartbeat_milliseconds: u64,
}

impl ChannelConfig {
    /// The channel to `source`, verified against `ca`, retried every second without end.
    pub(crate) fn new(source: &Endpoint, password: &Password, ca: &Path) -> Self {
        ChannelConfig {
            source: source.clone(),
            user: REPLICATION.to_owned(),
            password: password.clone(),
            ssl: true,
            ssl_ca: ca.to_string_lossy().into_owned(),
            verify: true,
            retry_seconds: RETRY_SECONDS,
            // Without end (manual, "CHANGE REPLICATION SOURCE TO": "Setting this to 0 means no limit").
            retries: 0,
            heartbeat_milliseconds: RETRY_SECONDS * 1000,
        }
    }

    /// The statement. `SOURCE_AUTO_POSITION` is named only where it changes: naming it demands that the applier is
    /// stopped, and while the applier runs the relay logs, and with them what was acknowledged, are kept.
    fn statement(&self, auto_position: bool) -> String {
        let position = if auto_position { ", SOURCE_AUTO_POSITION = 1" } else { "" };
        format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = {}, SOURCE_PORT = {}, SOURCE_USER = {}, \
             SOURCE_PASSWORD = {}, SOURCE_SSL = 1, SOURCE_SSL_CA = {}, SOURCE_SSL_VERIFY_SERVER_CERT = 1, \
             SOURCE_CONNECT_RETRY = {}, SOURCE_RETRY_COUNT = {}, SOURCE_HEARTBEAT_PERIOD = {}, \
             GET_SOURCE_PUBLIC_KEY = 0{position}",
            text(&self.source.host),
            self.source.port,
            text(&self.user),
            text(self.password.reveal()),
            text(&self.ssl_ca),
            self.retry_seconds,
            self.retries,
            RETRY_SECONDS,
        )
    }
}

/// What to do to get from the channel that is to the one that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    None,
    /// Stop the receiver, change, go on: the applier runs, and relay logs stay.
    Receiver,
    /// Stop both, change: relay logs are dropped and fetched again by GTID.
    Whole,
}

/// Decides how the channel is changed.
pub(crate) fn change(
    configured: Option<&Configured>,
    wanted: &ChannelConfig,
    applier_running: bool,
) -> Change {
    match configured {
        Some(configured) if configured.auto_position && configured.config == *wanted => Change::None,
        Some(configured) if configured.auto_position && applier_running => Change::Receiver,
        _ => Change::Whole,
    }
}

type Columns = (String, String, String, u64, u64, bool, String, bool, u64, f64, bool);

/// The default channel as it is configured; `None` if it is not, or was reset.
pub(crate) async fn configured(client: &mut Client) -> Result<Option<Configured>, SqlError> {
    let query = "SELECT IFNULL(Host, ''), IFNULL(User_name, ''), IFNULL(User_password, ''), Port, Connect_retry, \
                 Enabled_ssl, IFNULL(Ssl_ca, ''), Ssl_verify_server_cert, Retry_count, Heartbeat, \
                 Enabled_auto_position FROM mysql.slave_master_info WHERE Channel_name = ''";
    let rows: Vec<Columns> = client.rows("read the replication channel", query).await?;
    let Some((host, user, password, port, retry, ssl, ssl_ca, verify, retries, heartbeat, auto_position)) =
        rows.into_iter().next()
    else {
        return Ok(None);
    };
    let Ok(port) = u16::try_from(port) else { return Ok(None) };
    if host.is_empty() {
        return Ok(None);
    }
    let config = ChannelConfig {
        source: Endpoint { host, port },
        user,
        password: Password::new(password),
        ssl,
        ssl_ca,
        verify,
        retry_seconds: retry,
        retries,
        heartbeat_milliseconds: milliseconds(heartbeat),
    };
    Ok(Some(Configured { config, auto_position }))
}

/// Seconds as MySQL keeps them, in a FLOAT column, to whole milliseconds.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn milliseconds(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1000.0).round() as u64
}

/// Writes the wanted channel into the server. Its threads are stopped as [`Change`] says by the caller.
pub(crate) async fn configure(
    client: &mut Client,
    wanted: &ChannelConfig,
    auto_position: bool,
) -> Result<(), SqlError> {
    let statement = wanted.statement(auto_position);
    client.run_secret("CHANGE REPLICATION SOURCE", &statement, &wanted.password).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(host: &str, password: &str) -> ChannelConfig {
        let source = Endpoint { host: host.into(), port: 3306 };
        ChannelConfig::new(&source, &Password::new(password), Path::new("/tls/ca.crt"))
    }

    fn is(host: &str, password: &str, auto_position: bool) -> Option<Configured> {
        Some(Configured { config: wanted(host, password), auto_position })
    }

    #[test]
    fn a_channel_is_changed_only_if_it_differs_and_keeps_its_relay_logs_if_it_can() {
        let target = wanted("a", "pw");
        let table = [
            (None, true, Change::Whole),
            (is("a", "pw", true), true, Change::None),
            (is("a", "pw", true), false, Change::None),
            (is("b", "pw", true), true, Change::Receiver),
            (is("a", "old", true), true, Change::Receiver),
            (is("b", "pw", true), false, Change::Whole),
            (is("a", "pw", false), true, Change::Whole),
        ];
        for (configured, applier_running, expected) in table {
            assert_eq!(change(configured.as_ref(), &target, applier_running), expected, "{configured:?}");
        }
    }

    #[test]
    fn the_position_is_named_only_where_it_changes() {
        assert!(wanted("a", "pw").statement(true).contains("SOURCE_AUTO_POSITION = 1"));
        assert!(!wanted("a", "pw").statement(false).contains("SOURCE_AUTO_POSITION"));
    }
}
