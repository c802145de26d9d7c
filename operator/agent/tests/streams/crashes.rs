//! Recipients that die.

use mainstay_proto::Directory;

use crate::cluster::Cluster;
use crate::mariadb::{self, kill};
use crate::proxy::{Fault, Proxy};
use crate::rig::{
    Donor, kill_recipient, logged, no_server_starts, received, recipient, succeeds, tool, word, words,
};

/// MiB of rows.
const MIB: u64 = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_unpacks_it_leaves_a_partial_directory_and_the_next_attempt_succeeds() {
    let cluster = Cluster::in_root(mariadb::root());
    let donor = Donor::new(&cluster, MIB).await;
    let mut to = recipient(&cluster, 1).await;
    let mut proxy = Proxy::new(donor.port(), Fault::Hold(10 << 20)).await;
    to.order(1, 1, donor.action("first", proxy.port)).await;
    proxy.held().await;
    kill_recipient(&mut to);
    proxy.release();
    assert_eq!(received(&to), None);
    no_server_starts(&cluster, &mut to).await;
    donor.unharmed().await;
    to.new_pod();
    to.start("receive");
    to.report("it is partial", |r| matches!(r.directory, Directory::Partial { .. })).await;
    succeeds(&mut to, 2, donor.action("second", donor.port())).await;
    donor.unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_the_tool_makes_it_consistent_the_volume_is_locked_until_the_tool_has_ended() {
    let cluster = Cluster::in_root(mariadb::root());
    let donor = Donor::new(&cluster, MIB).await;
    let mut to = cluster.instance(1);
    let preparing = words(&cluster).join("preparing");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--prepare*) echo $$ > {}; exec sleep 1000;; esac\n\
         exec /usr/bin/mariadb-backup \"$@\"\n",
        cluster.inside(&preparing)
    );
    to.path = Some(tool(&cluster, "slow", "mariadb-backup", &script));
    to.start("receive");
    to.report("it is empty", |report| report.directory == Directory::Empty).await;
    to.order(1, 1, donor.action("first", donor.port())).await;
    let pid = word(&preparing).await.parse().unwrap();
    kill_recipient(&mut to);
    // Outside of a container the tool outlives the agent; nobody else touches the directory meanwhile.
    to.path = None;
    to.new_pod();
    to.start("receive");
    to.report("it is locked", |r| matches!(r.directory, Directory::Locked { .. })).await;
    kill("KILL", pid);
    to.report("it is partial", |r| matches!(r.directory, Directory::Partial { .. })).await;
    assert_eq!(received(&to), None);
    succeeds(&mut to, 2, donor.action("second", donor.port())).await;
    donor.unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_before_any_step_it_leaves_a_partial_directory_and_the_next_attempt_succeeds() {
    let cluster = Cluster::in_root(mariadb::root());
    let donor = Donor::new(&cluster, MIB).await;
    for (ordinal, step) in [(1, "prepare"), (2, "read"), (1, "place"), (2, "received")] {
        let mut to = cluster.instance(ordinal);
        let _ = std::fs::remove_dir_all(to.volume());
        std::fs::create_dir_all(to.volume()).unwrap();
        std::os::unix::fs::chown(to.volume(), Some(999), Some(999)).unwrap();
        to.flags.push(("halt-before", step.into()));
        to.start("receive");
        to.report("it is empty", |report| report.directory == Directory::Empty).await;
        to.order(1, 1, donor.action("first", donor.port())).await;
        logged(&to, &format!("\"step\":\"{step}\"")).await;
        kill_recipient(&mut to);
        assert_eq!(received(&to), None, "{step}");
        to.flags.clear();
        no_server_starts(&cluster, &mut to).await;
        to.new_pod();
        to.start("receive");
        to.report("it is partial", |r| matches!(r.directory, Directory::Partial { .. })).await;
        succeeds(&mut to, 2, donor.action("second", donor.port())).await;
        // Only the first start, in the server's image, makes it complete.
        no_server_starts(&cluster, &mut to).await;
    }
    donor.unharmed().await;
}
