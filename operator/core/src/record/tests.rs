use jiff::Timestamp;

use super::*;

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

fn copy(id: &str, ordinal: u32) -> Operation {
    Operation { donor: Some(0), ..Operation::new(id.into(), OperationKind::Clone, ordinal) }
}

/// One in which everything is filled in.
fn full() -> Record {
    let lost = Lost {
        from: "shop-1".into(),
        to: "shop-0".into(),
        at: at(1),
        known: "u:1".into(),
        seen_at: Some(at(1)),
        unheard: vec!["shop-2".into()],
    };
    let record =
        Record::default().rebuilt(0, Term { epoch: 4, revision: 7 }).lead_from(1, lost, "asked".into());
    let record = record.announce(copy("a", 2)).answer(Some("shop-1"));
    let record = record.hand_over(2, SwitchoverReason::Rolling, at(2), None).stands("u:1-9".into());
    record.ends(Ending { since: at(3), kept: Some("why".into()), copies: vec![0, 2] })
}

#[test]
fn what_is_written_is_read_back_the_same() {
    let record = full();
    let written = ReplicationRecord::from(record.clone());
    assert_eq!(Record::of(Some(&written)), record);
    assert_eq!(Record::of(None), Record::default());
    assert_eq!((written.epoch, written.revision, written.primary, written.target), (6, 11, Some(1), Some(2)));
    assert_eq!((written.operations[0].donor, written.operations[0].revision), (Some(0), 10));
    assert_eq!(written.ending.unwrap().copies, [0, 2]);
}

/// Nobody that is not there can be named, whatever a person wrote.
#[test]
fn a_primary_below_zero_is_none() {
    let written = ReplicationRecord { primary: Some(-1), target: Some(-2), ..ReplicationRecord::default() };
    let record = Record::of(Some(&written));
    assert_eq!((record.primary(), record.target()), (None, None));
}

/// The rule of the revision: what is announced, decided or ended raises it, and voids what was reported before;
/// what is only noted must not, or evidence that was asked for would not count when it comes.
#[test]
fn a_note_keeps_what_was_reported_as_evidence_and_all_else_voids_it() {
    let record = full();
    let noted = [
        ("stands", record.stands("u:1-10".into())),
        ("answer", record.answer(None)),
        ("answer_lead_from", record.answer_lead_from(Some("x"))),
        ("ends", record.ends(Ending { since: at(9), kept: None, copies: Vec::new() })),
    ];
    for (name, next) in noted {
        assert!(next.counts(record.term()), "{name}");
        assert_ne!(next, record, "{name} notes nothing");
    }
    let decided = [
        ("announce", record.announce(copy("b", 1))),
        ("announce_instead", record.announce_instead(copy("b", 2))),
        ("initialize", record.initialize(copy("b", 0))),
        ("end", record.end(|_| true).unwrap().0),
        ("hand_over", record.hand_over(0, SwitchoverReason::NodeDrain, at(4), None)),
        ("give_up", record.give_up("why".into(), at(4))),
    ];
    for (name, next) in decided {
        assert!(!next.counts(record.term()), "{name}");
        let raised = Term { revision: record.term().revision + 1, ..record.term() };
        assert_eq!(next.term(), raised, "{name}");
    }
    let led = [
        ("initialized", record.initialized(0)),
        ("promote", record.promote(2, at(4))),
        ("lead_from", record.lead_from(0, record.lost().unwrap().clone(), "asked".into())),
        ("rebuilt", record.rebuilt(2, Term { epoch: 3, revision: 2 })),
    ];
    for (name, next) in led {
        let raised = Term { epoch: record.term().epoch + 1, revision: record.term().revision + 1 };
        assert_eq!((next.term(), next.target()), (raised, None), "{name}");
    }
}

#[test]
fn what_is_rebuilt_is_above_all_that_any_instance_knows() {
    let record = full().rebuilt(1, Term { epoch: 99, revision: 3 });
    assert_eq!((record.term().epoch, record.primary()), (100, Some(1)));
    assert!(record.operations().is_empty() && record.lost().is_none(), "{record:?}");
    let most = Record::default().rebuilt(1, Term { epoch: u64::MAX, revision: u64::MAX });
    assert_eq!(ReplicationRecord::from(most.clone()).epoch, i64::MAX);
    assert_eq!(Record::of(Some(&most.clone().into())), most);
}

#[test]
fn an_operation_has_the_revision_that_announced_it() {
    let record =
        Record::default().announce(copy("a", 1)).announce(copy("b", 2)).announce_instead(copy("c", 1));
    let all: Vec<(&str, u64)> = record.operations().iter().map(|o| (o.id.as_str(), o.revision)).collect();
    assert_eq!(all, [("b", 2), ("c", 3)]);
    assert!(record.end(|operation| operation.id == "a").is_none(), "nothing ended, so nothing is written");
    let (next, ended) = record.end(|operation| operation.ordinal == 1).unwrap();
    assert_eq!((ended, next.operations().len()), (vec![1], 1));
}
