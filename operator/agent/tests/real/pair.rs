//! A primary and its replica, with which many tests begin.

use mainstay_proto::Action;

use crate::cluster::Cluster;
use crate::instance::Instance;

/// Makes `replica` a copy of `primary` that follows it. Uses revisions 3 and 4.
pub(crate) async fn follow(replica: &mut Instance<'_>, primary: &Instance<'_>) {
    replica.provision(3, Some(primary)).await;
    replica.order(1, 4, Action::Follow { source: primary.endpoint() }).await;
    replica
        .state("it follows", |s| s.channel.as_ref().is_some_and(|c| c.receiver_running && c.applier_running))
        .await;
}

/// A primary with one row in `d.t`, and a replica that has it.
pub(crate) async fn with_a_row(cluster: &Cluster) -> (Instance<'_>, Instance<'_>) {
    let (mut primary, mut replica) = (cluster.instance(0), cluster.instance(1));
    primary.primary(false).await;
    primary.sql("CREATE DATABASE d").await;
    primary.sql("CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY)").await;
    primary.sql("INSERT INTO d.t VALUES ()").await;
    follow(&mut replica, &primary).await;
    replica.wait_for_rows("d.t", 1).await;
    (primary, replica)
}
