//! The pure part of the agent: which orders are carried out, and what a restart may resume. It has no runtime, SQL or clock, so that
//! the tests of the operator run it too, and do not guess what an agent does.

pub mod admission;
pub mod grant;
