//! Copies of a running server's data directory, streamed from a donor's agent to a recipient's by a copy tool
//! (XtraBackup, or its fork mariadb-backup).
//!
//! | who | where | what |
//! |---|---|---|
//! | [`donor`] | container `donor`, in the tool's image, beside a running server | runs the tool, sends its stream |
//! | [`receive`] | init container `receive`, in the tool's image | takes the order, unpacks, prepares, puts the copy in place |
//! | [`crate::tasks`] | init container `prepare`, in the server's image | first start, GTIDs, and only then *complete* |
//!
//! What is between the second and the third is in the marker: still partial, with what was received
//! ([`crate::volume::Received`]). A partial directory without it holds nothing of worth.

mod adapter;
mod codec;
mod digest;
mod donor;
pub(crate) mod error;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod halt;
mod information;
mod intake;
mod messages;
mod process;
mod rate;
mod reason;
mod receive;
mod recipient;

pub(crate) use donor::serve as donor;
pub(crate) use halt::before;
pub(crate) use receive::receive;
pub(crate) use recipient::take;
