//! Which of several operators acts: a Lease, with the terms that Kubernetes' own controllers have. Shorter ones do not
//! outlast a slow API server, and an operator that begins anew makes it slower.
//!
//! A Lease fences nobody. What fences MySQL are epoch and revision in the record, in every order, and on each
//! volume; the Lease only keeps two operators from getting in each other's way.

use std::time::Duration;

use anyhow::bail;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use crate::api::said;
use crate::backoff::jittered;

/// Name of the Lease.
const LEASE: &str = "mainstay-controller";
/// For how long a leader that is not heard keeps the Lease.
const DURATION: Duration = Duration::from_secs(15);
/// A leader that could not renew for this long gives up.
const DEADLINE: Duration = Duration::from_secs(10);
/// Time between two tries.
const RETRY: Duration = Duration::from_secs(2);
/// Longest time for one try: what is not answered by then is tried again, by another connection.
const TRY: Duration = Duration::from_secs(4);

/// A candidate for the Lease.
pub(crate) struct Election {
    leases: Api<Lease>,
    identity: String,
    /// The Lease as last seen, and when it was first seen so: other machines' clocks are not asked.
    seen: Option<(Lease, Instant)>,
}

/// What one try came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The Lease is ours.
    Held,
    /// Another holds it.
    Taken,
    /// Somebody else wrote it just now; whoever that was, the next try will tell.
    Raced,
}

impl Election {
    pub(crate) fn new(client: Client, namespace: &str, identity: String) -> Self {
        Election { leases: Api::namespaced(client, namespace), identity, seen: None }
    }

    /// Returns once the Lease is ours.
    pub(crate) async fn won(&mut self) {
        loop {
            match timeout(TRY, self.attempt()).await {
                Ok(Ok(Outcome::Held)) => return info!(identity = self.identity, "leading"),
                Ok(Ok(Outcome::Taken | Outcome::Raced)) => debug!("standing by"),
                Ok(Err(error)) => warn!(error = said(&error), "the Lease can't be had"),
                Err(_) => warn!("the API server did not answer in {TRY:?}"),
            }
            // Those that began together do not come back together.
            sleep(jittered(RETRY)).await;
        }
    }

    /// Renews for as long as that works. Returns once the Lease is lost, or may be.
    pub(crate) async fn lost(&mut self) -> anyhow::Error {
        let mut renewed = Instant::now();
        loop {
            let left = DEADLINE.saturating_sub(renewed.elapsed());
            sleep(RETRY.min(left)).await;
            let left = DEADLINE.saturating_sub(renewed.elapsed());
            if left.is_zero() {
                return anyhow::anyhow!("the Lease could not be renewed for {DEADLINE:?}");
            }
            let begun = Instant::now();
            match timeout(TRY.min(left), self.attempt()).await {
                Ok(Ok(Outcome::Held)) => renewed = begun,
                Ok(Ok(Outcome::Raced)) => {}
                Ok(Ok(Outcome::Taken)) => return anyhow::anyhow!("another operator holds the Lease"),
                Ok(Err(error)) => warn!(error = said(&error), "the Lease was not renewed"),
                Err(_) => warn!("the Lease was not renewed: the API server did not answer in time"),
            }
        }
    }

    /// Gives the Lease back, so that the next leader need not wait for its end.
    ///
    /// # Errors
    /// If the API server does not take it.
    pub(crate) async fn release(&mut self) -> anyhow::Result<()> {
        let Some((mut lease, _)) = self.seen.take() else { return Ok(()) };
        if holder(&lease) != self.identity {
            return Ok(());
        }
        let Some(spec) = &mut lease.spec else { return Ok(()) };
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        self.leases.replace(LEASE, &PostParams::default(), &lease).await?;
        Ok(())
    }

    async fn attempt(&mut self) -> Result<Outcome, kube::Error> {
        // A leader knows the Lease as it wrote it last. If it is not so any more, the write is refused.
        if let Some((lease, _)) = self.seen.take_if(|(lease, _)| self.identity == holder(lease)) {
            return self.take(lease).await;
        }
        let Some(lease) = self.leases.get_opt(LEASE).await? else {
            let fresh = Lease {
                metadata: ObjectMeta { name: Some(LEASE.into()), ..ObjectMeta::default() },
                spec: Some(self.held(None)),
            };
            let written = self.leases.create(&PostParams::default(), &fresh).await;
            return self.settle(written);
        };
        self.see(&lease);
        if !self.free(&lease) {
            return Ok(Outcome::Taken);
        }
        self.take(lease).await
    }

    async fn take(&mut self, lease: Lease) -> Result<Outcome, kube::Error> {
        let next = Lease { spec: Some(self.held(lease.spec.as_ref())), ..lease };
        let written = self.leases.replace(LEASE, &PostParams::default(), &next).await;
        self.settle(written)
    }

    fn settle(&mut self, written: Result<Lease, kube::Error>) -> Result<Outcome, kube::Error> {
        match written {
            Ok(lease) => {
                self.see(&lease);
                Ok(Outcome::Held)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Outcome::Raced),
            Err(error) => Err(error),
        }
    }

    fn see(&mut self, lease: &Lease) {
        let known = self.seen.as_ref().is_some_and(|(seen, _)| {
            seen.metadata.resource_version == lease.metadata.resource_version
                && seen.metadata.uid == lease.metadata.uid
        });
        if !known {
            self.seen = Some((lease.clone(), Instant::now()));
        }
    }

    /// Ours, nobody's, or not renewed for as long as its holder said.
    fn free(&self, lease: &Lease) -> bool {
        let holder = holder(lease);
        if holder.is_empty() || holder == self.identity {
            return true;
        }
        let term = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        let term = term.and_then(|s| u64::try_from(s).ok());
        let term = term.map_or(DURATION, Duration::from_secs);
        self.seen.as_ref().is_some_and(|(_, since)| since.elapsed() >= term)
    }

    fn held(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let ours = before.filter(|spec| spec.holder_identity.as_deref() == Some(&self.identity));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(DURATION.as_secs() as i32),
            acquire_time: ours.and_then(|spec| spec.acquire_time.clone()).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if ours.is_some() { transitions } else { transitions + 1 }),
            ..LeaseSpec::default()
        }
    }
}

/// Who holds the Lease; empty if nobody does.
fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

/// The name by which this process holds the Lease.
///
/// # Errors
/// If it would be empty.
pub(crate) fn identity(given: Option<&str>) -> anyhow::Result<String> {
    match given {
        Some("") => bail!("--identity is empty"),
        // A container that restarts keeps its pod's name, but is another process.
        Some(name) => Ok(format!("{name}_{}", uuid::Uuid::new_v4())),
        None => Ok(format!("mainstay_{}", uuid::Uuid::new_v4())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Api as World;

    fn candidate(world: &World, name: &str) -> Election {
        Election::new(world.client(), "db", name.into())
    }

    async fn holds(candidate: &mut Election) -> bool {
        candidate.attempt().await.unwrap() == Outcome::Held
    }

    #[tokio::test(start_paused = true)]
    async fn one_leads_and_the_next_follows_once_it_was_released() {
        let world = World::default();
        let (mut first, mut second) = (candidate(&world, "a"), candidate(&world, "b"));
        first.won().await;
        assert!(!holds(&mut second).await);
        first.release().await.unwrap();
        assert!(holds(&mut second).await, "without waiting for the term to end");
        assert!(!holds(&mut first).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_is_heard_keeps_the_lease_and_one_that_is_not_loses_it() {
        let world = World::default();
        let (mut first, mut second) = (candidate(&world, "a"), candidate(&world, "b"));
        first.won().await;
        for _ in 0..20 {
            assert!(!holds(&mut second).await);
            sleep(RETRY).await;
            assert!(holds(&mut first).await);
        }
        // From here on the first is silent.
        assert!(!holds(&mut second).await);
        sleep(DURATION).await;
        assert!(holds(&mut second).await);
        let lost = first.lost().await.to_string();
        assert!(lost.contains("another operator"), "{lost}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_cannot_renew_gives_up_before_another_may_begin() {
        let world = World::default();
        let mut leader = candidate(&world, "a");
        leader.won().await;
        world.refuse("leases/mainstay-controller", 503);
        let begun = Instant::now();
        leader.lost().await;
        assert!(begun.elapsed() < DURATION);
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_is_never_answered_is_tried_again_within_the_deadline() {
        let world = World::default();
        let mut leader = candidate(&world, "a");
        leader.won().await;
        for _ in 0..3 {
            world.swallow(1);
            let outcome = timeout(DEADLINE + RETRY, leader.lost()).await;
            assert!(outcome.is_err(), "it lost the Lease by one try: {outcome:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_is_never_answered_gives_up_before_another_may_begin() {
        let world = World::default();
        let mut leader = candidate(&world, "a");
        leader.won().await;
        world.swallow(usize::MAX);
        let begun = Instant::now();
        leader.lost().await;
        assert!(begun.elapsed() >= DEADLINE && begun.elapsed() < DURATION);
    }

    #[tokio::test]
    async fn of_two_at_once_one_leads() {
        let world = World::default();
        let (mut first, mut second) = (candidate(&world, "a"), candidate(&world, "b"));
        let (a, b) = tokio::join!(first.attempt(), second.attempt());
        let held = [a.unwrap(), b.unwrap()].into_iter().filter(|outcome| *outcome == Outcome::Held).count();
        assert_eq!(held, 1);
    }
}
