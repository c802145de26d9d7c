//! mysqld: its files, its process, its life.

pub(crate) mod accounts;
mod files;
pub(crate) mod options;
mod output;
mod process;

pub(crate) use files::{Files, FilesError, write_initialize};
pub(crate) use process::{Exit, Mysqld, ProcessError, ServerBinary};

/// Name of the socket in the run directory.
pub(crate) const SOCKET: &str = "mysql.sock";
/// Name of the init file in the run directory.
pub(crate) const INIT_FILE: &str = "init.sql";
/// Exit status by which mysqld asks to be started again (`RESTART`, and the end of a clone).
pub(crate) const RESTART_STATUS: i32 = 16;
