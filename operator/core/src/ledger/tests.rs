//! What is said of what came back.

use std::collections::BTreeMap;

use mainstay_crd::OperationKind;
use mainstay_proto::{Identity, Term};
use serde_json::json;

use super::*;
use crate::{Agent, ClusterObject, Surroundings};

const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

/// Instance 1 of three, of which instance 0 leads. What it left is in the ledger; the rest is as if it were back.
struct Back {
    volume: &'static str,
    handle: &'static str,
    node: &'static str,
    pod: &'static str,
    directory: Directory,
    at_start: Option<String>,
    operations: Vec<Operation>,
    known: bool,
    verdict: Option<Verdict>,
    ordinal: u32,
}

fn judged(observation: &Observation, record: &Record, ordinal: u32) -> Option<Verdict> {
    let names = Names::new("db", "shop");
    let case = Case::of(observation, &names, record, ordinal)?;
    judge(&case).map(Cow::into_owned)
}

fn complete(operation: &str) -> Directory {
    let marker = Marker { operation: operation.into(), server_uuid: "s".into(), ..Marker::default() };
    Directory::Complete { marker }
}

fn back() -> Back {
    Back {
        volume: "pv-1",
        handle: "csi:h1",
        node: "n1",
        pod: "pod-2",
        directory: complete("op-1"),
        at_start: Some(format!("{UUID}:1-10")),
        operations: Vec::new(),
        known: true,
        verdict: None,
        ordinal: 1,
    }
}

impl Back {
    fn report(&self) -> Report {
        let server_uuid = match &self.directory {
            Directory::Complete { marker } => marker.server_uuid.clone(),
            _ => String::new(),
        };
        let started_at = "2026-01-01T00:00:01.123456789Z".parse().ok();
        let state = ServerState {
            server_uuid,
            gtid_at_start: self.at_start.clone(),
            started_at,
            ..ServerState::default()
        };
        let runs = matches!(self.directory, Directory::Complete { .. });
        Report {
            proto: 1,
            agent_version: "0".into(),
            identity: Identity { pod_uid: self.pod.into(), ordinal: self.ordinal, ..Identity::default() },
            stage: if runs { Stage::Serve } else { Stage::Prepare },
            at: Timestamp::UNIX_EPOCH,
            highest: Term::default(),
            directory: self.directory.clone(),
            task: None,
            space: None,
            volume_silent_since: None,
            ending: false,
            server: if runs {
                Server::Running { state: Box::new(state) }
            } else {
                Server::Stopped { last_exit: None }
            },
        }
    }

    fn observation(&self) -> Observation {
        let name = format!("shop-{}", self.ordinal);
        let mut before: InstanceStatus = serde_json::from_value(json!({
            "name": name, "ordinal": self.ordinal, "ready": true, "state": "Ready",
            "ledger": {"claimUID": "c1", "volume": "pv-1", "volumeUID": "uid-pv-1", "handle": "csi:h1",
                "node": "n1", "operation": "op-1", "serverUUID": "s", "gtidExecuted": format!("{UUID}:1-9"),
                "seenAt": "2026-01-01T00:00:00Z"},
        }))
        .unwrap();
        before.verdict.clone_from(&self.verdict);
        let report = self.report();
        let claim = Claim {
            name: format!("data-{name}"),
            uid: "c1".into(),
            volume: Some(self.volume.into()),
            ..Claim::default()
        };
        let pod = Pod { uid: self.pod.into(), node: Some(self.node.into()), ..Pod::default() };
        let (source, handle) = self.handle.split_once(':').unwrap();
        let volume = Volume {
            uid: format!("uid-{}", self.volume),
            source: Some(source.into()),
            handle: Some(handle.into()),
            ..Volume::default()
        };
        let volumes =
            if self.known { BTreeMap::from([(self.volume.into(), volume)]) } else { BTreeMap::new() };
        let instance = Instance {
            pod: Some(pod),
            claim: Some(claim),
            agent: Agent::Live { report: Box::new(report), heard_at: Timestamp::UNIX_EPOCH },
            earlier: None,
            dispatched: None,
        };
        Observation {
            seen_for: Default::default(),
            now: Timestamp::UNIX_EPOCH,
            cluster: ClusterObject {
                namespace: "db".into(),
                name: "shop".into(),
                uid: "u".into(),
                generation: 1,
                created: None,
                deleting: false,
                annotations: BTreeMap::new(),
                finalizers: Vec::new(),
                spec: serde_json::from_value(json!({"image": "mysql:9.7", "storage": {"size": "1Gi"}}))
                    .unwrap(),
                status: serde_json::from_value(json!({"instances": [before]})).unwrap(),
            },
            fresh_id: "fresh".into(),
            secrets_cluster_id: None,
            instances: BTreeMap::from([(self.ordinal, instance)]),
            stateful_set: Some(crate::StatefulSetSeen::default()),
            pods_refused: None,
            aside: BTreeMap::new(),
            rivals: Vec::new(),
            unfit: Vec::new(),
            surroundings: Surroundings { known: self.known, volumes, ..Surroundings::default() },
        }
    }

    fn verdict(&self) -> Option<Verdict> {
        let announced = |record: Record, operation: &Operation| record.announce(operation.clone());
        let record = self.operations.iter().fold(Record::default().initialized(0), announced);
        judged(&self.observation(), &record, self.ordinal)
    }

    fn judgement(&self) -> Judgement {
        self.verdict().unwrap().judgement
    }
}

fn operation(id: &str) -> Operation {
    Operation { donor: Some(0), ..Operation::new(id.into(), OperationKind::Clone, 1) }
}

#[test]
fn what_was_said_of_a_start_holds_after_it_went_through_the_api() {
    let said = serde_json::to_value(back().verdict().unwrap()).unwrap();
    let verdict = Some(serde_json::from_value(said).unwrap());
    // The ledger has moved on since this start, which began with less.
    let later = Back { at_start: Some(format!("{UUID}:1-3")), verdict, ..back() };
    assert_eq!(later.judgement(), Judgement::SameVolume);
}

#[test]
fn every_way_to_come_back_has_its_judgement() {
    use Judgement::{NewVolumeEmpty, NewVolumeForeign, Partial, RolledBack, SameVolume, Wiped};
    let foreign = || Directory::Foreign { cluster_id: None, ordinal: None, message: "files".into() };
    let partial = |operation: &str| Directory::Partial {
        operation: operation.into(),
        cluster_id: "c".into(),
        copied: true,
    };
    let table = [
        ("as it left", back(), SameVolume),
        ("on another node", Back { node: "n2", ..back() }, SameVolume),
        ("nothing on the same volume", Back { directory: Directory::Empty, ..back() }, Wiped),
        (
            "nothing on another volume",
            Back { directory: Directory::Empty, volume: "pv-2", handle: "csi:h2", ..back() },
            NewVolumeEmpty,
        ),
        (
            "another volume, the same data",
            Back { volume: "pv-2", handle: "csi:h2", ..back() },
            NewVolumeForeign,
        ),
        ("the same storage under another name", Back { volume: "pv-2", ..back() }, SameVolume),
        ("the same name, other storage", Back { handle: "csi:h2", ..back() }, NewVolumeForeign),
        ("another's files", Back { directory: foreign(), ..back() }, NewVolumeForeign),
        ("an older copy of this instance", Back { directory: complete("op-0"), ..back() }, NewVolumeForeign),
        ("fewer transactions", Back { at_start: Some(format!("{UUID}:1-8")), ..back() }, RolledBack),
        ("no transactions", Back { at_start: Some(String::new()), ..back() }, RolledBack),
        ("exactly what was seen", Back { at_start: Some(format!("{UUID}:1-9")), ..back() }, SameVolume),
        ("half a copy", Back { directory: partial("op-x"), ..back() }, Partial),
        (
            "a clone that was announced",
            Back { directory: complete("op-2"), operations: vec![operation("op-2")], ..back() },
            SameVolume,
        ),
        (
            "set back right after its clone, which the record still announces",
            Back { operations: vec![operation("op-1")], at_start: Some(format!("{UUID}:1-8")), ..back() },
            RolledBack,
        ),
        ("when volumes can't be seen", Back { known: false, ..back() }, SameVolume),
        (
            "another name, when they can't be seen",
            Back { known: false, volume: "pv-2", ..back() },
            NewVolumeForeign,
        ),
    ];
    for (name, back, expected) in table {
        assert_eq!(back.judgement(), expected, "{name}: {}", back.verdict().unwrap().message);
    }
}

#[test]
fn a_path_of_another_node_is_the_same_volume_if_the_nodes_share_it() {
    let judged = |directory: Directory| {
        let mut observation =
            Back { handle: "hostPath:/disk", node: "n2", directory, ..back() }.observation();
        let entry = observation.cluster.status.instances[0].ledger.as_mut().unwrap();
        entry.handle = Some("hostPath:/disk".into());
        super::tests::judged(&observation, &Record::default(), 1).unwrap()
    };
    assert_eq!(judged(complete("op-1")).judgement, Judgement::SameVolume);
    assert_eq!(judged(complete("op-0")).judgement, Judgement::NewVolumeForeign);
    let empty = judged(Directory::Empty);
    assert_eq!(empty.judgement, Judgement::NewVolumeEmpty);
    assert!(empty.message.contains("node was n1, is n2"), "{}", empty.message);
}

#[test]
fn an_announced_copy_that_crashed_half_way_is_not_judged() {
    let directory = Directory::Partial { operation: "op-2".into(), cluster_id: "c".into(), copied: true };
    let half = Back { directory, operations: vec![operation("op-2")], ..back() };
    assert_eq!(half.verdict(), None);
}

#[test]
fn a_verdict_holds_until_the_next_start() {
    let bad = Back { at_start: Some(format!("{UUID}:1-8")), ..back() };
    let verdict = bad.verdict();
    assert_eq!(verdict.as_ref().unwrap().judgement, Judgement::RolledBack);
    // The same start, whatever else is known by now.
    let later = Back { verdict: verdict.clone(), ..back() };
    assert_eq!(later.verdict(), verdict);
    let next = Back { verdict, pod: "pod-3", ..back() };
    assert_eq!(next.judgement(), Judgement::SameVolume);
}

#[test]
fn what_is_seen_first_is_not_held_against_what_it_does_afterwards() {
    let mut observation = back().observation();
    let ledger = observation.cluster.status.instances[0].ledger.take();
    let record = Record::default();
    let first = judged(&observation, &record, 1);
    let status = &mut observation.cluster.status.instances[0];
    status.verdict.clone_from(&first);
    status.ledger = ledger.map(|l| LedgerEntry { gtid_executed: format!("{UUID}:1-99"), ..l });
    assert_eq!(judged(&observation, &record, 1), first);
    assert_eq!(first.unwrap().judgement, Judgement::SameVolume);
}

#[test]
fn the_message_has_the_evidence() {
    let lost = Back { directory: Directory::Empty, volume: "pv-2", handle: "csi:h2", node: "n2", ..back() };
    let message = lost.verdict().unwrap().message;
    for part in ["pv-1 (csi:h1)", "pv-2 (csi:h2)", "node was n1, is n2", UUID] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(!message.contains("delete"), "what to do depends on more than this: {message}");
}

#[test]
fn the_entry_stands_still_while_the_verdict_is_bad() {
    let names = Names::new("db", "shop");
    let record = Record::default();
    let noted = |back: &Back| {
        let observation = back.observation();
        let case = Case::of(&observation, &names, &record, 1).unwrap();
        note(&case, judge(&case).as_deref(), true).unwrap()
    };
    let bad = Back { at_start: Some(format!("{UUID}:1-8")), ..back() };
    assert_eq!(noted(&bad).gtid_executed, format!("{UUID}:1-9"));
    let good = noted(&Back { node: "n2", ..back() });
    assert_eq!((good.node.as_deref(), good.handle.as_deref()), (Some("n2"), Some("csi:h1")));
    let unseen = noted(&Back { known: false, ..back() });
    assert_eq!(unseen.handle.as_deref(), Some("csi:h1"), "what can't be seen has not changed for that");
}
