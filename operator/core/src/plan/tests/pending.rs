//! What is said of claims that get no volume.

use mainstay_crd::conditions::{ConditionType, DesiredCondition, Reason};

use super::world::{NAME, NAMESPACE, World};
use crate::{Agent, Class, Node, Observation, Step, Volume, VolumeStep, plan};

/// A cluster of three that was well; the claim of instance 2 waits for a volume that a person makes.
fn waiting() -> Observation {
    let mut world = World::new(3);
    world.settle();
    let mut o = world.observe();
    let instance = o.instances.get_mut(&2).unwrap();
    instance.agent = Agent::Unheard;
    let pod = instance.pod.as_mut().unwrap();
    (pod.ready, pod.started, pod.role, pod.node) = (false, false, None, None);
    let claim = instance.claim.as_mut().unwrap();
    (claim.phase, claim.volume, claim.class) = (Some("Pending".into()), None, Some("by-hand".into()));
    claim.requested = Some(1 << 30);
    let class = Class { provisioner: "kubernetes.io/no-provisioner".into(), ..Class::default() };
    o.surroundings.classes.insert("by-hand".into(), class);
    o
}

fn add(o: &mut Observation, name: &str, change: impl FnOnce(&mut Volume)) {
    let mut volume = Volume {
        name: name.into(),
        phase: Some("Available".into()),
        class: Some("by-hand".into()),
        capacity: Some(1 << 30),
        access_modes: vec!["ReadWriteOnce".into()],
        ..Volume::default()
    };
    change(&mut volume);
    o.surroundings.volumes.insert(name.into(), volume);
}

fn said(o: &Observation) -> DesiredCondition {
    plan(o).conditions.into_iter().find(|c| c.type_ == ConditionType::StorageReady).unwrap()
}

#[test]
fn the_nearest_volumes_are_named_first() {
    let mut o = waiting();
    for name in ["a", "b", "c"] {
        add(&mut o, name, |volume| {
            volume.class = None;
            volume.capacity = Some(1);
        });
    }
    add(&mut o, "z", |volume| volume.capacity = Some(512 << 20));
    let said = said(&o);
    assert!(
        said.message.contains("(z has 512Mi, not 1Gi; a has the class '', not 'by-hand' and has 1"),
        "{said:?}"
    );
    assert!(!said.message.contains("; c has"), "{said:?}");
}

#[test]
fn a_claim_that_asks_for_more_than_the_spec_by_now_is_to_be_made_anew() {
    let mut o = waiting();
    assert!(!said(&o).message.contains("made anew"), "{:?}", said(&o));
    o.instances.get_mut(&2).unwrap().claim.as_mut().unwrap().requested = Some(100 << 40);
    let message = said(&o).message;
    let way = "It asks for 100Ti, and spec.storage.size for 1Gi by now: nothing is on it, so delete the claim data-shop-2";
    assert!(message.contains(way), "{message}");
}

/// As the controller of volumes says of every class that has no provisioner.
#[test]
fn that_nobody_makes_volumes_of_a_class_is_no_news_where_people_make_them() {
    let mut o = waiting();
    let warning = "ProvisioningFailed: no volume plugin matched name: kubernetes.io/no-provisioner";
    o.instances.get_mut(&2).unwrap().claim.as_mut().unwrap().warning = Some(warning.into());
    add(&mut o, "small", |volume| volume.capacity = Some(1));
    let said = said(&o);
    assert_eq!(said.reason, Reason::NoMatchingVolume, "{said:?}");
    assert!(said.message.contains("small has 1, not 1Gi"), "{said:?}");
}

#[test]
fn where_a_volume_fits_it_is_the_pod_that_finds_no_node() {
    let mut o = waiting();
    o.surroundings.classes.get_mut("by-hand").unwrap().waits_for_consumer = true;
    o.instances.get_mut(&2).unwrap().pod.as_mut().unwrap().trouble = Some("Unschedulable: no cpu".into());
    add(&mut o, "it", |volume| volume.hosts = Some(vec!["gone".into()]));
    let gone = said(&o);
    assert_eq!(gone.reason, Reason::NoMatchingVolume, "{gone:?}");
    assert!(gone.message.contains("it can only be mounted on gone, which is gone"), "{gone:?}");
    o.surroundings.nodes.insert("gone".into(), Node { ready: Some("True".into()), ..Node::default() });
    let fits = said(&o);
    assert_eq!(fits.reason, Reason::Unschedulable, "{fits:?}");
    assert!(fits.message.contains("no cpu"), "{fits:?}");
}

#[test]
fn a_volume_that_could_not_be_reclaimed_can_be_given_back() {
    let mut o = waiting();
    add(&mut o, "old", |volume| {
        volume.phase = Some("Failed".into());
        volume.claim = Some((NAMESPACE.into(), format!("data-{NAME}-2")));
        volume.claim_uid = Some("earlier".into());
    });
    let said = said(&o);
    assert_eq!(said.reason, Reason::VolumeFailed, "{said:?}");
    assert!(said.message.contains("mysql.mainstay.dev/give-back=old"), "{said:?}");
}

/// The claim of instance 2 was deleted, and there is another of its name, or it goes; the ledger has its volume still.
fn asked_back(o: &mut Observation) -> String {
    let left = o.cluster.status.instances[2].ledger.clone().unwrap();
    let name = left.volume.unwrap();
    let labels = [("cluster-id", o.cluster.status.cluster_id.clone().unwrap()), ("ordinal", "2".into())];
    add(o, &name, |volume| {
        volume.phase = Some("Released".into());
        volume.claim = Some((NAMESPACE.into(), format!("data-{NAME}-2")));
        volume.claim_uid = Some(left.claim_uid);
        volume.labels = labels.map(|(key, value)| (format!("mysql.mainstay.dev/{key}"), value)).into();
    });
    o.cluster.annotations.insert("mysql.mainstay.dev/give-back".into(), name.clone());
    name
}

/// What is done next, and is written down at once where it is the record.
fn next(o: &mut Observation) -> Option<Step> {
    let step = plan(o).step;
    if let Some(Step::Record { record, .. }) = &step {
        o.cluster.status.replication = Some(record.clone().into());
    }
    step
}

#[test]
fn the_volume_that_left_last_is_given_back_to_the_next_claim_of_the_name() {
    let mut o = waiting();
    o.instances.get_mut(&2).unwrap().claim.as_mut().unwrap().uid = "the next".into();
    let name = asked_back(&mut o);
    assert!(matches!(next(&mut o), Some(Step::Record { .. })), "announced");
    let reserved = next(&mut o);
    let Some(Step::Volume { volume, step: VolumeStep::Reserve { .. }, .. }) = &reserved else {
        panic!("the ledger has it of the claim that is gone, so it is not back yet: {reserved:?}")
    };
    assert_eq!(*volume, name);
    // The binder writes the claim's UID, then the phase; the phase may be an older one, too.
    for (phase, uid) in [
        ("Released", None),
        ("Available", None),
        ("Available", Some("the next")),
        ("Released", Some("the next")),
        ("Bound", Some("the next")),
    ] {
        let volume = o.surroundings.volumes.get_mut(&name).unwrap();
        (volume.phase, volume.claim_uid) = (Some(phase.into()), uid.map(String::from));
        assert_eq!(next(&mut o), None, "{phase} {uid:?}: reserved again, the claim would be Lost");
    }
    assert_eq!(o.cluster.status.replication.unwrap().operations.len(), 1, "and announced still");
}

#[test]
fn a_volume_is_reserved_before_the_next_claim_can_get_another() {
    let mut o = waiting();
    asked_back(&mut o);
    let claim = o.instances.get_mut(&2).unwrap().claim.as_mut().unwrap();
    (claim.uid, claim.phase, claim.volume) = ("other".into(), Some("Bound".into()), Some("new".into()));
    assert_eq!(said(&o).reason, Reason::GiveBackRefused);
    o.instances.get_mut(&2).unwrap().claim.as_mut().unwrap().deleting = true;
    assert!(matches!(next(&mut o), Some(Step::Record { .. })));
    let next = next(&mut o);
    assert_eq!(next.as_ref().map(Step::kind), Some("ReserveVolume"), "{next:?}");
}

/// A first try with a class that is not there, and the spec corrected.
#[test]
fn a_claim_of_a_class_that_the_spec_no_longer_asks_for_is_to_be_deleted() {
    let corrected = || {
        let mut o = waiting();
        o.instances.get_mut(&2).unwrap().claim.as_mut().unwrap().class = Some("typo".into());
        let ours = (NAMESPACE.to_owned(), "data-shop-2".to_owned());
        o.surroundings.volumes.retain(|_, volume| volume.claim.as_ref() != Some(&ours));
        o.cluster.spec.storage.class = Some("by-hand".into());
        o
    };
    let told = said(&corrected());
    assert_eq!(told.reason, Reason::OtherClass);
    let way = "'typo', and the spec asks for 'by-hand' by now: delete it, and it is made anew of that (kubectl delete pvc \
               data-shop-2 -n db)";
    assert!(told.message.contains(way), "{}", told.message);
    // The same where the class was taken out, and there is one default.
    let mut o = corrected();
    o.cluster.spec.storage.class = None;
    assert_ne!(said(&o).reason, Reason::OtherClass);
    o.surroundings.classes.get_mut("by-hand").unwrap().default = true;
    assert_eq!(said(&o).reason, Reason::OtherClass);
    // What may hold something is not to be deleted.
    let mut o = corrected();
    add(&mut o, "kept", |volume| volume.claim = Some((NAMESPACE.into(), "data-shop-2".into())));
    assert_ne!(said(&o).reason, Reason::OtherClass);
    let mut o = corrected();
    o.instances.get_mut(&2).unwrap().claim.as_mut().unwrap().class = Some("by-hand".into());
    assert_ne!(said(&o).reason, Reason::OtherClass);
}
