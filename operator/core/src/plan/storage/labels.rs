//! What a volume's labels say: whose data it holds.

use std::collections::BTreeMap;

use mainstay_crd::names::{LABEL_CLUSTER_ID, LABEL_ORDINAL};

use crate::Volume;
use crate::facts::Facts;

/// The labels of a volume that holds an instance's data.
pub(in crate::plan) fn of(cluster_id: &str, ordinal: u32) -> BTreeMap<String, String> {
    let labels = [(LABEL_CLUSTER_ID, cluster_id.to_owned()), (LABEL_ORDINAL, ordinal.to_string())];
    labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The ordinal whose data a volume says that it holds, if it says so for this cluster.
pub(in crate::plan) fn labelled(facts: &Facts<'_>, volume: &Volume) -> Option<u32> {
    let label = |key| volume.labels.get(key).map(String::as_str);
    let ours = facts.cluster_id.is_some() && label(LABEL_CLUSTER_ID) == facts.cluster_id;
    label(LABEL_ORDINAL).filter(|_| ours)?.parse().ok()
}

/// A volume says that it holds this instance's data.
pub(in crate::plan) fn is_of(facts: &Facts<'_>, ordinal: u32, volume: &Volume) -> bool {
    labelled(facts, volume) == Some(ordinal)
}
