//! Agents on a real MySQL, without a cluster: each runs in a root directory that has MySQL installed
//! (`MAINSTAY_MYSQL_ROOT`, which `make test-tools` makes), as an unprivileged user.

// Helpers outside of test functions fail the test all the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod clients;
mod cluster;
mod instance;
#[path = "../streams/limits.rs"]
mod limits;
mod pki;

mod accounts;
mod bench;
mod clones;
mod durability;
mod events;
mod full;
mod history;
mod ledger;
mod log;
mod options;
mod pair;
mod received;
mod roles;
mod safety;
mod serving;
mod stops;
