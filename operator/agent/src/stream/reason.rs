//! Why a donor refuses.

use serde::{Deserialize, Serialize};

/// Why a donor refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum Reason {
    /// It is another instance or another cluster's.
    NotMe,
    /// It gives to another recipient.
    Busy,
    /// It leads, and was not to give then.
    Primary,
    /// Its data directory is not complete, or its server does not answer.
    NotReady,
    /// A tool does not fit the server.
    Version,
    /// It has no tool.
    NoTool,
    /// It is ending.
    Ending,
    /// A reason that a newer donor has.
    #[serde(other)]
    Other,
}
