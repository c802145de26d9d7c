//! The pure part of the agent: which orders it carries out, and what a restart may resume. Without a runtime, SQL or a
//! clock, so that a test's world runs the same code.

pub mod admission;
pub mod grant;
