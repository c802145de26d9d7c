//! What planning comes to.

use jiff::SignedDuration;
use mainstay_crd::conditions::{DesiredCondition, Reason};
use mainstay_crd::{ClusterPhase, InstanceStatus, TemplateStatus};

use super::{Hold, Upkeep};
use crate::Step;

/// The outcome of planning.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The cluster's state in one word.
    pub phase: ClusterPhase,
    /// Cluster id to be used for the children; none while no child may be made or applied.
    pub cluster_id: Option<String>,
    /// What of the children is done then.
    pub upkeep: Upkeep,
    /// Number of pods that the StatefulSet is to have; at least as many as hold data that must stay.
    pub stateful_set_replicas: u32,
    /// The template that the StatefulSet is to hold.
    pub hold: Hold,
    /// `status.template`.
    pub template: Option<TemplateStatus>,
    /// Role labels that pods are to have: `None` is none. Applied before the step, demotions first.
    pub roles: Vec<(u32, Option<&'static str>)>,
    /// The one thing to do.
    pub step: Option<Step>,
    /// Conditions.
    pub conditions: Vec<DesiredCondition>,
    /// `status.instances`.
    pub instances: Vec<InstanceStatus>,
    /// The pod that serves writes.
    pub primary: Option<String>,
    /// Version of the primary's server.
    pub version: Option<String>,
    /// Instances that serve in their role.
    pub ready: u32,
    /// When to look again at the latest, because time alone will change what is to be done.
    pub look_again: Option<SignedDuration>,
}

/// What one question comes to.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "there are a handful at a time")]
pub(super) enum Decision {
    /// Something is to be done.
    Do(Step),
    /// It goes on by itself.
    Wait(Reason, String),
    /// A person must act.
    Blocked(Reason, String),
}
