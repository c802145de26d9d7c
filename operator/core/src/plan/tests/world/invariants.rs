//! What must hold, whatever happens.

use mainstay_proto::Directory;

use super::World;

impl World {
    /// What must hold at any time.
    pub(crate) fn check(&self) {
        let writable: Vec<u32> = self.pods.iter().filter(|(_, p)| p.writable).map(|(&i, _)| i).collect();
        assert!(writable.len() <= 1, "I2: two are writable: {writable:?}");
        let Some(primary) = self.recorded_primary() else { return };
        if let Some(volume) =
            self.volumes.get(&primary).filter(|v| v.directory.is_some() && v.original.is_none())
        {
            assert!(volume.gtids.contains(&self.acknowledged), "I3: {primary} lacks acknowledged writes");
            assert_eq!(volume.history, self.history, "I3: the same numbers are of other writes");
        }
    }

    /// I4: nobody begins with nothing where anything is left.
    pub(super) fn assert_nothing_is_there(&self) {
        let mut all = self.volumes.values().chain(&self.released).chain(self.aside.values());
        let left = all.find(|volume| matches!(volume.directory, Some(Directory::Complete { .. })));
        assert!(left.is_none(), "I4: {left:?}");
    }

    /// A volume that still exists holds all that clients were told to be committed.
    pub(crate) fn nothing_is_lost(&self) -> bool {
        let volumes = self.volumes.values().chain(&self.released).chain(self.aside.values());
        let mut sets = volumes.map(|volume| &volume.gtids);
        self.acknowledged.is_empty() || sets.any(|held| held.contains(&self.acknowledged))
    }

    /// Somebody changed a volume behind the operator's back.
    pub(crate) fn any_tampered(&self) -> bool {
        self.volumes.values().any(|volume| volume.original.is_some())
    }

    /// Asserts that what came back differently does nothing (invariant I9).
    pub(crate) fn assert_quarantine(&self) {
        let tampered = self.volumes.iter().filter(|(_, volume)| volume.original.is_some());
        for (ordinal, _) in tampered {
            let Some(process) = self.pods.get(ordinal) else { continue };
            let receives = process.channel.as_ref().is_some_and(|c| c.receiver_running);
            assert!(!process.writable && !receives && process.role.is_none(), "{ordinal}: {process:?}");
        }
    }
}
