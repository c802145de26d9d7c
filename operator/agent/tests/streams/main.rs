//! Copies over real HTTPS of a real MariaDB by a real mariadb-backup (`MAINSTAY_MARIADB_ROOT`, which
//! `make test-tools` makes): it has XtraBackup's command line and stream, and XtraBackup itself is in no
//! distribution. Agents and servers run in that root directory as an unprivileged user.

// Helpers outside of test functions fail the test all the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../real/cluster.rs"]
#[allow(dead_code)]
mod cluster;
#[path = "../real/instance.rs"]
#[allow(dead_code)]
mod instance;
mod limits;
mod mariadb;
mod meddler;
#[path = "../real/pki.rs"]
#[allow(dead_code)]
mod pki;
mod proxy;
mod rig;

mod bench;
mod copies;
mod crashes;
mod damage;
mod faults;
mod refusals;
