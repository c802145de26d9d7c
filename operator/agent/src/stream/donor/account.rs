//! The account with which the tool reaches the server: in an option file that `serve` writes, and nowhere else.

use std::io;
use std::path::Path;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tokio::time::timeout;

use crate::credentials::Password;

/// Longest time to ask the server.
const ASK: Duration = Duration::from_secs(10);

/// How the tool reaches the server.
pub(super) struct Account {
    user: String,
    /// To keep it out of the log.
    pub(super) password: Password,
    socket: String,
}

impl Account {
    /// Reads the option file.
    pub(super) fn read(path: &Path) -> io::Result<Account> {
        let text = std::fs::read_to_string(path)?;
        parse(&text)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is not as the agent writes it"))
    }

    /// The server's version.
    pub(super) async fn server_version(&self) -> Result<String, String> {
        let options = OptsBuilder::default()
            .socket(Some(self.socket.clone()))
            .user(Some(self.user.clone()))
            .pass(Some(self.password.reveal()))
            .prefer_socket(false);
        let ask = async {
            let mut conn = Conn::new(options).await?;
            let version: Option<String> = conn.query_first("SELECT @@version").await?;
            conn.disconnect().await?;
            Ok::<_, mysql_async::Error>(version)
        };
        match timeout(ASK, ask).await {
            Ok(Ok(Some(version))) => Ok(version),
            Ok(Ok(None)) => Err("the server does not say its version".to_owned()),
            Ok(Err(error)) => Err(format!("the server does not answer: {error}")),
            Err(_) => Err(format!("the server does not answer within {} s", ASK.as_secs())),
        }
    }
}

/// User, password and socket of the `[client]` group.
fn parse(text: &str) -> Option<Account> {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(line.strip_prefix('"').and_then(|line| line.strip_suffix('"')).unwrap_or(line).to_owned())
    };
    Some(Account {
        user: value("user")?,
        password: Password::new(value("password")?),
        socket: value("socket")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_serve_writes_is_read() {
        let socket = "/run/mainstay/mysql.sock".into();
        let access = crate::sql::Access { socket, password: Password::new("a=b"), admin: None };
        let account = parse(&crate::mysqld::client_file("mainstay_backup", &access)).unwrap();
        assert_eq!(account.user, "mainstay_backup");
        assert_eq!(account.password.reveal(), "a=b");
        assert_eq!(account.socket, "/run/mainstay/mysql.sock");
    }
}
