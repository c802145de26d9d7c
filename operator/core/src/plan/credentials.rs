//! Passwords that a person put into the cluster's Secret, looked at before anything hangs on them.

use std::collections::BTreeMap;

use mainstay_crd::conditions::Reason;
use mainstay_proto::password;
use mainstay_proto::pod::credentials::KEYS;

use super::{Decision, advice, bootstrap};
use crate::facts::Facts;
use crate::{Step, UnfitPassword};

/// The passwords in a Secret's `data` that no instance can take up. Keys that are missing or empty are not among them:
/// these the operator fills in.
pub fn unfit_passwords<V: AsRef<[u8]>>(data: &BTreeMap<String, V>) -> Vec<UnfitPassword> {
    let judge = |key: &str| password::unfit(key, data.get(key)?.as_ref());
    let found = KEYS.iter().filter_map(|key| Some((*key, judge(key)?)));
    let found = found.filter(|(_, unfit)| *unfit != password::Unfit::Empty);
    found.map(|(key, unfit)| UnfitPassword { key: key.into(), why: unfit.to_string() }).collect()
}

/// Says so. What runs goes on with the passwords that it has.
pub(super) fn decide(facts: &Facts<'_>) -> Option<Decision> {
    let unfit = &facts.observation.unfit;
    (!unfit.is_empty()).then(|| Decision::Blocked(Reason::InvalidCredentials, advice::unfit_passwords(facts)))
}

/// A cluster of which nothing is there yet is not begun with them; one that has data is.
pub(super) fn before_bootstrap(facts: &Facts<'_>) -> Option<Decision> {
    let decision = bootstrap::decide(facts)?;
    match &decision {
        Decision::Do(Step::Record { reason: Reason::Initializing, .. }) => decide(facts).or(Some(decision)),
        _ => Some(decision),
    }
}
