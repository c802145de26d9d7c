//! Fewer instances and more again, while clients write and the operator is killed at every step.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use mainstay_crd::InstanceState;
use mainstay_crd::names::ANNOTATION_GTID_SET;
use mainstay_e2e::database::Database;
use mainstay_e2e::moments::{Moment, Moments};
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{checksum, note, table, wait};
use serde_json::{Value, json};

/// Some moments are over in less time than a kill takes: those are tried again with the next round.
const ROUNDS: usize = 4;

/// 3→5 with new claims, and 5→3 without the primary's instance, under `Delete`.
const MADE_AND_DELETED: [Moment; 8] = [
    ("the clone of 3 is announced", |s| s.wanted == 5 && s.clone_announced(3)),
    ("the clone of 4 is announced", |s| s.wanted == 5 && s.clone_announced(4)),
    ("the last clone has ended and is not Ready", |s| {
        let joins =
            |i| s.instance(i, |state| matches!(state, InstanceState::Joining | InstanceState::Starting));
        s.wanted == 5 && !s.clone_announced(3) && !s.clone_announced(4) && (joins(3) || joins(4))
    }),
    ("the switchover is announced", |s| s.wanted == 3 && s.record().target.is_some()),
    ("another is recorded as primary, and nobody has left", |s| {
        s.wanted == 3 && s.record().primary.is_some_and(|p| p < 3) && s.status.replicas == 5 && !s.noted(4)
    }),
    ("the claim of 4 says what it holds", |s| s.wanted == 3 && s.noted(4)),
    ("the claim of 3 says what it holds", |s| s.wanted == 3 && s.noted(3)),
    ("one claim goes, and the other does not yet", |s| s.wanted == 3 && s.claimed(3) != s.claimed(4)),
];

/// 5→3 and 3→5 under `Retain`.
const KEPT_AND_USED_AGAIN: [Moment; 4] = [
    ("the claim of 4 is kept, and its pod is there", |s| {
        s.wanted == 3 && s.noted(4) && s.status.replicas == 5
    }),
    ("both claims are kept, and a pod is there", |s| {
        s.wanted == 3 && s.noted(3) && s.noted(4) && s.status.replicas > 3
    }),
    ("what 3 held is used again, and its claim says still that it is kept", |s| {
        s.wanted == 5 && s.noted(3) && s.status.replicas == 5
    }),
    ("one claim says that it is kept, and the other no longer", |s| {
        s.wanted == 5 && s.noted(3) != s.noted(4)
    }),
];

/// Importance 1 (I7): whatever was begun is ended by the next operator. Each moment is seen, and
/// the operator killed at it.
#[tokio::test]
async fn scaling_with_the_operator_killed() -> Result<(), Failed> {
    scope::run("scaling_killed", wait::LONG * 6, async |scope| {
        let database = scope.database("worn");
        database.create(3, retention("Delete")).await?;
        database.healthy(3, wait::LONG).await?;
        let before = table::identities(&database, 3).await?;
        let writer = Writer::start(&database, "worn", Duration::from_millis(5)).await?;
        writer.acknowledged(50).await?;

        let claims = scope.api::<PersistentVolumeClaim>();
        let mut moments = Moments::new(&MADE_AND_DELETED);
        for round in 1..=ROUNDS {
            note!("made and deleted, round {round}");
            moments.scale(&database, 5, wait::LONG).await?;
            let five = table::identities(&database, 5).await?;
            ensure!(five[..3] == before[..], "an instance is another one now: {before:?}, {five:?}");
            writer.acknowledged(50).await?;
            database.hand_over_to(4).await?;
            moments.scale(&database, 3, wait::LONG).await?;
            ensure!(table::identities(&database, 3).await? == before, "an instance is another one now");
            for gone in [3, 4] {
                wait::gone(&claims, &database.names.claim(gone), None, wait::LONG).await?;
            }
            if moments.is_done() {
                break;
            }
        }
        moments.done()?;
        note!("killed {} times", moments.kills);
        database.patch(retention("Retain")).await?;
        kept_and_used_again(&database, &writer).await?;
        writer.acknowledged(50).await?;
        writer.verify().await?;
        checksum::compare(&database, &[0, 1, 2, 3, 4]).await
    })
    .await
}

async fn kept_and_used_again(database: &Database<'_>, writer: &Writer<'_>) -> Result<()> {
    let mut moments = Moments::new(&KEPT_AND_USED_AGAIN);
    database.scale(5).await?;
    let five = table::identities(database, 5).await?;
    for round in 1..=ROUNDS {
        note!("kept and used again, round {round}");
        moments.scale(database, 3, wait::LONG).await?;
        for gone in &five[3..] {
            let claim = database.claim(gone.ordinal).await?;
            ensure!(claim.uid().as_ref() == Some(&gone.claim_uid), "{} is another one", claim.name_any());
            ensure!(
                claim.annotations().contains_key(ANNOTATION_GTID_SET),
                "{} has no note",
                claim.name_any()
            );
        }
        writer.acknowledged(50).await?;
        moments.scale(database, 5, wait::LONG).await?;
        let again = table::identities(database, 5).await?;
        ensure!(again == five, "what was kept was not used again: {five:?}, {again:?}");
        if moments.is_done() {
            break;
        }
    }
    note!("killed {} times", moments.kills);
    moments.done()
}

fn retention(policy: &str) -> Value {
    json!({"storage": {"retention": {"whenScaled": {"policy": policy}}}})
}
