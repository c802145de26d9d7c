//! A small API server in memory, for tests: the world in which the operator is tried, not a stand-in for any of its
//! parts.

mod api;
mod fields;
mod instances;
mod net;
mod obedient;
mod rig;

pub(crate) use api::{Api, Request};
pub(crate) use net::{FakeAgent, Manner, Net};
pub(crate) use rig::{CLUSTER, Rig};
