//! Why a copy was not given or not received.

use std::io;

/// Why a copy was not given or not received. Says nothing secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// There is no copy tool.
    #[error("there is neither xtrabackup nor mariadb-backup in PATH: is the image one of the copy tool?")]
    NoTool,
    /// The tool does not say what it is.
    #[error("{tool} --version says {said:?}, and no version can be read from it")]
    ToolVersion {
        /// Name of the tool.
        tool: &'static str,
        /// What it said.
        said: String,
    },
    /// A program can't be run.
    #[error("can't run {tool}: {source}")]
    Run {
        /// Name of the program.
        tool: &'static str,
        /// The error.
        source: io::Error,
    },
    /// A program failed.
    #[error("{tool} failed: {outcome}")]
    Tool {
        /// Name of the program.
        tool: &'static str,
        /// How it ended and what its log said last.
        outcome: String,
    },
    /// Reading or writing failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The error.
        source: io::Error,
    },
    /// The certificates.
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
    /// The donor can't be spoken to.
    #[error("the donor {donor}: {message}")]
    Donor {
        /// Host and port.
        donor: String,
        /// What went wrong.
        message: String,
    },
    /// The donor refused.
    #[error("the donor refused ({reason:?}): {message}")]
    Refused {
        /// Why, of a closed list.
        reason: super::reason::Reason,
        /// Why, for people.
        message: String,
    },
    /// What came is not a stream.
    #[error("the stream is damaged: {0}")]
    Frame(#[from] super::frame::FrameError),
    /// What came can't be decompressed.
    #[error("the stream can't be decompressed: {0}")]
    Compression(#[source] io::Error),
    /// It ended without a verdict.
    #[error("the stream ended without a verdict, after {bytes} bytes: it was cut short")]
    CutShort {
        /// Bytes of the tool's stream that came.
        bytes: u64,
    },
    /// Nothing came for too long.
    #[error("nothing came from the donor for {seconds} s")]
    Stalled {
        /// The bound in seconds.
        seconds: u64,
    },
    /// The donor's verdict is that it failed.
    #[error("the donor gave up: {0}")]
    GaveUp(String),
    /// What arrived is not what was sent.
    #[error("what arrived is not what was sent: {received} instead of {sent}")]
    Differs {
        /// Digest of what was sent.
        sent: String,
        /// Digest of what arrived.
        received: String,
    },
    /// There is not enough room.
    #[error("not enough room on the volume: {free} bytes are free, {needed} are needed")]
    Room {
        /// Free bytes.
        free: u64,
        /// Needed bytes.
        needed: u64,
    },
    /// An information file is not as it should be.
    #[error("the copy's {file}: {message}")]
    Information {
        /// Name of the file.
        file: String,
        /// What is wrong with it.
        message: String,
    },
}

/// An error of reading or writing, with what was tried.
pub(super) fn io_error(what: &'static str) -> impl FnOnce(io::Error) -> StreamError {
    move |source| StreamError::Io { what, source }
}
