//! What is said of a volume, from the claim that asks for it to its end.

use mainstay_crd::conditions::Reason;
use serde_json::json;

use super::well::{Change, away, claim, pending, pod, storage_ready, volume_of, well};
use super::world::{NAME, NAMESPACE};
use crate::{Agent, Class, Observation, Volume, plan};

fn free(o: &mut Observation, change: impl FnOnce(&mut Volume)) {
    let mut volume = Volume {
        name: "pv-free".into(),
        phase: Some("Available".into()),
        class: Some("by-hand".into()),
        capacity: Some(2 << 30),
        access_modes: vec!["ReadWriteOnce".into()],
        ..Volume::default()
    };
    change(&mut volume);
    let class = Class { provisioner: "kubernetes.io/no-provisioner".into(), ..Class::default() };
    o.surroundings.classes.insert("by-hand".into(), class);
    o.surroundings.volumes.insert(volume.name.clone(), volume);
    pending(o);
    claim(o, 2).class = Some("by-hand".into());
}

/// What happens in a volume's life, the reason that is given, and what must be in the message.
#[allow(clippy::too_many_lines, reason = "a table")]
fn life() -> Vec<(&'static str, Change, Reason, &'static [&'static str])> {
    vec![
        (
            "made",
            |o| pending(o),
            Reason::Provisioning,
            &["data-shop-2", "waits for csi to make a volume of the class fast"],
        ),
        (
            "refused by its provisioner",
            |o| {
                pending(o);
                claim(o, 2).warning = Some("ProvisioningFailed: quota exceeded".into());
            },
            Reason::ProvisioningFailed,
            &["quota exceeded"],
        ),
        (
            "no class",
            |o| {
                pending(o);
                claim(o, 2).class = None;
            },
            Reason::NoDefaultClass,
            &["make a StorageClass the default"],
        ),
        (
            "no such class",
            |o| {
                pending(o);
                claim(o, 2).class = Some("gone".into());
            },
            Reason::NoMatchingVolume,
            &["there is no StorageClass gone", "there is none"],
        ),
        (
            "waits for its pod",
            |o| {
                pending(o);
                o.surroundings.classes.get_mut("fast").unwrap().waits_for_consumer = true;
                pod(o, 2).node = None;
            },
            Reason::WaitsForConsumer,
            &["once shop-2 is scheduled"],
        ),
        (
            "waits for a pod that no node takes",
            |o| {
                pending(o);
                o.surroundings.classes.get_mut("fast").unwrap().waits_for_consumer = true;
                let pod = pod(o, 2);
                (pod.node, pod.trouble) = (None, Some("Unschedulable: 0/3 nodes: insufficient cpu".into()));
            },
            Reason::Unschedulable,
            &["insufficient cpu"],
        ),
        (
            "too small",
            |o| free(o, |volume| volume.capacity = Some(1)),
            Reason::NoMatchingVolume,
            &["pv-free has 1, not 1Gi"],
        ),
        (
            "of another class",
            |o| free(o, |volume| volume.class = Some("slow".into())),
            Reason::NoMatchingVolume,
            &["pv-free has the class 'slow', not 'by-hand'"],
        ),
        (
            "with another mode",
            |o| free(o, |volume| volume.access_modes = vec!["ReadOnlyMany".into()]),
            Reason::NoMatchingVolume,
            &["pv-free can't be mounted ReadWriteOnce"],
        ),
        (
            "reserved for another",
            |o| free(o, |volume| volume.claim = Some(("x".into(), "y".into()))),
            Reason::NoMatchingVolume,
            &["pv-free is reserved for x/y"],
        ),
        (
            "not selected",
            |o| {
                let selector = json!({"matchLabels": {"disk": "fast"}});
                o.cluster.spec.storage.selector = serde_json::from_value(selector).unwrap();
                free(o, |_| ());
            },
            Reason::NoMatchingVolume,
            &["labels that spec.storage.selector asks for"],
        ),
        (
            "wanted by two",
            |o| {
                free(o, |volume| volume.claim = Some(("x".into(), "y".into())));
                claim(o, 2).volume = Some("pv-free".into());
            },
            Reason::VolumeTaken,
            &["claim x/y's", "two claims can't have one volume"],
        ),
        (
            "left by an earlier claim of the name",
            |o| {
                free(o, |volume| {
                    volume.phase = Some("Released".into());
                    volume.claim = Some((NAMESPACE.into(), format!("data-{NAME}-2")));
                    volume.claim_uid = Some("earlier".into());
                });
            },
            Reason::VolumeReleased,
            &["pv-free", "mysql.mainstay.dev/give-back=pv-free"],
        ),
        (
            "vanished",
            |o| {
                away(o, 2);
                claim(o, 2).phase = Some("Lost".into());
            },
            Reason::ClaimLost,
            &["data-shop-2 is Lost", "delete data-shop-2 and shop-2"],
        ),
        (
            "vanished, and not noticed yet",
            |o| {
                let name = volume_of(o, 2).name.clone();
                o.surroundings.volumes.remove(&name);
            },
            Reason::ClaimLost,
            &["no longer exists"],
        ),
        (
            "its claim is deleted while it runs",
            |o| claim(o, 2).deleting = true,
            Reason::ClaimTerminating,
            &["it goes once the pod shop-2 has ended"],
        ),
        (
            "Released",
            |o| volume_of(o, 2).phase = Some("Released".into()),
            Reason::VolumeReleased,
            &["the claim that it was bound to was deleted"],
        ),
        ("Failed", |o| volume_of(o, 2).phase = Some("Failed".into()), Reason::VolumeFailed, &["has Failed"]),
        (
            "being deleted",
            |o| volume_of(o, 2).deleting = true,
            Reason::VolumeTerminating,
            &["goes with the claim"],
        ),
        (
            "still attached",
            |o| {
                away(o, 2);
                volume_of(o, 2).attached_to = vec!["node-0".into()];
            },
            Reason::AttachedElsewhere,
            &["still attached to node node-0", "shop-2 is on node node-2"],
        ),
        (
            "not mounted",
            |o| {
                away(o, 2);
                pod(o, 2).warning = Some("FailedMount: wrong fs type".into());
            },
            Reason::MountFailed,
            &["wrong fs type", "node-2"],
        ),
        (
            "its only node is gone",
            |o| {
                away(o, 2);
                volume_of(o, 2).hosts = Some(vec!["node-9".into()]);
                let pod = pod(o, 2);
                (pod.node, pod.trouble) = (None, Some("Unschedulable: 0/3 nodes".into()));
            },
            Reason::NodeGone,
            &["can only be mounted on node-9, which is gone", "replaceAfter"],
        ),
        (
            "unschedulable for another cause",
            |o| {
                away(o, 2);
                let pod = pod(o, 2);
                (pod.node, pod.trouble) = (None, Some("Unschedulable: 0/3 nodes: taints".into()));
            },
            Reason::Unschedulable,
            &["0/3 nodes: taints"],
        ),
        (
            "its class does not let it grow",
            |o| {
                o.cluster.spec.storage.size.0 = "2Gi".into();
                o.surroundings.classes.get_mut("fast").unwrap().expandable = false;
            },
            Reason::ExpansionRefused,
            &["the class fast, which does not allow it"],
        ),
        (
            "grows",
            |o| {
                o.cluster.spec.storage.size.0 = "2Gi".into();
                for ordinal in 0..3 {
                    claim(o, ordinal).requested = Some(2 << 30);
                }
                claim(o, 0).resizing = Some("FileSystemResizePending: on start".into());
            },
            Reason::Growing,
            &["FileSystemResizePending"],
        ),
        (
            "full",
            |o| {
                let Agent::Live { report, .. } = &mut o.instances.get_mut(&2).unwrap().agent else {
                    panic!()
                };
                let last_exit = Some("exit status 1: OS errno 28 - No space left on device".into());
                report.server = mainstay_proto::Server::Stopped { last_exit };
            },
            Reason::VolumeFull,
            &["the volume of shop-2 is full", "raise spec.storage.size above 1Gi"],
        ),
        (
            "silent",
            |o| {
                let Agent::Live { report, .. } = &mut o.instances.get_mut(&2).unwrap().agent else {
                    panic!()
                };
                report.volume_silent_since = Some("2026-01-02T03:04:05.678Z".parse().unwrap());
                // It is not known how full it is now.
                report.space = Some(mainstay_proto::Space::default());
            },
            Reason::VolumeSilent,
            &["the volume of shop-2 has not answered since 2026-01-02T03:04:05Z", "node node-2"],
        ),
    ]
}

#[test]
fn every_turn_in_a_volumes_life_has_its_reason_and_says_what_to_do() {
    for (name, change, reason, fragments) in life() {
        let mut o = well();
        change(&mut o);
        let condition = storage_ready(&o);
        assert_eq!(
            (condition.status, condition.reason),
            (Some(false), reason),
            "{name}: {}",
            condition.message
        );
        for fragment in fragments {
            assert!(
                condition.message.contains(fragment),
                "{name}: '{fragment}' is not in: {}",
                condition.message
            );
        }
    }
}

#[test]
fn when_all_is_well_that_is_said_and_what_cannot_be_seen_too() {
    let mut o = well();
    let condition = storage_ready(&o);
    assert_eq!((condition.status, condition.reason), (Some(true), Reason::AsExpected));
    o.surroundings = crate::Surroundings { unseen: vec!["nodes".into()], ..crate::Surroundings::default() };
    let condition = storage_ready(&o);
    assert_eq!(condition.status, Some(true));
    assert!(condition.message.contains("may not read nodes"), "{}", condition.message);
    assert_eq!(plan(&o).step, None, "what can't be seen is no reason to act");
}
