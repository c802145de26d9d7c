//! What an agent and its server report once an order was carried out.

use jiff::Timestamp;
use mainstay_proto::{
    Action, Channel, Directory, Grant, GrantedRole, Identity, Marker, Order, Report, Server, ServerState,
    Stage, Task, TaskState, Term,
};

/// All that was ever committed.
const COMMITTED: &str = "3e11fa47-71ca-11e1-9e33-000000000000:1-10";

/// What an agent says of an empty volume.
pub(super) fn empty(identity: Identity) -> Report {
    Report {
        proto: mainstay_proto::VERSION,
        agent_version: "0".into(),
        identity,
        stage: Stage::Prepare,
        at: Timestamp::now(),
        highest: Term::default(),
        directory: Directory::Empty,
        task: None,
        server: Server::Stopped { last_exit: None },
        space: None,
        volume_silent_since: None,
        ending: false,
    }
}

/// Carries out `order`, in a moment.
pub(super) fn obey(report: &mut Report, order: &Order) {
    let term = Term { epoch: order.epoch, revision: order.revision };
    report.highest = term;
    report.task = Some(Task {
        id: order.id.clone(),
        term,
        kind: order.action.kind().into(),
        operation: order.action.operation().map(String::from),
        state: TaskState::Done,
        progress: None,
    });
    if let Some(operation) = order.action.operation() {
        come_up(report, order, operation);
    }
    let (Directory::Complete { marker }, Server::Running { state }) =
        (&mut report.directory, &mut report.server)
    else {
        return;
    };
    (state.awaits_operator, state.unconfirmed, state.read_at) = (false, false, Some(Timestamp::now()));
    let (role, channel) = match &order.action {
        Action::Lead { alone } => (Some(GrantedRole::Primary { alone: *alone }), None),
        Action::Follow { source } => {
            let channel = Channel {
                source_host: source.host.clone(),
                source_port: source.port,
                receiver_running: true,
                applier_running: true,
                lag_seconds: Some(0),
                ..Channel::default()
            };
            (Some(GrantedRole::Replica { source: source.clone() }), Some(channel))
        }
        _ => (None, None),
    };
    state.super_read_only = !matches!(order.action, Action::Lead { .. });
    state.channel = channel;
    marker.grant = role.map(|role| Grant { term, role });
}

/// The directory is complete, and the server runs on it.
fn come_up(report: &mut Report, order: &Order, operation: &str) {
    let server_uuid = format!("3e11fa47-71ca-11e1-9e33-{:012}", order.ordinal);
    report.stage = Stage::Serve;
    report.directory = Directory::Complete {
        marker: Marker {
            cluster_id: order.cluster_id.clone(),
            ordinal: order.ordinal,
            operation: operation.into(),
            server_uuid: server_uuid.clone(),
            grant: None,
        },
    };
    report.server = Server::Running {
        state: Box::new(ServerState {
            version: "9.7.4".into(),
            server_uuid,
            super_read_only: true,
            gtid_executed: COMMITTED.into(),
            gtid_at_start: Some(COMMITTED.into()),
            started_at: Some(Timestamp::now()),
            ..ServerState::default()
        }),
    };
}
