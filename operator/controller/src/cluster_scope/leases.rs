//! When nodes renewed their Leases, by our own clock: what another machine's clock says is not compared with ours, only
//! whether it has changed. Asked only of nodes on which an instance is silent, one request for each and time, and never
//! waited for: an answer that says something new calls for a look at whoever asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use tracing::debug;

use crate::watch::Caller;

/// The namespace of the nodes' Leases, each of which has its node's name. Source: Kubernetes, "Leases", "Node heartbeats".
const NAMESPACE: &str = "kube-node-lease";
/// How long an answer is good for.
const FRESH: SignedDuration = SignedDuration::from_secs(4);
/// Answers further apart than this say nothing about the time in between; what was not asked for again by then is
/// forgotten.
const GAP: SignedDuration = SignedDuration::from_secs(15);
/// Longest time that one request may take.
const BOUND: Duration = Duration::from_secs(3);

/// What was seen of Leases, by node.
pub(crate) struct Leases {
    client: Client,
    seen: Arc<Mutex<HashMap<String, Seen>>>,
}

/// What was seen of one.
struct Seen {
    asked: Timestamp,
    answered: Option<Timestamp>,
    /// By the node's clock.
    renewed: Option<Timestamp>,
    /// By ours.
    since: Timestamp,
    /// Who is told of the answer.
    waiting: Vec<Caller>,
}

impl Seen {
    fn nothing(asked: Timestamp) -> Self {
        Seen { asked, answered: None, renewed: None, since: asked, waiting: Vec::new() }
    }

    /// Notes an answer, and calls who waits for it if it says something new.
    fn answer(&mut self, renewed: Option<Timestamp>, now: Timestamp) {
        let before = self.unrenewed_since(now);
        let followed = self.answered.is_some_and(|at| now.duration_since(at) <= GAP);
        if !followed || self.renewed != renewed {
            self.since = now;
        }
        (self.answered, self.renewed) = (Some(now), renewed);
        let new = self.unrenewed_since(now) != before;
        self.waiting.drain(..).filter(|_| new).for_each(|caller| caller.call());
    }

    /// Since when it is as it is, as far as that is known now.
    fn unrenewed_since(&self, now: Timestamp) -> Option<Timestamp> {
        let known = self.answered.is_some_and(|at| now.duration_since(at) <= GAP);
        (known && self.renewed.is_some()).then_some(self.since)
    }
}

impl Leases {
    /// Nothing was asked yet.
    pub(crate) fn new(client: Client) -> Self {
        Leases { client, seen: Arc::default() }
    }

    /// Since when `node` has not renewed its Lease; asks anew if that is old.
    pub(crate) fn unrenewed_since(&self, caller: &Caller, node: &str, now: Timestamp) -> Option<Timestamp> {
        let mut all = lock(&self.seen);
        if let Some(seen) = all.get_mut(node)
            && now.duration_since(seen.asked) < FRESH
        {
            caller.join(&mut seen.waiting);
            return seen.unrenewed_since(now);
        }
        all.retain(|_, seen| now.duration_since(seen.asked) <= GAP);
        let seen = all.entry(node.to_owned()).or_insert_with(|| Seen::nothing(now));
        seen.asked = now;
        caller.join(&mut seen.waiting);
        let known = seen.unrenewed_since(now);
        drop(all);
        self.ask(node.to_owned());
        known
    }

    fn ask(&self, node: String) {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), NAMESPACE);
        let all = self.seen.clone();
        tokio::spawn(async move {
            match tokio::time::timeout(BOUND, api.get_opt(&node)).await {
                Ok(Ok(lease)) => {
                    let renewed = lease.and_then(|lease| lease.spec?.renew_time).map(|at| at.0);
                    if let Some(seen) = lock(&all).get_mut(&node) {
                        seen.answer(renewed, Timestamp::now());
                    }
                }
                Ok(Err(error)) => debug!(node, %error, "the node's Lease can't be read"),
                Err(_) => debug!(node, "the node's Lease was not read in time"),
            }
        });
    }
}

fn lock(seen: &Mutex<HashMap<String, Seen>>) -> MutexGuard<'_, HashMap<String, Seen>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn only_changes_count_and_what_the_nodes_clock_says_does_not() {
        let mut seen = Seen::nothing(at(0));
        assert_eq!(seen.unrenewed_since(at(1)), None, "nothing is known");
        // A clock that is years away.
        for second in [1, 5, 9] {
            seen.answer(Some(at(1_000_000)), at(second));
        }
        assert_eq!(seen.unrenewed_since(at(10)), Some(at(1)));
        seen.answer(Some(at(1_000_010)), at(11));
        assert_eq!(seen.unrenewed_since(at(12)), Some(at(11)), "it was renewed");
    }

    #[test]
    fn what_nobody_looked_at_is_not_known() {
        let mut seen = Seen::nothing(at(0));
        seen.answer(Some(at(7)), at(1));
        assert_eq!(seen.unrenewed_since(at(30)), None, "no answer for long: the API server may be away");
        seen.answer(Some(at(7)), at(30));
        assert_eq!(seen.unrenewed_since(at(31)), Some(at(30)));
        seen.answer(None, at(32));
        assert_eq!(seen.unrenewed_since(at(33)), None, "there is no Lease");
    }
}
