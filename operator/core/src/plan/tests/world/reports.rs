//! What is observed of an instance.

use mainstay_proto::{Directory, Identity, Report, Server, ServerState, Space, Stage};

use super::{NAME, Process, Volume, World};
use crate::{Agent, Claim, EARLIER, Heard, Instance, Pod};

impl World {
    pub(super) fn instance(&self, ordinal: u32) -> Instance {
        let claim = self.volumes.get(&ordinal).map(|volume| Claim {
            name: format!("data-{NAME}-{ordinal}"),
            uid: volume.claim_uid.clone(),
            cluster_id: volume.cluster_id.clone(),
            phase: Some(self.phase_of_claim(ordinal, volume).into()),
            volume: Some(volume.pv.clone()).filter(|_| !self.unbound.contains(&ordinal)),
            class: self.class.clone(),
            requested: self.class.as_ref().map(|_| volume.requested),
            capacity: self.class.as_ref().map(|_| volume.capacity),
            deleting: volume.deleting,
            resource_version: Some(volume.version.to_string()),
            annotations: volume.annotations.clone(),
            ..Claim::default()
        });
        let Some(process) = self.pods.get(&ordinal) else {
            return Instance { claim, ..Instance::default() };
        };
        let runs = process.runs && process.trouble.is_none();
        let serving = runs && (process.writable || process.channel.is_some());
        let pod = Pod {
            uid: process.uid.clone(),
            node: process.node.clone(),
            role: process.role.clone(),
            ready: serving && process.broken.is_none(),
            started: process.runs || process.broken.is_some(),
            template_hash: Some(process.hash.clone()),
            trouble: process.trouble.clone(),
            deleting: process.deleting,
            ..Pod::default()
        };
        let agent = match &process.broken {
            _ if !process.heard || process.trouble.is_some() => Agent::Unheard,
            Some((report, since)) => {
                Agent::Broken { report: report.clone(), since: *since, error: "timed out".into() }
            }
            None => Agent::Live { report: Box::new(self.report(ordinal, process)), heard_at: self.now },
        };
        // All of the world is read at one moment, so that nothing moves between two looks.
        let held = &self.volumes[&ordinal].gtids;
        let earlier = Some(Heard {
            at: self.now - EARLIER,
            gtid_executed: held.to_string(),
            gtid_received: String::new(),
            gtid_purged: self.volumes[&ordinal].purged.to_string(),
        });
        Instance { pod: Some(pod), claim, agent, earlier, dispatched: None }
    }

    fn phase_of_claim(&self, ordinal: u32, volume: &Volume) -> &'static str {
        match self.unbound.contains(&ordinal) {
            true => "Pending",
            false if volume.lost => "Lost",
            false => "Bound",
        }
    }

    pub(super) fn report(&self, ordinal: u32, process: &Process) -> Report {
        let volume = &self.volumes[&ordinal];
        let directory = volume.directory.clone().unwrap_or(Directory::Empty);
        let complete = matches!(directory, Directory::Complete { .. });
        let server = if let Directory::Complete { marker } = &directory {
            Server::Running {
                state: Box::new(ServerState {
                    version: "9.7.4".into(),
                    server_uuid: marker.server_uuid.clone(),
                    gtid_at_start: Some(process.at_start.to_string()),
                    started_at: Some(process.started_at),
                    awaits_operator: process.held,
                    unconfirmed: volume.unjudged.is_some(),
                    super_read_only: !process.writable,
                    gtid_executed: volume.gtids.to_string(),
                    gtid_purged: volume.purged.to_string(),
                    history: Some(volume.history),
                    channel: process.channel.clone(),
                    ..ServerState::default()
                }),
            }
        } else {
            Server::Stopped { last_exit: None }
        };
        Report {
            proto: 1,
            agent_version: "0".into(),
            identity: Identity {
                cluster_id: process.cluster_id.clone(),
                ordinal,
                pod_uid: process.uid.clone(),
                ..Identity::default()
            },
            stage: match (complete, process.passed) {
                (true, _) => Stage::Serve,
                (false, false) if self.spec.copy_tool_image().is_some() => Stage::Receive,
                (false, _) => Stage::Prepare,
            },
            at: self.now,
            highest: volume.highest,
            directory,
            task: process.task.clone(),
            space: self
                .class
                .as_ref()
                .map(|_| Space { free: if volume.full { 0 } else { 1 << 29 }, total: volume.capacity }),
            volume_silent_since: None,
            ending: process.ending,
            server,
        }
    }
}
