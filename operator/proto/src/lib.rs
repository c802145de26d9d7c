//! What operator and agent say to each other.
//!
//! JSON over HTTPS with client certificates. Unknown fields are ignored and new fields have defaults, so that an
//! operator speaks to agents two minor versions older and an agent to an operator that is newer.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/report` | one [`Report`] |
//! | `GET /v1/watch` | [`Report`]s, one JSON object a line: at once on every change, else every two seconds |
//! | `POST /v1/order` with an [`Order`] | [`Answer`]; the work goes on afterwards and shows in reports |

mod history;
mod order;
pub mod password;
pub mod pod;
mod report;

pub use history::*;
pub use order::*;
pub use report::*;

/// Version of this protocol. Raised when a message changes its meaning.
pub const VERSION: u32 = 1;
/// Path of [`Report`].
pub const PATH_REPORT: &str = "/v1/report";
/// Path of the stream of [`Report`]s.
pub const PATH_WATCH: &str = "/v1/watch";
/// Path of [`Order`].
pub const PATH_ORDER: &str = "/v1/order";
/// Seconds that a replica may be behind, or without its source, and still be read from: for the operator's label and
/// for the agent's readiness alike.
pub const LAG_LIMIT_SECONDS: u64 = 30;
/// Seconds between two reports of a stream when nothing changes.
pub const HEARTBEAT_SECONDS: u64 = 2;
