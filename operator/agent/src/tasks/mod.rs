//! What orders come to.

pub(crate) mod clone;
pub(crate) mod data;
pub(crate) mod role;
