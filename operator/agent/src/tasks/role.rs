//! Taking on a role: to lead, to follow, to stand down.

use std::time::Duration;

use mainstay_proto::pod::config_keys;
use mainstay_proto::{Action, Endpoint, Fence, Grant, GrantedRole};

use crate::credentials::{Credentials, Password};
use crate::hub::Hub;
use crate::mysqld::options;
use crate::server::{Doing, Launcher, ServerError};
use crate::sql::quote::{string, value, variable};
use crate::sql::{Session, SqlError, number, text};

/// The replicas' account.
const ACCOUNT: &str = "mainstay_repl";
/// `super_read_only` waits behind commits that wait for an acknowledgement; a step down does not wait for ever.
const READ_ONLY_BOUND: Duration = Duration::from_secs(10);

/// Why a role was not taken on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoleError {
    /// A newer order came meanwhile.
    #[error("a newer order has taken its place")]
    Superseded,
    /// The server, its files or its SQL.
    #[error(transparent)]
    Server(#[from] ServerError),
}

impl From<SqlError> for RoleError {
    fn from(error: SqlError) -> Self {
        RoleError::Server(error.into())
    }
}

/// One role being taken on; every statement looks again whether it is still wanted.
pub(crate) struct Change<'a> {
    pub(crate) launcher: &'a Launcher,
    pub(crate) hub: &'a Hub,
    pub(crate) session: &'a mut Session,
    /// The order's, or the grant's after a restart.
    pub(crate) fence: Fence,
}

impl Change<'_> {
    /// Takes on the role. What could not be set for it.
    pub(crate) async fn carry_out(&mut self, action: &Action) -> Result<Vec<String>, RoleError> {
        match action {
            Action::Lead { alone } => self.lead(*alone).await,
            Action::Follow { source } => self.follow(source).await,
            Action::StandDown => self.stand_down().await.map(|()| Vec::new()),
            Action::Initialize { .. } | Action::Clone { .. } => Ok(Vec::new()),
        }
    }

    async fn run(&mut self, doing: &'static str, statement: &str) -> Result<(), RoleError> {
        if self.hub.highest() > self.fence {
            return Err(RoleError::Superseded);
        }
        Ok(self.session.run(doing, statement).await?)
    }

    /// The grant is on the volume before the server is writable, and the server is writable last of all.
    async fn lead(&mut self, alone: bool) -> Result<Vec<String>, RoleError> {
        if self.channel().await?.is_some() {
            self.run("stopping replication", "STOP REPLICA").await?;
            self.run("forgetting the source", "RESET REPLICA ALL").await?;
        }
        let unset = self.settings(config_keys::PRIMARY, config_keys::REPLICA).await?;
        self.grant(GrantedRole::Primary { alone })?;
        self.run("becoming writable", "SET GLOBAL super_read_only=OFF").await?;
        self.run("becoming writable", "SET GLOBAL read_only=OFF").await?;
        Ok(unset)
    }

    async fn follow(&mut self, source: &Endpoint) -> Result<Vec<String>, RoleError> {
        self.read_only().await?;
        self.grant(GrantedRole::Replica { source: source.clone() })?;
        let unset = self.settings(config_keys::REPLICA, config_keys::PRIMARY).await?;
        let password =
            Credentials::read(&self.launcher.settings.credentials).map_err(ServerError::from)?.replication;
        if !self.points_at(source, &password).await? {
            self.point_at(source, &password).await?;
        }
        self.run("starting replication", "START REPLICA").await?;
        Ok(unset)
    }

    /// The channel is as it should be. Then it is left alone: to name the source again would throw away relay logs,
    /// and with them what only this replica may have received.
    async fn points_at(&mut self, source: &Endpoint, password: &Password) -> Result<bool, RoleError> {
        const CHANNEL: &str = "SELECT Host AS h, Port AS p, User_name AS u, User_password AS w \
                               FROM mysql.slave_master_info WHERE Channel_name = ''";
        let row = self.session.row("reading the channel", CHANNEL).await?;
        Ok(row.is_some_and(|row| {
            text(&row, "h") == source.host
                && number(&row, "p") == Some(source.port.into())
                && text(&row, "u") == ACCOUNT
                && text(&row, "w") == password.reveal()
        }))
    }

    async fn point_at(&mut self, source: &Endpoint, password: &Password) -> Result<(), RoleError> {
        if self.channel().await?.is_some() {
            self.run("stopping replication", "STOP REPLICA").await?;
        }
        let ca = self.launcher.settings.tls.join("ca.crt");
        // The retry count's default gives up after ten tries; 0 is without end. Manual: "CHANGE REPLICATION SOURCE
        // TO Statement".
        let statement = format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST={}, SOURCE_PORT={}, SOURCE_USER='{ACCOUNT}', \
             SOURCE_PASSWORD={}, SOURCE_AUTO_POSITION=1, SOURCE_SSL=1, SOURCE_SSL_CA={}, \
             SOURCE_SSL_VERIFY_SERVER_CERT=1, SOURCE_CONNECT_RETRY=1, SOURCE_RETRY_COUNT=0, \
             SOURCE_HEARTBEAT_PERIOD=1",
            string(&source.host),
            source.port,
            string(password.reveal()),
            string(&ca.to_string_lossy()),
        );
        self.run("naming the source", &statement).await
    }

    async fn stand_down(&mut self) -> Result<(), RoleError> {
        self.read_only().await?;
        if self.channel().await?.is_some() {
            self.run("stopping replication", "STOP REPLICA").await?;
        }
        self.write_grant(None)
    }

    async fn read_only(&mut self) -> Result<(), RoleError> {
        let doing = "becoming read-only";
        match tokio::time::timeout(READ_ONLY_BOUND, self.run(doing, "SET GLOBAL super_read_only=ON")).await {
            Ok(done) => done,
            Err(_) => Err(SqlError::Timeout { doing, after: READ_ONLY_BOUND }.into()),
        }
    }

    fn grant(&mut self, role: GrantedRole) -> Result<(), RoleError> {
        self.write_grant(Some(Grant { fence: self.fence, role }))
    }

    fn write_grant(&mut self, grant: Option<Grant>) -> Result<(), RoleError> {
        if self.hub.highest() > self.fence {
            return Err(RoleError::Superseded);
        }
        let written = self.hub.change_marker(|marker| marker.grant = grant);
        Ok(written.doing("writing the role to the volume")?)
    }

    async fn channel(&mut self) -> Result<Option<String>, RoleError> {
        let row = self.session.row("reading the channel", "SHOW REPLICA STATUS").await?;
        Ok(row.map(|row| text(&row, "Source_Host")).filter(|host| !host.is_empty()))
    }

    /// Sets what the role's option file says, and takes back what only the other role's says.
    async fn settings(&mut self, role: &str, other: &str) -> Result<Vec<String>, RoleError> {
        let entries = |key| options::entries(&self.launcher.settings, key).doing("reading options");
        let (common, role, other) = (entries(config_keys::COMMON)?, entries(role)?, entries(other)?);
        let mut wanted = role.clone();
        for name in other.into_keys().filter(|name| !role.contains_key(name)) {
            let text = common.get(&name).cloned().unwrap_or_else(|| "DEFAULT".into());
            wanted.insert(name, text);
        }
        let mut unset = Vec::new();
        for (name, text) in wanted {
            let Some(name) = variable(&name) else { continue };
            let literal = if text == "DEFAULT" { text } else { value(&text) };
            match self.run("setting an option", &format!("SET GLOBAL {name}={literal}")).await {
                Ok(()) => {}
                Err(RoleError::Server(ServerError::Sql(error))) if error.code().is_some() => {
                    unset.push(format!("{name}: {error}"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(unset)
    }
}

/// Commits that wait for an acknowledgement; none where semi-synchronous replication is not installed.
pub(crate) async fn waiting_commits(session: &mut Session) -> Result<u64, SqlError> {
    let row = session
        .row("counting waiting commits", "SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_source_wait_sessions'")
        .await?;
    Ok(row.and_then(|row| number(&row, "Value")).unwrap_or_default())
}
