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

use super::{bootstrap, rollout};
use crate::facts::Facts;
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
pub(super) struct Templates<'a> {
    /// The hash that the spec asks for.
    pub(super) wanted: &'a str,
    /// The hash of the last one of which a pod served, if any did.
    pub(super) proven: Option<String>,
    /// The first pod of the wanted one, while that is not proven.
    pub(super) canary: Option<u32>,
    /// The canary could not be made.
    pub(super) given_up: bool,
}

impl<'a> Templates<'a> {
    pub(super) fn of(view: &Facts<'_>, wanted: &'a str) -> Self {
        let status = view.observation.cluster.status.template.as_ref();
        let before = status.map(|status| status.proven.clone()).or_else(|| first_proven(view));
        let served =
            view.observation.instances.keys().any(|&i| hash(view, i) == Some(wanted) && serves(view, i));
        if before.is_none() || served || before.as_deref() == Some(wanted) {
            let proven = if served { Some(wanted.to_owned()) } else { before };
            return Templates { wanted, proven, canary: None, given_up: false };
        }
        let trying = status.and_then(|status| status.trying.as_ref()).filter(|trying| trying.hash == wanted);
        let canary = trying.and_then(|trying| u32::try_from(trying.ordinal).ok());
        let given_up = trying.is_some_and(|trying| trying.given_up);
        let late = trying.is_some_and(|trying| view.seen_for(&moments::trying(trying)) >= CANARY);
        let being_made = |canary: u32| pod(view, canary).is_none_or(|pod| pod.deleting);
        let made = |canary: u32| hash(view, canary) == Some(wanted);
        // One that stands as it was is taken only while nothing else has become more pressing.
        let still = |canary: &u32| {
            let stands = !being_made(*canary) && !made(*canary) && !given_up;
            // One that no node takes as it is wanted either proves nothing: another is tried.
            let nowhere = made(*canary) && bootstrap::was_never_anywhere(view, *canary);
            let first = || rollout::first(view, wanted) == Some(*canary);
            view.ordinals().contains(canary) && !nowhere && (!stands || first())
        };
        let canary = canary.filter(still);
        let given_up = canary.is_some_and(|canary| !made(canary) && (given_up || late && being_made(canary)));
        Templates { wanted, proven: before, canary, given_up }
    }

    /// No pod of the wanted template has served yet, and there is another that did.
    pub(super) fn untried(&self) -> bool {
        self.proven.as_deref().is_some_and(|proven| proven != self.wanted)
    }

    /// The hash that a pod of this ordinal is to have.
    pub(super) fn of_pod(&self, ordinal: u32) -> &str {
        match &self.proven {
            Some(proven) if self.untried() && (self.given_up || self.canary != Some(ordinal)) => proven,
            _ => self.wanted,
        }
    }

    fn hold(&self, view: &Facts<'_>) -> Hold {
        let made = self.canary.is_some_and(|canary| hash(view, canary) == Some(self.wanted));
        match &self.proven {
            Some(proven) if self.untried() && (self.canary.is_none() || made || self.given_up) => {
                Hold::Proven(proven.clone())
            }
            _ => Hold::Wanted,
        }
    }
}

/// What is to be held, and what is to be remembered of it: a new leader must know who the canary is.
pub(super) fn decide(view: &Facts<'_>, wanted: &str) -> (Hold, Option<TemplateStatus>) {
    let mut templates = Templates::of(view, wanted);
    if templates.untried() && templates.canary.is_none() {
        templates.canary = rollout::first(view, wanted);
    }
    let trying = templates.canary.map(|canary| TryingTemplate {
        hash: wanted.to_owned(),
        ordinal: i32::try_from(canary).unwrap_or(i32::MAX),
        given_up: templates.given_up,
    });
    let status = templates.proven.clone().map(|proven| TemplateStatus { proven, trying });
    (templates.hold(view), status)
}

/// What is said of an instance that does not serve, if it is the first of a change: in Kubernetes' or MySQL's words, if
/// there are any.
pub(super) fn tried_on(view: &Facts<'_>, ordinal: u32) -> Option<(Reason, String)> {
    let templates = Templates::of(view, view.template_hash());
    let tried = templates.canary == Some(ordinal) && hash(view, ordinal) == Some(templates.wanted);
    tried.then(|| {
        let name = view.names.pod(ordinal);
        let tried =
            format!("the change of the spec is tried on {name} first, and the others stay as they were");
        match view.pod_trouble(ordinal).or_else(|| last_exit(view, ordinal)) {
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

fn last_exit(view: &Facts<'_>, ordinal: u32) -> Option<String> {
    match &view.live(ordinal)?.server {
        Server::Stopped { last_exit } => last_exit.clone(),
        _ => None,
    }
}

fn pod<'v>(view: &Facts<'v>, ordinal: u32) -> Option<&'v Pod> {
    view.instance(ordinal)?.pod.as_ref()
}

fn hash<'v>(view: &Facts<'v>, ordinal: u32) -> Option<&'v str> {
    pod(view, ordinal)?.template_hash.as_deref()
}

fn serves(view: &Facts<'_>, ordinal: u32) -> bool {
    pod(view, ordinal).is_some_and(|pod| pod.ready) && view.ready(ordinal)
}

/// Of pods that were there before any of this was remembered: the template of one that serves, the primary's first.
fn first_proven(view: &Facts<'_>) -> Option<String> {
    let all = view.primary().into_iter().chain(view.observation.instances.keys().copied());
    let serving = all.filter(|&i| serves(view, i));
    serving.filter_map(|i| hash(view, i)).next().map(String::from)
}
