//! Which template the StatefulSet is to hold.
//!
//! With `OnDelete` it makes every new pod from the template that it holds, also of a pod that died by itself. So a template
//! of which no pod has served yet is there only while its first pod, the canary, is being made. For the rest of the time
//! the StatefulSet holds the last one that is proven, and whoever dies comes back as it was. Once the canary serves, the
//! new template is proven, and stays.

use jiff::SignedDuration;
use mainstay_crd::conditions::Reason;
use mainstay_crd::{TemplateStatus, TryingTemplate};
use mainstay_proto::Server;
use serde::{Deserialize, Serialize};

use crate::facts::Facts;
use crate::plan::{bootstrap, canary};
use crate::{Pod, moments};

/// How long the canary may take to be made. A pod that ends has a minute for that; the rest is for a quota that is
/// exhausted, an admission webhook, or a node that does not answer.
const CANARY: SignedDuration = SignedDuration::from_mins(3);

/// The template that the StatefulSet is to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum Hold {
    /// The one that the spec asks for.
    #[default]
    Wanted,
    /// The last one that is proven, by its hash.
    Proven(String),
}

/// What is known of the templates.
pub(in crate::plan) struct Templates<'a> {
    /// The hash that the spec asks for.
    pub(in crate::plan) wanted: &'a str,
    /// The hash of the last one of which a pod served, if any did.
    pub(in crate::plan) proven: Option<String>,
    /// The first pod of the wanted one, while that is not proven.
    pub(in crate::plan) canary: Option<u32>,
    /// The canary could not be made.
    pub(in crate::plan) given_up: bool,
}

impl<'a> Templates<'a> {
    pub(in crate::plan) fn of(facts: &Facts<'_>, wanted: &'a str) -> Self {
        let status = facts.observation.cluster.status.template.as_ref();
        let before = status.map(|status| status.proven.clone()).or_else(|| first_proven(facts));
        let served =
            facts.observation.instances.keys().any(|&i| hash(facts, i) == Some(wanted) && serves(facts, i));
        if before.is_none() || served || before.as_deref() == Some(wanted) {
            let proven = if served { Some(wanted.to_owned()) } else { before };
            return Templates { wanted, proven, canary: None, given_up: false };
        }
        let trying = status.and_then(|status| status.trying.as_ref()).filter(|trying| trying.hash == wanted);
        let canary = trying.and_then(|trying| u32::try_from(trying.ordinal).ok());
        let given_up = trying.is_some_and(|trying| trying.given_up);
        let late = trying.is_some_and(|trying| facts.seen_for(&moments::trying(trying)) >= CANARY);
        let being_made = |canary: u32| pod(facts, canary).is_none_or(|pod| pod.deleting);
        let made = |canary: u32| hash(facts, canary) == Some(wanted);
        // One that stands as it was is taken only while nothing else has become more pressing.
        let still = |canary: &u32| {
            let stands = !being_made(*canary) && !made(*canary) && !given_up;
            // One that no node takes as it is wanted either proves nothing: another is tried.
            let nowhere = made(*canary) && bootstrap::was_never_anywhere(facts, *canary);
            let first = || canary::first(facts, wanted) == Some(*canary);
            facts.ordinals().contains(canary) && !nowhere && (!stands || first())
        };
        let canary = canary.filter(still);
        let given_up = canary.is_some_and(|canary| !made(canary) && (given_up || late && being_made(canary)));
        Templates { wanted, proven: before, canary, given_up }
    }

    /// No pod of the wanted template has served yet, and there is another that did.
    pub(in crate::plan) fn untried(&self) -> bool {
        self.proven.as_deref().is_some_and(|proven| proven != self.wanted)
    }

    /// The hash that a pod of this ordinal is to have.
    pub(in crate::plan) fn of_pod(&self, ordinal: u32) -> &str {
        match &self.proven {
            Some(proven) if self.untried() && (self.given_up || self.canary != Some(ordinal)) => proven,
            _ => self.wanted,
        }
    }

    fn hold(&self, facts: &Facts<'_>) -> Hold {
        let made = self.canary.is_some_and(|canary| hash(facts, canary) == Some(self.wanted));
        match &self.proven {
            Some(proven) if self.untried() && (self.canary.is_none() || made || self.given_up) => {
                Hold::Proven(proven.clone())
            }
            _ => Hold::Wanted,
        }
    }
}

/// What is to be held, and what is to be remembered of it: a new leader must know who the canary is.
pub(in crate::plan) fn decide(facts: &Facts<'_>, wanted: &str) -> (Hold, Option<TemplateStatus>) {
    let mut templates = Templates::of(facts, wanted);
    if templates.untried() && templates.canary.is_none() {
        templates.canary = canary::first(facts, wanted);
    }
    let trying = templates.canary.map(|canary| TryingTemplate {
        hash: wanted.to_owned(),
        ordinal: i32::try_from(canary).unwrap_or(i32::MAX),
        given_up: templates.given_up,
    });
    let status = templates.proven.clone().map(|proven| TemplateStatus { proven, trying });
    (templates.hold(facts), status)
}

/// What is said of an instance that does not serve, if it is the first of a change: in Kubernetes' or MySQL's words, if
/// there are any.
pub(in crate::plan) fn tried_on(facts: &Facts<'_>, ordinal: u32) -> Option<(Reason, String)> {
    let templates = Templates::of(facts, facts.template_hash());
    let tried = templates.canary == Some(ordinal) && hash(facts, ordinal) == Some(templates.wanted);
    tried.then(|| {
        let name = facts.names.pod(ordinal);
        let tried =
            format!("the change of the spec is tried on {name} first, and the others stay as they were");
        match facts.pod_trouble(ordinal).or_else(|| last_exit(facts, ordinal)) {
            Some(why) => {
                let text = format!(
                    "{tried}. It does not serve: {why}. Change the spec; if it is right, mend what is in the way, and it \
                     goes on by itself"
                );
                (Reason::ChangeFailed, text)
            }
            None => (Reason::Rolling, format!("{tried}. It does not serve yet")),
        }
    })
}

fn last_exit(facts: &Facts<'_>, ordinal: u32) -> Option<String> {
    match &facts.live(ordinal)?.server {
        Server::Stopped { last_exit } => last_exit.clone(),
        _ => None,
    }
}

fn pod<'v>(facts: &Facts<'v>, ordinal: u32) -> Option<&'v Pod> {
    facts.instance(ordinal)?.pod.as_ref()
}

fn hash<'v>(facts: &Facts<'v>, ordinal: u32) -> Option<&'v str> {
    pod(facts, ordinal)?.template_hash.as_deref()
}

fn serves(facts: &Facts<'_>, ordinal: u32) -> bool {
    pod(facts, ordinal).is_some_and(|pod| pod.ready) && facts.ready(ordinal)
}

/// Of pods that were there before any of this was remembered: the template of one that serves, the primary's first.
fn first_proven(facts: &Facts<'_>) -> Option<String> {
    let all = facts.primary().into_iter().chain(facts.observation.instances.keys().copied());
    let serving = all.filter(|&i| serves(facts, i));
    serving.filter_map(|i| hash(facts, i)).next().map(String::from)
}
