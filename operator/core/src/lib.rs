//! The brain of Mainstay: from what was observed to what to do next.
//!
//! Everything here is pure: no client, no SQL, no clock, no environment. [`plan`] turns an [`Observation`] into a
//! [`Plan`]; [`children`] turns a cluster into the Kubernetes objects that it consists of.

pub mod asking;
pub mod children;
mod dispatched;
mod gtid;
mod ledger;
pub mod moments;
mod observation;
mod plan;

pub use dispatched::{Dispatch, Dispatched};
pub use gtid::{GtidError, GtidSet};
pub use observation::*;
pub use plan::*;
