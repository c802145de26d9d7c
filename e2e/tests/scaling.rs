//! Fewer instances and more again, while clients write: what is kept is used again where it can be.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use kube::api::ListParams;
use mainstay_crd::names::{ANNOTATION_GTID_SET, LABEL_ASIDE};
use mainstay_e2e::database::Database;
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::table::Identity;
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{checksum, note, table, wait};
use serde_json::json;

/// Importance 1: 5→3→5 under load. Claims are kept, and what comes back is what left.
#[tokio::test]
async fn scale_down_and_up() -> Result<(), Failed> {
    scope::run("scale_down_and_up", wait::LONG * 4, async |scope| {
        let database = scope.database("tide");
        database.start(5).await?;
        let before = table::identities(&database, 5).await?;
        let writer = Writer::start(&database, "tide", Duration::from_millis(5)).await?;
        writer.acknowledged(50).await?;
        database.scale(3).await?;
        for gone in &before[3..] {
            kept(&database, gone).await?;
        }
        writer.acknowledged(50).await?;
        database.scale(5).await?;
        let after = table::identities(&database, 5).await?;
        ensure!(after == before, "what was kept was not used again: {before:?}, {after:?}");
        writer.acknowledged(50).await?;
        writer.verify().await?;
        checksum::compare(&database, &[0, 1, 2, 3, 4]).await?;
        note!("instances:\n{}", table::of(scope, &database.names.cluster).await?);
        Ok(())
    })
    .await
}

/// Importance 1, in one run: 3→5→3→5 under load. What the first way up made, the second uses
/// again: claims, volumes and servers are the same, and every acknowledged row is on all five.
#[tokio::test]
async fn up_and_down_and_up() -> Result<(), Failed> {
    scope::run("up_and_down_and_up", wait::LONG * 5, async |scope| {
        let database = scope.database("swing");
        database.start(3).await?;
        let three = table::identities(&database, 3).await?;
        let writer = Writer::start(&database, "swing", Duration::from_millis(5)).await?;
        writer.acknowledged(50).await?;
        database.scale(5).await?;
        let five = table::identities(&database, 5).await?;
        ensure!(five[..3] == three[..], "an instance is another one now: {three:?}, {five:?}");
        writer.acknowledged(50).await?;

        database.scale(3).await?;
        ensure!(database.pods().await?.len() == 3, "there are other pods than three");
        for gone in &five[3..] {
            kept(&database, gone).await?;
        }
        // What comes back lacks these.
        writer.acknowledged(200).await?;

        database.scale(5).await?;
        let again = table::identities(&database, 5).await?;
        ensure!(again == five, "what was kept was not used again: {five:?}, {again:?}");
        writer.acknowledged(50).await?;
        let ready = database.ready().await?;
        ensure!(ready == [0, 1, 2, 3, 4], "only {ready:?} are Ready");
        writer.verify().await?;
        checksum::compare(&database, &[0, 1, 2, 3, 4]).await?;
        let claims = scope.api::<PersistentVolumeClaim>().list(&ListParams::default()).await?.items;
        ensure!(claims.len() == 5, "there are {} claims", claims.len());
        note!("instances:\n{}", table::of(scope, &database.names.cluster).await?);
        Ok(())
    })
    .await
}

/// The claim of an instance that left is the one that it had, and says what it holds.
async fn kept(database: &Database<'_>, gone: &Identity) -> Result<()> {
    let claim = database.claim(gone.ordinal).await?;
    ensure!(claim.uid().as_ref() == Some(&gone.claim_uid), "{} is another one", claim.name_any());
    ensure!(claim.metadata.deletion_timestamp.is_none(), "{} is being deleted", claim.name_any());
    ensure!(claim.annotations().contains_key(ANNOTATION_GTID_SET), "{} has no note", claim.name_any());
    Ok(())
}

/// Importance 1: the primary's ordinal goes, so another leads first; and as the primary purges
/// its binary logs meanwhile, what was kept can't catch up: it is set aside, not lost, and its instance cloned anew.
#[tokio::test]
async fn scale_below_the_primary() -> Result<(), Failed> {
    scope::run("scale_below_the_primary", wait::LONG * 4, async |scope| {
        let database = scope.database("ebb");
        database.start(3).await?;
        let before = table::identities(&database, 3).await?;
        database.hand_over_to(2).await?;
        let writer = Writer::start(&database, "ebb", Duration::from_millis(5)).await?;
        writer.acknowledged(50).await?;
        database.scale(1).await?;
        ensure!(database.primary().await? == 0, "instance {} leads", database.primary().await?);
        writer.acknowledged(50).await?;
        let mut primary = database.sql(0).await?;
        primary.exec("FLUSH BINARY LOGS").await?;
        primary.exec("PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 DAY").await?;
        writer.acknowledged(50).await?;
        database.scale(3).await?;
        writer.acknowledged(50).await?;
        writer.verify().await?;
        checksum::compare(&database, &[0, 1, 2]).await?;
        let after = table::identities(&database, 3).await?;
        note!("instances:\n{}", table::of(scope, &database.names.cluster).await?);
        ensure!(after[0] == before[0], "the instance that stayed is another one now: {:?}", after[0]);
        let aside = ListParams::default().labels(LABEL_ASIDE);
        let aside = scope.api::<PersistentVolumeClaim>().list(&aside).await?.items;
        for ordinal in [1, 2] {
            let (old, new) = (&before[ordinal], &after[ordinal]);
            ensure!(old.volume != new.volume, "instance {ordinal} could not have caught up: {new:?}");
            let kept = aside.iter().find(|claim| {
                claim.spec.as_ref().and_then(|spec| spec.volume_name.as_ref()) == Some(&old.volume)
            });
            let kept =
                kept.with_context(|| format!("the volume {} of instance {ordinal} is gone", old.volume))?;
            note!("{} is kept as {}", old.volume, kept.name_any());
        }
        Ok(())
    })
    .await
}

/// Importance 1 (I5): `Delete` takes the claims of instances that left, and only those.
#[tokio::test]
async fn claims_are_deleted_as_asked() -> Result<(), Failed> {
    scope::run("claims_deleted", wait::LONG * 3, async |scope| {
        let database = scope.database("slim");
        let delete = json!({"storage": {"size": "2Gi", "class": "network",
            "retention": {"whenScaled": {"policy": "Delete"}, "whenDeleted": {"policy": "Delete"}}}});
        database.create(3, delete).await?;
        database.healthy(3, wait::LONG).await?;
        let claims = scope.api::<PersistentVolumeClaim>();
        database.scale(2).await?;
        wait::gone(&claims, &database.names.claim(2), None, wait::LONG).await?;
        let kept = table::identities(&database, 2).await?;
        database.scale(3).await?;
        ensure!(table::identities(&database, 2).await? == kept, "a claim that was in use is another one now");
        database.delete().await?;
        for ordinal in 0..3 {
            wait::gone(&claims, &database.names.claim(ordinal), None, wait::LONG).await?;
        }
        Ok(())
    })
    .await
}
