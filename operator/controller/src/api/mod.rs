//! How objects are written: what was applied last, what differs, and what a refusal means.

mod applied;
mod coverage;
mod error;
mod patch;

pub(crate) use applied::{Applied, By, Version, digest};
pub(crate) use coverage::{is_as_applied, is_ours as is_our_entry};
pub(crate) use error::{is_conflict, is_final, is_gone, said};
pub(crate) use patch::merge_patch;
