//! Clusters whose children would have one name: whoever was there first has it, and the other makes nothing.

use mainstay_crd::conditions::Reason;

use crate::Rival;
use crate::facts::Facts;
use crate::plan::Decision;

/// Keeps a cluster of which nothing was made yet from being begun beside another that has names of its children.
///
/// One that was begun goes on: it never takes an object that is another's, and its database does not stop because of a
/// name.
pub(in crate::plan) fn decide(facts: &Facts<'_>) -> Option<Decision> {
    if facts.cluster_id.is_some() {
        return None;
    }
    let rival = facts.observation.rivals.iter().find(|rival| was_first(rival, facts))?;
    let (ours, theirs) = (&facts.observation.cluster.name, &rival.name);
    Some(Decision::Blocked(
        Reason::NameTaken,
        format!(
            "{} is MySQLCluster {theirs}'s, which was there first: nothing is made for {ours}. Create this cluster \
             under another name; once {theirs} is gone, {ours} goes on by itself",
            rival.object
        ),
    ))
}

/// One that was begun has its children; else the older one, and of two of the same second the first by name.
fn was_first(rival: &Rival, facts: &Facts<'_>) -> bool {
    let cluster = &facts.observation.cluster;
    rival.begun || (rival.created, &rival.name) < (cluster.created, &cluster.name)
}
