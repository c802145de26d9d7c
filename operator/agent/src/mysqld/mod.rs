//! The server as a process: its options, its start, its end.

pub(crate) mod options;
pub(crate) mod process;
