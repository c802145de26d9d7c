//! What the tests on a real Kubernetes cluster share.
//!
//! A test is a body given to [`scope::run`]: it gets a namespace of its own on a cluster where the operator runs,
//! and everything in it goes away afterwards. Conditions are waited for by watches ([`wait`]), truth about data
//! comes from MySQL itself ([`sql`], [`checksum`]) and from the ids that a writer saw acknowledged ([`writer`]).

/// Prints a line with the seconds since the program began, on standard error.
#[macro_export]
macro_rules! note {
    ($($argument:tt)*) => { $crate::clock::note(format_args!($($argument)*)) };
}

pub mod audit;
mod by_hand;
pub mod checksum;
pub mod clock;
pub mod cluster;
pub mod database;
mod diagnose;
pub mod exec;
pub mod faults;
pub mod figures;
pub mod held;
pub mod load;
pub mod moments;
mod namespace;
pub mod operator;
mod place;
mod ready;
mod remains;
pub mod rollout;
pub mod scope;
pub mod shell;
pub mod sql;
pub mod static_volumes;
pub mod table;
pub mod told;
pub mod tools;
pub mod wait;
pub mod writer;
