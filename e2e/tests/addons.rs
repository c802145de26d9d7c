//! Add-ons of the local cluster come and go, and leave nothing.

use std::process::Command;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use mainstay_e2e::exec::here;
use mainstay_e2e::faults::on_node;
use mainstay_e2e::scope::{self, Failed, Scope};
use mainstay_e2e::wait;

/// Kinds that belong to no namespace, of which an add-on makes some.
const KINDS: &str = "namespaces,storageclasses,csidrivers,customresourcedefinitions,clusterroles,\
                     clusterrolebindings,persistentvolumes,volumeattachments";

/// Importance 3.
#[tokio::test]
async fn csi_leaves_nothing() -> Result<(), Failed> {
    scope::run("csi_leaves_nothing", wait::LONG * 3, async |scope| {
        if !scope.env.addon("csi").await? {
            return Ok(());
        }
        scope.env.addon_down("csi").await?;
        leaves(&[
            "mainstay-csi",
            "disk.mainstay.dev",
            "snapshot.storage.k8s.io",
            "storageclass.storage.k8s.io/csi",
        ])?;
        let drivers = ["get", "csinodes", "-o", "jsonpath={.items[*].spec.drivers[*].name}"];
        wait::poll("the kubelets to forget the driver", wait::SHORT, || async {
            let known = here(Command::new("kubectl").args(drivers))?;
            Ok((!known.contains("disk.mainstay.dev")).then_some(()))
        })
        .await?;
        let find = r"find /var/lib/kubelet/plugins /var/lib/kubelet/plugins_registry /mnt/network \
                     -path '*disk.mainstay.dev*' -o -path '/mnt/network/csi*'";
        nothing_on_nodes(scope, find).await
    })
    .await
}

/// Importance 3.
#[tokio::test]
async fn gluster_leaves_nothing() -> Result<(), Failed> {
    scope::run("gluster_leaves_nothing", wait::LONG * 5, async |scope| {
        if !scope.env.addon("gluster").await? {
            return Ok(());
        }
        scope.env.addon_down("gluster").await?;
        leaves(&["mainstay-gluster"])?;
        let find = "findmnt --noheadings --output TARGET --types fuse.glusterfs; \
                    find /var/lib/mainstay-gluster /mnt/gluster -mindepth 1 2>/dev/null || true";
        nothing_on_nodes(scope, find).await
    })
    .await
}

/// Nothing in the API server has one of these in its name.
fn leaves(names: &[&str]) -> Result<()> {
    let all = here(Command::new("kubectl").args(["get", KINDS, "-o", "name"]))?;
    let left: Vec<&str> = all.lines().filter(|line| names.iter().any(|name| line.contains(name))).collect();
    ensure!(left.is_empty(), "left: {left:?}");
    Ok(())
}

/// Waits until a script that looks for remains finds none, on every node.
async fn nothing_on_nodes(scope: &Scope, find: &str) -> Result<()> {
    let nodes: Api<Node> = Api::all(scope.client());
    for node in nodes.list(&ListParams::default()).await? {
        let node = node.name_any();
        wait::poll(&format!("nothing to be left on {node}"), wait::SHORT, || async {
            let left = on_node(&node, &format!("set +e\n{find}\ntrue"), &[])?;
            ensure!(left.trim().is_empty(), "left: {left}");
            Ok(Some(()))
        })
        .await?;
    }
    Ok(())
}
