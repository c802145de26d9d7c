use mainstay_proto::History;

use super::*;

fn identity() -> Identity {
    Identity { cluster_id: "c".into(), pod_uid: "uid".into(), ordinal: 1, ..Identity::default() }
}

fn order(action: Action) -> Order {
    let (cluster_id, pod_uid) = ("c".into(), "uid".into());
    let id = "5.5".to_owned();
    Order {
        proto: 1,
        id,
        cluster_id,
        pod_uid,
        ordinal: 1,
        epoch: 5,
        revision: 5,
        action,
        disabled_events: None,
    }
}

fn initialize(operation: &str) -> Action {
    Action::Initialize { operation: operation.into() }
}

fn clone(operation: &str, host: &str) -> Action {
    Action::Clone {
        operation: operation.into(),
        donor: endpoint(host),
        max_mib_per_second: None,
        history: History::default(),
    }
}

fn endpoint(host: &str) -> Endpoint {
    Endpoint { host: host.into(), port: 3306 }
}

fn follow(host: &str) -> Action {
    Action::Follow { source: endpoint(host) }
}

fn complete(role: Option<GrantedRole>) -> Directory {
    let grant = role.map(|role| Grant { term: Term::default(), role });
    Directory::Complete { marker: Marker { operation: "done".into(), grant, ..Marker::default() } }
}

/// Partial by the operation `begun`.
fn partial(copied: bool) -> Directory {
    Directory::Partial { operation: "begun".into(), cluster_id: "c".into(), copied }
}

fn running(read_only: bool, channel: Option<(&str, bool)>) -> Server {
    let channel = channel.map(|(host, runs)| Channel {
        source_host: host.into(),
        source_port: 3306,
        receiver_running: runs,
        applier_running: true,
        ..Channel::default()
    });
    let state = ServerState { super_read_only: read_only, channel, ..ServerState::default() };
    Server::Running { state: Box::new(state) }
}

/// The decision's name: `Begin`, `Continue`, `Done`, or the reason of a refusal.
fn name(decision: &Decision) -> String {
    match decision {
        Decision::Refuse(reason, _) => format!("{reason:?}"),
        other => format!("{other:?}"),
    }
}

struct Case {
    stage: Stage,
    directory: Directory,
    received: bool,
    server: Server,
    running: Option<Action>,
    highest: Term,
    writable: bool,
    ending: bool,
}

fn prepare(directory: Directory) -> Case {
    Case {
        stage: Stage::Prepare,
        directory,
        received: false,
        server: Server::Stopped { last_exit: None },
        running: None,
        highest: Term { epoch: 5, revision: 5 },
        writable: false,
        ending: false,
    }
}

fn serve(role: Option<GrantedRole>, server: Server) -> Case {
    Case { stage: Stage::Serve, server, ..prepare(complete(role)) }
}

fn decided(case: &Case, order: &Order) -> String {
    name(&admitted(case, order).decision)
}

fn admitted(case: &Case, order: &Order) -> Admission {
    let view = View {
        identity: &identity(),
        stage: case.stage,
        highest: case.highest,
        directory: &case.directory,
        received: case.received,
        server: &case.server,
        running: case.running.as_ref(),
        writable: case.writable,
        ending: case.ending,
    };
    admit(order, &view)
}

#[test]
fn an_order_for_another_or_from_the_past_is_refused() {
    let case = prepare(Directory::Empty);
    let right = order(initialize("op"));
    assert_eq!(decided(&case, &right), "Begin");
    assert_eq!(decided(&case, &Order { cluster_id: "other".into(), ..right.clone() }), "NotMe");
    assert_eq!(decided(&case, &Order { pod_uid: "other".into(), ..right.clone() }), "NotMe");
    assert_eq!(decided(&case, &Order { ordinal: 2, ..right.clone() }), "NotMe");
    assert_eq!(decided(&case, &Order { revision: 4, ..right.clone() }), "Outdated");
    assert_eq!(decided(&case, &Order { epoch: 4, revision: 9, ..right.clone() }), "Outdated");
    assert_eq!(decided(&case, &Order { epoch: 6, revision: 0, ..right }), "Begin");
}

#[test]
fn only_an_empty_or_own_partial_directory_is_prepared() {
    let foreign = Directory::Foreign { cluster_id: None, ordinal: None, message: "x".into() };
    let locked = Directory::Locked { holder: "x".into() };
    let unusable = Directory::Unusable { message: "x".into() };
    let others = Directory::Partial { operation: "begun".into(), cluster_id: "other".into(), copied: false };
    let table = [
        (prepare(Directory::Empty), initialize("op"), "Begin"),
        (prepare(Directory::Empty), clone("op", "a"), "Begin"),
        (prepare(partial(false)), initialize("begun"), "Begin"),
        (prepare(partial(false)), initialize("another"), "WrongDirectory"),
        (prepare(partial(false)), clone("another", "a"), "Begin"),
        (prepare(partial(true)), initialize("begun"), "WrongDirectory"),
        (prepare(partial(true)), clone("begun", "a"), "Begin"),
        (prepare(partial(true)), clone("another", "a"), "Begin"),
        (prepare(others), clone("another", "a"), "WrongDirectory"),
        (prepare(complete(None)), initialize("done"), "Done"),
        (prepare(complete(None)), clone("done", "a"), "Done"),
        (prepare(complete(None)), initialize("op"), "WrongDirectory"),
        (prepare(complete(None)), clone("op", "a"), "WrongDirectory"),
        (prepare(foreign), clone("op", "a"), "WrongDirectory"),
        (prepare(locked), initialize("op"), "WrongDirectory"),
        (prepare(unusable), initialize("op"), "WrongDirectory"),
        (Case { stage: Stage::Serve, ..prepare(Directory::Empty) }, initialize("op"), "WrongDirectory"),
    ];
    for (case, action, expected) in table {
        assert_eq!(decided(&case, &order(action.clone())), expected, "{:?} {action:?}", case.directory);
    }
}

#[test]
fn one_preparation_at_a_time() {
    let cloning = Case { running: Some(clone("op", "a")), ..prepare(partial(true)) };
    assert_eq!(decided(&cloning, &order(clone("op", "a"))), "Continue");
    assert_eq!(decided(&cloning, &order(clone("op", "b"))), "Continue");
    assert_eq!(decided(&cloning, &order(clone("op-2", "a"))), "Busy");
    assert_eq!(decided(&cloning, &order(initialize("op"))), "Busy");
}

#[test]
fn a_role_needs_a_complete_directory_and_a_server_that_answers() {
    let lead = order(Action::Lead { alone: false });
    assert_eq!(decided(&prepare(Directory::Empty), &lead), "WrongDirectory");
    assert_eq!(decided(&prepare(complete(None)), &lead), "NoServer");
    assert_eq!(decided(&serve(None, Server::Starting), &lead), "NoServer");
    assert_eq!(decided(&serve(None, Server::Silent { error: "x".into() }), &lead), "NoServer");
    assert_eq!(decided(&serve(None, running(true, None)), &lead), "Begin");
    assert_eq!(decided(&Case { ending: true, ..serve(None, running(true, None)) }, &lead), "NoServer");
}

#[test]
fn a_role_that_is_held_already_is_not_begun_again_and_any_difference_begins_it() {
    let primary = |alone| Some(GrantedRole::Primary { alone });
    let replica = |host: &str| Some(GrantedRole::Replica { source: endpoint(host) });
    let lead = |alone| Action::Lead { alone };
    let table = [
        (serve(primary(false), running(false, None)), lead(false), "Done"),
        (serve(primary(false), running(true, None)), lead(false), "Begin"),
        (serve(primary(true), running(false, None)), lead(false), "Begin"),
        (serve(None, running(false, None)), lead(false), "Begin"),
        (serve(primary(false), running(false, Some(("a", false)))), lead(false), "Begin"),
        (serve(replica("a"), running(true, Some(("a", true)))), follow("a"), "Done"),
        (serve(replica("a"), running(true, Some(("a", false)))), follow("a"), "Begin"),
        (serve(replica("a"), running(true, Some(("b", true)))), follow("a"), "Begin"),
        (serve(replica("a"), running(true, None)), follow("a"), "Begin"),
        (serve(replica("a"), running(true, Some(("a", true)))), follow("b"), "Begin"),
        (serve(replica("a"), running(false, Some(("a", true)))), follow("a"), "Begin"),
        (serve(None, running(true, None)), Action::StandDown, "Done"),
        (serve(None, running(true, Some(("a", false)))), Action::StandDown, "Done"),
        (serve(None, running(true, Some(("a", true)))), Action::StandDown, "Begin"),
        (serve(primary(false), running(true, None)), Action::StandDown, "Begin"),
        // The variable says read-only, but writes are still under way.
        (Case { writable: true, ..serve(None, running(true, None)) }, Action::StandDown, "Begin"),
    ];
    for (case, action, expected) in table {
        let seen = decided(&case, &order(action.clone()));
        assert_eq!(seen, expected, "{:?} {:?} {action:?}", case.directory, case.server);
    }
}

#[test]
fn a_newer_role_takes_the_place_of_one_that_is_being_taken_on() {
    let case = Case { running: Some(follow("a")), ..serve(None, running(true, None)) };
    assert_eq!(decided(&case, &order(follow("a"))), "Continue");
    assert_eq!(decided(&case, &order(follow("b"))), "Begin");
    // Even one that the server seems to be in already: what runs is about to change that.
    assert_eq!(decided(&case, &order(Action::StandDown)), "Begin");
}

#[test]
fn a_copy_is_received_by_its_own_container_once_and_all_else_is_for_the_next() {
    let receive = |operation: &str| Action::Receive {
        operation: operation.into(),
        donor: endpoint("a"),
        donor_ordinal: 0,
        compress: false,
        max_mib_per_second: None,
        from_primary: false,
        history: History::default(),
    };
    let at = |stage, directory, received| Case { stage, received, ..prepare(directory) };
    let pass = "Pass(\"the next container carries it out\")";
    let table = [
        (at(Stage::Receive, Directory::Empty, false), receive("op"), "Begin"),
        (at(Stage::Receive, partial(true), false), receive("begun"), "Begin"),
        (at(Stage::Receive, partial(true), false), receive("op"), "Begin"),
        // What is there is not wiped by the order that brought it, whichever container hears it.
        (at(Stage::Receive, partial(true), true), receive("begun"), "Done"),
        (at(Stage::Prepare, partial(true), true), receive("begun"), "Done"),
        (at(Stage::Prepare, partial(true), true), receive("op"), "WrongDirectory"),
        (at(Stage::Prepare, Directory::Empty, false), receive("op"), "WrongDirectory"),
        (at(Stage::Receive, complete(None), false), receive("done"), "Done"),
        (at(Stage::Receive, complete(None), false), receive("op"), "WrongDirectory"),
        (at(Stage::Receive, Directory::Empty, false), initialize("op"), pass),
        (at(Stage::Receive, partial(true), false), clone("op", "a"), pass),
        (at(Stage::Receive, complete(None), false), Action::Lead { alone: true }, "NoServer"),
    ];
    for (case, action, expected) in table {
        assert_eq!(decided(&case, &order(action.clone())), expected, "{action:?} at {:?}", case.directory);
    }
}

#[test]
fn what_was_seen_is_remembered_and_a_role_that_is_held_is_held_by_the_newer_order() {
    let held = serve(Some(GrantedRole::Primary { alone: false }), running(false, None));
    let lead = order(Action::Lead { alone: false });
    let term = Term { epoch: 5, revision: 5 };
    let renewed = Some(Grant { term, role: GrantedRole::Primary { alone: false } });
    assert_eq!(admitted(&held, &lead), Admission { decision: Decision::Done, seen: Some(term), renewed });
    // What is begun writes its own, once it is so.
    let begun = admitted(&held, &order(Action::Lead { alone: true }));
    assert_eq!((begun.seen, begun.renewed), (Some(term), None));
    let refused = admitted(&held, &order(initialize("op")));
    assert!(!refused.decision.accepts() && refused.seen == Some(term));
    for stranger in [Order { revision: 4, ..lead.clone() }, Order { ordinal: 2, ..lead }] {
        let refused = admitted(&held, &stranger);
        assert_eq!((refused.seen, refused.renewed), (None, None));
    }
}
