//! What a recipient and a donor say to each other besides the copy itself. Unknown fields are ignored and new ones
//! have defaults: in a rolling change the two agents differ.

use serde::{Deserialize, Serialize};

use super::adapter::{Kind, Version};
use super::reason::Reason;

/// Path of a [`Request`] (POST). Answered by a stream of frames, or by a [`Refusal`].
pub(crate) const PATH_COPY: &str = "/v1/copy";

/// Asks for a copy. Every field is of a closed type or compared and logged only: nothing here reaches a command
/// line.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    /// The cluster's id.
    pub(crate) cluster_id: String,
    /// The donor that is meant: addresses are reused by siblings.
    pub(crate) donor: u32,
    /// Ordinal of the recipient.
    pub(crate) recipient: u32,
    /// The operation's id in the record.
    pub(crate) operation: String,
    /// The recipient's tool.
    pub(crate) tool: Kind,
    /// The version of the recipient's tool.
    pub(crate) tool_version: Version,
    /// Compress with zstd.
    #[serde(default)]
    pub(crate) compress: bool,
    /// Most MiB a second of the tool's stream; no bound if absent.
    #[serde(default)]
    pub(crate) max_mib_per_second: Option<u64>,
    /// Also if the donor leads.
    #[serde(default)]
    pub(crate) from_primary: bool,
}

/// Why a donor refuses. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refusal {
    /// Why, of a closed list.
    pub(crate) reason: Reason,
    /// Why, for people.
    pub(crate) message: String,
}

/// What will come.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Announce {
    /// About as many bytes of the tool's stream.
    pub(crate) total_bytes: u64,
    /// Data frames are compressed with zstd.
    #[serde(default)]
    pub(crate) compressed: bool,
    /// The donor's server.
    #[serde(default)]
    pub(crate) server_version: String,
}

/// How a stream ended. Without one, nothing was copied.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Verdict {
    /// Why there is no copy; absent if the tool ended well and all that it wrote was sent.
    #[serde(default)]
    pub(crate) error: Option<String>,
    /// [`super::digest::Digest::text`] of the tool's stream before compression.
    pub(crate) digest: String,
}
