//! The agent in each MySQL pod: sees to the data directory, runs mysqld, carries out the operator's orders.

mod accounts;
mod commands;
mod context;
mod credentials;
mod crowd;
mod digest;
mod entry;
mod executor;
mod first_look;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod hand_over;
mod history;
mod http;
mod install;
mod lag;
mod monitor;
mod mounts;
mod mysqld;
mod prepare;
mod reaper;
mod redact;
mod report;
mod room;
mod serve;
mod settings;
mod shut_out;
mod shutdown;
mod sql;
mod start;
mod stream;
mod supervise;
mod task;
mod tasks;
#[cfg(test)]
mod testing;
mod tls;
mod volume;

pub use commands::main;
