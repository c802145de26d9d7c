//! What the operator says about itself: logs, metrics, health.

mod clones;
mod http;
mod logs;
mod metrics;

pub(crate) use http::{Health, serve};
pub(crate) use logs::start_logs;
#[cfg(test)]
pub(crate) use metrics::Kind;
pub(crate) use metrics::Metrics;
