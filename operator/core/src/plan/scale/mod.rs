//! How many instances there are, and from which template their pods are made: those that leave, and what becomes of what they
//! leave behind.

pub(super) mod canary;
pub(super) mod deletion;
pub(super) mod leaving;
pub(super) mod pods;
pub(super) mod retention;
pub(super) mod rollout;
pub(super) mod template;
pub(super) mod upkeep;
