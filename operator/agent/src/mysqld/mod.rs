//! mysqld: its files, its process, its life.

pub(crate) mod accounts;
mod files;
pub(crate) mod options;
pub(crate) mod output;
pub(crate) mod persisted;
mod process;

#[cfg(test)]
pub(crate) use files::client_file;
pub(crate) use files::{Files, FilesError, write_initialize};
pub(crate) use process::{Exit, Mysqld, ProcessError, ServerBinary};

/// Name of the socket in the run directory.
pub(crate) const SOCKET: &str = "mysql.sock";
/// Name of the init file in the run directory.
pub(crate) const INIT_FILE: &str = "init.sql";
/// Name of the option file in the run directory with the account for copy tools.
pub(crate) const BACKUP_FILE: &str = "backup.cnf";
/// Exit status by which mysqld asks to be started again (`RESTART`, and the end of a clone).
pub(crate) const RESTART_STATUS: i32 = 16;
