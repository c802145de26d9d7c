//! What operator and agent say to each other.
//!
//! JSON over HTTPS with client certificates. Unknown fields are ignored and new fields have defaults, so that an
//! operator speaks to agents two minor versions older and an agent to an operator that is newer.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/report` | one [`Report`]; with [`QUERY_FRESH`], after MySQL was looked at once more |
//! | `GET /v1/watch` | [`Report`]s, one JSON object a line: at once on every change, else with every heartbeat ([`heartbeat`]) |
//! | `POST /v1/order` with an [`Order`] | [`Answer`]; the work goes on afterwards and shows in reports |
//!
//! `tests/wire` has the bytes of released agents and operators: what is changed here reads them still.

pub mod heartbeat;
mod history;
pub mod options;
mod order;
pub mod password;
pub mod pod;
mod report;
mod still;
#[cfg(test)]
mod wire_tests;

pub use history::*;
pub use order::*;
pub use report::*;

/// Version of this protocol. Raised when a message changes its meaning.
pub const VERSION: u32 = 1;
/// Path of [`Report`].
pub const PATH_REPORT: &str = "/v1/report";
/// Asks, as the query of [`PATH_REPORT`], for what is so now: MySQL is looked at before the answer, within a second. How
/// fresh that is, [`ServerState::read_at`] says; an older agent answers with what it read last.
pub const QUERY_FRESH: &str = "fresh";
/// Path of the stream of [`Report`]s.
pub const PATH_WATCH: &str = "/v1/watch";
/// Path of [`Order`].
pub const PATH_ORDER: &str = "/v1/order";
/// Seconds that a replica may be behind, or without its source, and still be read from: for the operator's label and
/// for the agent's readiness alike.
pub const LAG_LIMIT_SECONDS: u64 = 30;
