//! The hands of Mainstay: watches what there is, lets `mainstay-core` say what to do next, does it and reports.
//!
//! ```text
//! watch, agents  what is known: stores of objects, and the last word of every instance's agent
//! watches        what fills the stores, and follows agents
//! cluster_scope  the same of volumes and nodes
//! observe        stores and words become one `Observation`
//! api            how objects are written, and what a refusal means
//! act            Secrets, children, role labels, the one step
//! report         status, events, metrics
//! reconcile      calls these in turn
//! ```

mod act;
mod agents;
mod anew;
mod api;
mod backoff;
mod client;
mod cluster_scope;
mod context;
mod election;
mod events;
mod memory;
mod observe;
mod reconcile;
mod report;
mod run;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod scenarios_asked;
#[cfg(test)]
mod scenarios_foreign;
#[cfg(test)]
mod scenarios_kept;
#[cfg(test)]
mod scenarios_orders;
#[cfg(test)]
mod scenarios_secrets;
mod secrets;
mod settings;
mod telemetry;
#[cfg(test)]
mod testing;
mod watch;
mod watches;

pub use run::run;
pub use settings::{Dial, LogFormat, Settings};
