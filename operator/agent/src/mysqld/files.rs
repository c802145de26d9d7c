//! The files that a start of mysqld needs, in the run directory.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::accounts::Account;
use super::options::{ConfigFiles, Purpose, render};
use super::{BACKUP_FILE, INIT_FILE, SOCKET, accounts};
use crate::credentials::{Credentials, CredentialsError, Own, Password};
use crate::settings::Settings;
use crate::sql::{AGENT, Access, Admin, BACKUP};

/// Name of the option file in the run directory.
const OPTIONS: &str = "my.cnf";
/// Name of the file for people: `mysql --defaults-file=/run/mainstay/client.cnf`.
const CLIENT: &str = "client.cnf";
/// The same, where clients look for it by themselves: the run directory is the container's `HOME`.
const HOME_CLIENT: &str = ".my.cnf";

/// Why the files were not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesError {
    /// The passwords can't be read.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Reading or writing failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The error.
        source: io::Error,
    },
}

fn io_error(what: &'static str) -> impl FnOnce(io::Error) -> FilesError {
    move |source| FilesError::Io { what, source }
}

/// What one start of mysqld was given.
#[derive(Debug)]
pub(crate) struct Files {
    /// How the agent reaches the server.
    pub(crate) access: Access,
    /// The passwords that the server's accounts have.
    pub(crate) credentials: Credentials,
    /// The accounts that it is to have.
    pub(crate) accounts: Vec<Account>,
    /// The passwords of the accounts that are reached over the socket.
    pub(crate) own: Own,
    /// mysqld's arguments.
    pub(crate) arguments: Vec<OsString>,
    /// The init file, if there is one.
    init_file: Option<PathBuf>,
}

impl Files {
    /// Writes the option file and `client.cnf`; and for a server that only the agent reaches, the init file that
    /// lets it in.
    pub(crate) fn write(settings: &Settings, ordinal: u32, purpose: Purpose) -> Result<Files, FilesError> {
        let arguments = write_options(settings, ordinal, purpose)?;
        let credentials = Credentials::read(&settings.credentials)?;
        let own = Own::of(&credentials);
        let accounts = accounts::wanted(&credentials, &own);
        let socket = settings.run.join(SOCKET);
        let init_file = (purpose == Purpose::Alone).then(|| settings.run.join(INIT_FILE));
        if let Some(path) = &init_file {
            write_private(path, &accounts::init_file(&accounts)).map_err(io_error("write the init file"))?;
        }
        let admin = matches!(purpose, Purpose::Serve(_))
            .then(|| Admin::new(settings.admin_port, settings.tls.join("ca.crt"), settings.host(ordinal)));
        let backup = Access { socket: socket.clone(), password: own.backup.clone(), admin: None };
        let access = Access { socket, password: own.agent.clone(), admin };
        for name in [CLIENT, HOME_CLIENT] {
            write_private(&settings.run.join(name), &client_file(AGENT, &access))
                .map_err(io_error("write client.cnf"))?;
        }
        write_private(&settings.run.join(BACKUP_FILE), &client_file(BACKUP, &backup))
            .map_err(io_error("write backup.cnf"))?;
        Ok(Files { access, accounts, own, credentials, arguments, init_file })
    }

    /// Removes the init file, once the server has executed it.
    pub(crate) fn remove_init_file(&self) {
        if let Some(Err(error)) = self.init_file.as_ref().map(fs::remove_file) {
            tracing::warn!(%error, "the init file was not removed");
        }
    }

    /// Everything that must not appear in the log.
    pub(crate) fn secrets(&self) -> Vec<Password> {
        let Credentials { root, operator, replication, clone } = self.credentials.clone();
        let own = self.own.clone();
        vec![root, operator, replication, clone, own.agent, own.backup]
    }
}

/// An option file for clients. The password is one of the agent's own, without characters that would need quoting.
pub(crate) fn client_file(user: &str, access: &Access) -> String {
    let (password, socket) = (access.password.reveal(), access.socket.display());
    format!("[client]\nuser={user}\npassword=\"{password}\"\nsocket={socket}\n")
}

/// Writes the option file for `--initialize-insecure`.
pub(crate) fn write_initialize(settings: &Settings, ordinal: u32) -> Result<Vec<OsString>, FilesError> {
    let mut arguments = write_options(settings, ordinal, Purpose::Initialize)?;
    // "Insecure" is the account root@localhost without a password; the first start, which only the agent reaches,
    // drops it.
    arguments.push("--initialize-insecure".into());
    Ok(arguments)
}

fn write_options(settings: &Settings, ordinal: u32, purpose: Purpose) -> Result<Vec<OsString>, FilesError> {
    let files = ConfigFiles::read(&settings.config).map_err(io_error("read the configuration"))?;
    let path = settings.run.join(OPTIONS);
    write_private(&path, &render(settings, ordinal, &files, purpose)).map_err(io_error("write my.cnf"))?;
    let mut argument = OsString::from("--defaults-file=");
    argument.push(path);
    Ok(vec![argument])
}

/// Writes a file that only the agent's user can read. A file that is there is replaced, not written into: its mode
/// could be another.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_private_file_is_private_even_if_one_was_there() {
        let directory = crate::testing::directory();
        let path = directory.join("f");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write_private(&path, "new").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }
}
