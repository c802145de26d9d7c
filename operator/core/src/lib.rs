//! The brain of Mainstay: from what was observed to what to do next.
//!
//! Everything here is pure: no client, no SQL, no clock, no environment. [`plan`] turns an [`Observation`] into a
//! [`Plan`]; [`children`] turns a cluster into the Kubernetes objects that it consists of.

pub mod children;
mod dispatched;
mod facts;
mod gtid;
mod guards;
mod ledger;
pub mod moments;
mod observation;
pub mod on_demand;
mod plan;
mod record;
mod state;
mod step;

pub use dispatched::{Dispatch, Dispatched};
pub use facts::EARLIER;
pub use gtid::{GtidError, GtidSet};
pub use guards::{ClaimsFate, Object, Safe, claims_to_adopt, is_kept, may_take_pod};
pub use observation::*;
pub use plan::*;
pub use record::{Ending, Operation, Record, Term};
pub use step::*;
