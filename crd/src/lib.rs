//! The Kubernetes API of Mainstay: the `MySQLCluster` resource, its names, labels, conditions and limits.
//!
//! Nothing here talks to a cluster. The CRD is generated from these types by the `crdgen` binary.

pub mod conditions;
pub mod manifest;
pub mod names;
mod node_loss;
pub mod quantity;
mod record;
mod retention;
pub mod rules;
mod spec;
mod status;

pub use node_loss::*;
pub use record::*;
pub use retention::*;
pub use spec::*;
pub use status::*;
