//! What a person is told of volumes that are to be given back: which one, what it needs first, and what keeps it.

use mainstay_crd::OperationKind;
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_crd::names::{ANNOTATION_GIVE_BACK, ANNOTATION_KEPT_SINCE, LABEL_CLUSTER_ID};

use super::told::{earlier, empty, only, told};
use super::well::{claim, recorded, storage_ready, volume_of, well};
use crate::{Instance, plan};

#[test]
fn a_volume_is_not_said_to_come_back_by_itself_while_paused() {
    let mut o = well();
    let volume = volume_of(&mut o, 0).name.clone();
    volume_of(&mut o, 0).reclaim_policy = Some("Retain".into());
    claim(&mut o, 0).deleting = true;
    o.cluster.annotations.insert(ANNOTATION_GIVE_BACK.into(), volume);
    assert!(!storage_ready(&o).message.contains("Before that"), "{}", storage_ready(&o).message);
    o.cluster.spec.paused = true;
    let waits = storage_ready(&o);
    assert_eq!(waits.reason, Reason::GivingBack);
    assert!(waits.message.contains("Before that, take spec.paused back"), "{}", waits.message);
}

#[test]
fn of_several_volumes_the_one_that_left_last_is_given_back() {
    let mut o = only();
    let left = volume_of(&mut o, 0).name.clone();
    empty(&mut o, 0);
    // By name before the one that left.
    earlier(&mut o, 0, "an-older");
    let volume = o.surroundings.volumes.get_mut("an-older").unwrap();
    volume.annotations.insert(ANNOTATION_KEPT_SINCE.into(), "1970-01-01T00:00:00Z".into());
    let message = told(&plan(&o), ConditionType::Blocked);
    assert!(
        message.contains(&format!("last was {left}. There are also an-older (kept since 1970")),
        "{message}"
    );
    assert!(
        message.contains("Only if the last one is gone for good, an-older: kubectl annotate"),
        "{message}"
    );
    earlier(&mut o, 0, &left);
    let message = told(&plan(&o), ConditionType::Blocked);
    assert!(
        message.contains(&format!("{ANNOTATION_GIVE_BACK}={left}, then delete data-shop-0")),
        "{message}"
    );
    assert!(!message.contains("an-older"), "{message}");
}

#[test]
fn a_volume_without_labels_is_labelled_before_it_is_given_back() {
    let mut o = only();
    let left = volume_of(&mut o, 0).name.clone();
    empty(&mut o, 0);
    earlier(&mut o, 0, &left);
    let labels = std::mem::take(&mut o.surroundings.volumes.get_mut(&left).unwrap().labels);
    let command = |message: &str, words: &str| {
        let label = format!("kubectl label --overwrite pv {left} ");
        let values = message.split_once(&label).unwrap_or_else(|| panic!("{message}")).1;
        let each: Vec<&str> =
            values.split_once(words).map_or(values, |(values, _)| values).split(' ').collect();
        let each = each.iter().map(|one| one.trim_end_matches(',').split_once('=').unwrap());
        each.map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    assert_eq!(command(&told(&plan(&o), ConditionType::Blocked), " then kubectl"), labels);
    // Asked without: it is refused, and the same is said.
    o.cluster.annotations.insert(ANNOTATION_GIVE_BACK.into(), left.clone());
    let refused = storage_ready(&o);
    assert_eq!(refused.reason, Reason::GiveBackRefused);
    assert_eq!(command(&refused.message, ";"), labels);
    o.surroundings.volumes.get_mut(&left).unwrap().labels = labels;
    o.instances.insert(0, Instance::default());
    assert_eq!(recorded(&mut o), Some(OperationKind::GiveBack));
}

#[test]
fn a_volume_of_another_cluster_is_not_to_be_labelled_as_this_ones() {
    let mut o = only();
    earlier(&mut o, 0, "theirs");
    let labels = &mut o.surroundings.volumes.get_mut("theirs").unwrap().labels;
    labels.insert(LABEL_CLUSTER_ID.into(), "another".into());
    o.cluster.annotations.insert(ANNOTATION_GIVE_BACK.into(), "theirs".into());
    let refused = storage_ready(&o).message;
    assert!(refused.contains("of another cluster, whose id is another"), "{refused}");
    assert!(!refused.contains("kubectl label"), "{refused}");
}
