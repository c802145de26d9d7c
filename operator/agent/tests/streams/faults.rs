//! Donors and networks that fail in the middle.

use std::process::Command;

use crate::cluster::Cluster;
use crate::mariadb;
use crate::proxy::{Fault, Proxy};
use crate::rig::{Donor, fails, recipient, starts_no_server, succeeds, tool, word, words};

/// MiB of rows; MySQL's own tables and undo logs come on top.
const MIB: u64 = 24;

/// About how many bytes one copy takes on the wire.
async fn wire_bytes(cluster: &Cluster, donor: &Donor<'_>) -> u64 {
    let proxy = Proxy::new(donor.port(), Fault::None).await;
    let mut to = recipient(cluster, 3).await;
    succeeds(&mut to, 1, donor.action("measure", proxy.port)).await;
    proxy.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_donor_that_dies_anywhere_in_the_stream_leaves_nothing_and_the_next_attempt_succeeds() {
    let cluster = Cluster::in_root(mariadb::root());
    let mut donor = Donor::new(&cluster, MIB).await;
    let bytes = wire_bytes(&cluster, &donor).await;
    let mut to = recipient(&cluster, 1).await;
    let mut revision = 0;
    for percent in [1, 50, 99] {
        revision += 1;
        let mut proxy = Proxy::new(donor.port(), Fault::Hold(bytes * percent / 100)).await;
        to.order(1, revision, donor.action(&format!("op-{percent}"), proxy.port)).await;
        proxy.held().await;
        donor.kill();
        proxy.release();
        fails(&to, revision, "without a verdict").await;
        donor.unharmed().await;
        donor.start().await;
    }
    starts_no_server(&cluster, &mut to).await;
    succeeds(&mut to, revision + 1, donor.action("last", donor.port())).await;
    donor.unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_bytes_without_a_verdict_are_no_copy() {
    let cluster = Cluster::in_root(mariadb::root());
    let mut donor = Donor::new(&cluster, MIB).await;
    donor.kill();
    // The real tool; but when it has written all, its end is late.
    let done = words(&cluster).join("done");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--version*) exec /usr/bin/mariadb-backup \"$@\";; esac\n\
         /usr/bin/mariadb-backup \"$@\" || exit\nexec >/dev/null\necho all > {}\nexec sleep 1000\n",
        cluster.inside(&done)
    );
    donor.instance.path = Some(tool(&cluster, "late", "mariadb-backup", &script));
    donor.start().await;
    let mut to = recipient(&cluster, 1).await;
    to.order(1, 1, donor.action("first", donor.port())).await;
    word(&done).await;
    donor.kill();
    fails(&to, 1, "without a verdict").await;
    starts_no_server(&cluster, &mut to).await;
    donor.instance.path = None;
    donor.start().await;
    succeeds(&mut to, 2, donor.action("second", donor.port())).await;
    donor.unharmed().await;
    // With the agent alone killed, as here, what it started goes on until it writes; a container's end ends all.
    for (pid, _) in crate::rig::processes("sleep 1000") {
        let _ = Command::new("kill").arg(pid.to_string()).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_that_fails_is_told_in_the_verdict() {
    let cluster = Cluster::in_root(mariadb::root());
    let mut donor = Donor::new(&cluster, MIB).await;
    donor.kill();
    let script = "#!/bin/sh\ncase \"$*\" in *--version*) exec /usr/bin/mariadb-backup \"$@\";; esac\n\
                  /usr/bin/mariadb-backup \"$@\"\necho 'page 7 is corrupt' >&2\nexit 9\n";
    donor.instance.path = Some(tool(&cluster, "failing", "mariadb-backup", script));
    donor.start().await;
    let mut to = recipient(&cluster, 1).await;
    to.order(1, 1, donor.action("first", donor.port())).await;
    // All bytes came, and the digest is right; the exit status alone tells.
    fails(&to, 1, "exit status 9; its log: ").await;
    donor.kill();
    donor.instance.path = None;
    donor.start().await;
    succeeds(&mut to, 2, donor.action("second", donor.port())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_damages_cuts_or_stalls_leaves_nothing_and_a_slow_one_is_only_slow() {
    let cluster = Cluster::in_root(mariadb::root());
    let donor = Donor::new(&cluster, MIB).await;
    let mut to = cluster.instance(1);
    to.flags.push(("stall-seconds", "3".into()));
    to.start("receive");
    to.report("it is empty", |r| r.directory == mainstay_proto::Directory::Empty).await;
    let middle = 20 << 20;
    let table = [
        (Fault::Flip(middle), "without a verdict"),
        (Fault::Cut(middle), "without a verdict"),
        (Fault::Stall(middle), "nothing came from the donor for 3 s"),
    ];
    let mut revision = 0;
    for (fault, expected) in table {
        revision += 1;
        let proxy = Proxy::new(donor.port(), fault).await;
        to.order(1, revision, donor.action(&format!("op-{revision}"), proxy.port)).await;
        fails(&to, revision, expected).await;
        donor.unharmed().await;
    }
    starts_no_server(&cluster, &mut to).await;
    let slow = Proxy::new(donor.port(), Fault::Slow(16 << 20)).await;
    succeeds(&mut to, revision + 1, donor.action("slow", slow.port)).await;
    donor.unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recipient_that_takes_nothing_any_more_is_given_up() {
    let cluster = Cluster::in_root(mariadb::root());
    let mut donor = Donor::new(&cluster, MIB).await;
    donor.kill();
    donor.instance.flags.push(("stall-seconds", "2".into()));
    donor.start().await;
    let mut to = recipient(&cluster, 1).await;
    let mut proxy = Proxy::new(donor.port(), Fault::Hold(4 << 20)).await;
    to.order(1, 1, donor.action("first", proxy.port)).await;
    proxy.held().await;
    // It stands still on purpose: the process, and so its connection, is there.
    to.signal("STOP", to.agent.as_ref().unwrap().id());
    crate::rig::logged(&donor.instance, "takes nothing any more").await;
    donor.unharmed().await;
    to.signal("CONT", to.agent.as_ref().unwrap().id());
    proxy.release();
    fails(&to, 1, "").await;
    succeeds(&mut to, 2, donor.action("second", donor.port())).await;
}

/// A file system of a size, until it is dropped.
struct Small(std::path::PathBuf);

impl Small {
    fn mount(path: std::path::PathBuf, mib: u64) -> Small {
        let options = format!("size={mib}m,uid=999,gid=999,mode=750");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).status().unwrap();
        assert!(mounted.success());
        Small(path)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_room_nothing_is_sent_and_when_it_runs_out_nothing_is_left() {
    let cluster = Cluster::in_root(mariadb::root());
    let donor = Donor::new(&cluster, MIB).await;
    let mut small = cluster.instance(1);
    let _mount = Small::mount(small.volume(), 40);
    small.start("receive");
    small.report("it is empty", |r| r.directory == mainstay_proto::Directory::Empty).await;
    let proxy = Proxy::new(donor.port(), Fault::None).await;
    small.order(1, 1, donor.action("first", proxy.port)).await;
    fails(&small, 1, "not enough room").await;
    assert!(proxy.passed() < 4 << 20, "hardly anything was sent");
    donor.unharmed().await;

    let mut large = cluster.instance(2);
    let _mount = Small::mount(large.volume(), 400);
    large.start("receive");
    large.report("it is empty", |r| r.directory == mainstay_proto::Directory::Empty).await;
    let mut proxy = Proxy::new(donor.port(), Fault::Hold(8 << 20)).await;
    large.order(1, 1, donor.action("first", proxy.port)).await;
    proxy.held().await;
    // Somebody else's file on the same file system takes what was free.
    let other = large.volume().join(".other");
    let filled = Command::new("sh").arg("-c").arg("cat /dev/zero > \"$0\" 2>/dev/null").arg(&other).status();
    assert!(!filled.unwrap().success(), "it is full");
    proxy.release();
    fails(&large, 1, "").await;
    donor.unharmed().await;
    std::fs::remove_file(other).unwrap();
    starts_no_server(&cluster, &mut large).await;
    succeeds(&mut large, 2, donor.action("second", donor.port())).await;
    donor.unharmed().await;
}
