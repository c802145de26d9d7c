//! Donors that give what they should not: bytes that change after the digest was taken, a server that dies or is of
//! another version.

use crate::cluster::Cluster;
use crate::mariadb::{self, Server};
use crate::meddler::Meddler;
use crate::proxy::{Fault, Proxy};
use crate::rig::{Donor, fails, recipient, starts_no_server, succeeds, tool};

/// MiB of rows: more than pipes and sockets hold.
const MIB: u64 = 24;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_byte_that_the_tool_does_not_see_is_caught_by_the_digest() {
    let cluster = Cluster::in_root(mariadb::root());
    let donor = Donor::new(&cluster, MIB).await;
    let mut to = recipient(&cluster, 1).await;
    // A file's name, which no checksum of the tool's covers: it would unpack all, under another name, and end well.
    let meddler = Meddler::new(&cluster, donor.port(), 0, b"d/t.frm").await;
    to.order(1, 1, donor.action("first", meddler.port)).await;
    fails(&to, 1, "what arrived is not what was sent").await;
    starts_no_server(&cluster, &mut to).await;
    donor.unharmed().await;
    succeeds(&mut to, 2, donor.action("second", donor.port())).await;
    donor.unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_byte_on_which_the_tool_breaks_ends_the_copy_before_its_digest_is_known() {
    let cluster = Cluster::in_root(mariadb::root());
    let donor = Donor::new(&cluster, MIB).await;
    let mut to = recipient(&cluster, 1).await;
    // In a row, which the tool's own checksum covers.
    let meddler = Meddler::new(&cluster, donor.port(), 4 << 20, &[b'x'; 64]).await;
    to.order(1, 1, donor.action("first", meddler.port)).await;
    fails(&to, 1, "mbstream failed: exit status").await;
    starts_no_server(&cluster, &mut to).await;
    donor.unharmed().await;
    succeeds(&mut to, 2, donor.action("second", donor.port())).await;
    donor.unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_donors_server_that_dies_ends_the_copy_and_comes_back_with_all_that_it_had() {
    let cluster = Cluster::in_root(mariadb::root());
    let mut donor = Donor::new(&cluster, MIB).await;
    let before = donor.server.checksums().await;
    let mut to = recipient(&cluster, 1).await;
    let mut proxy = Proxy::new(donor.port(), Fault::Hold(12 << 20)).await;
    to.order(1, 1, donor.action("first", proxy.port)).await;
    proxy.held().await;
    donor.server.kill();
    proxy.release();
    fails(&to, 1, "the donor gave up: mariadb-backup failed").await;
    starts_no_server(&cluster, &mut to).await;
    donor.server = Server::start(&cluster, &donor.instance).await;
    assert_eq!(donor.server.checksums().await, before);
    succeeds(&mut to, 2, donor.action("second", donor.port())).await;
    donor.unharmed().await;
}

/// A tool that says that it is of 10.11.
const OLD: &str = "#!/bin/sh\necho 'mariadb-backup based on MariaDB server 10.11.9-MariaDB'\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_another_major_version_is_refused_before_anything_is_sent() {
    let cluster = Cluster::in_root(mariadb::root());
    let mut donor = Donor::new(&cluster, MIB).await;
    donor.server.kill();
    donor.server = Server::of_version(&cluster, &donor.instance, "10.11.9-MariaDB").await;
    let mut to = recipient(&cluster, 1).await;
    let proxy = Proxy::new(donor.port(), Fault::None).await;
    // The donor's own tool does not fit its server.
    to.order(1, 1, donor.action("first", proxy.port)).await;
    fails(&to, 1, "Version): mariadb-backup 11.").await;
    fails(&to, 1, " does not fit a server of the version 10.11.9-MariaDB").await;
    assert!(proxy.passed() < 16 << 10, "nothing was sent");
    // The donor's does; the recipient's, and so its server, is newer.
    donor.kill();
    donor.instance.path = Some(tool(&cluster, "old", "mariadb-backup", OLD));
    donor.start().await;
    to.order(1, 2, donor.action("second", proxy.port)).await;
    fails(&to, 2, "Version): the recipient's mariadb-backup 11.").await;
    fails(&to, 2, " does not fit a server of the version 10.11.9-MariaDB").await;
    assert!(proxy.passed() < 16 << 10, "nothing was sent");
    starts_no_server(&cluster, &mut to).await;
    donor.unharmed().await;
    donor.kill();
    donor.instance.path = None;
    donor.start().await;
    donor.server.kill();
    donor.server = Server::start(&cluster, &donor.instance).await;
    succeeds(&mut to, 3, donor.action("third", donor.port())).await;
    donor.unharmed().await;
}
