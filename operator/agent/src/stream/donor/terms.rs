//! Whether a copy is given: everything that is looked at before the first byte.

use mainstay_proto::{GrantedRole, Identity};

use super::account::Account;
use super::slot::Taken;
use super::{Donor, refuse, size};
use crate::mysqld::BACKUP_FILE;
use crate::settings::Settings;
use crate::stream::adapter::CopyTool;
use crate::stream::messages::{Announce, Refusal, Request};
use crate::stream::reason::Reason;
use crate::volume::{MarkerFile, State, read_marker};

/// What was agreed on. While it lives, no other recipient is given to.
pub(super) struct Terms {
    /// The donor's tool.
    pub(super) tool: CopyTool,
    /// How the tool reaches the server.
    pub(super) account: Account,
    /// What is announced.
    pub(super) announce: Announce,
    /// The donor's slot.
    pub(super) _taken: Taken,
}

/// Agrees, or refuses with a reason.
pub(super) async fn agree(donor: &Donor, request: &Request) -> Result<Terms, Refusal> {
    let Settings { run, .. } = &*donor.settings;
    if donor.stop.is_cancelled() {
        return Err(refuse(Reason::Ending, "the donor is ending"));
    }
    let Identity { cluster_id, ordinal, .. } = &*donor.identity;
    if request.cluster_id != *cluster_id || request.donor != *ordinal {
        let message = format!("this is instance {ordinal} of the cluster with the id {cluster_id}");
        return Err(refuse(Reason::NotMe, message));
    }
    let holder = format!("instance {} (operation {:.64})", request.recipient, request.operation);
    let taken =
        donor.slot.take(&holder).map_err(|other| refuse(Reason::Busy, format!("it gives to {other}")))?;
    still_fits(&marker(donor).await, request)?;
    let tool = CopyTool::find().await.map_err(|error| refuse(Reason::NoTool, error.to_string()))?;
    let account = Account::read(&run.join(BACKUP_FILE)).map_err(|error| {
        refuse(Reason::NotReady, format!("the account's option file {BACKUP_FILE} can't be read: {error}"))
    })?;
    let server_version =
        account.server_version().await.map_err(|message| refuse(Reason::NotReady, message))?;
    fits(&tool, request, &server_version).map_err(|message| refuse(Reason::Version, message))?;
    let datadir = donor.settings.datadir();
    let total = tokio::task::spawn_blocking(move || size(&datadir)).await;
    let total_bytes = match total {
        Ok(Ok(total)) => total,
        Ok(Err(error)) => return Err(refuse(Reason::NotReady, format!("the data can't be read: {error}"))),
        Err(error) => return Err(refuse(Reason::NotReady, error.to_string())),
    };
    let announce = Announce { total_bytes, compressed: request.compress, server_version };
    Ok(Terms { tool, account, announce, _taken: taken })
}

/// The marker of the donor's volume, if it is this instance's.
pub(super) async fn marker(donor: &Donor) -> Result<MarkerFile, String> {
    let volume = donor.settings.volume.clone();
    let marker = match tokio::task::spawn_blocking(move || read_marker(&volume)).await {
        Ok(Ok(Some(marker))) => marker,
        Ok(Ok(None)) => return Err("the volume has no marker".to_owned()),
        Ok(Err(error)) => return Err(error.to_string()),
        Err(error) => return Err(error.to_string()),
    };
    let Identity { cluster_id, ordinal, .. } = &*donor.identity;
    if marker.cluster_id != *cluster_id || marker.ordinal != *ordinal {
        return Err("the data directory is another instance's".to_owned());
    }
    if marker.state == State::Complete {
        Ok(marker)
    } else {
        Err("the data directory is not complete".to_owned())
    }
}

/// Whether the instance may give; looked at again while it gives.
pub(super) fn still_fits(marker: &Result<MarkerFile, String>, request: &Request) -> Result<(), Refusal> {
    let marker = marker.as_ref().map_err(|message| refuse(Reason::NotReady, message.clone()))?;
    let leads = marker.grant.as_ref().is_some_and(|grant| matches!(grant.role, GrantedRole::Primary { .. }));
    if leads && !request.from_primary {
        return Err(refuse(Reason::Primary, "it leads, and is not to give while it does"));
    }
    Ok(())
}

/// Both tools have to fit the server: the donor's reads its files, the recipient's applies its redo log.
fn fits(tool: &CopyTool, request: &Request, server: &str) -> Result<(), String> {
    tool.kind.fits(tool.version, server)?;
    if request.tool != tool.kind {
        return Err(format!("the recipient has {}, the donor {}", request.tool.tool(), tool.kind.tool()));
    }
    request.tool.fits(request.tool_version, server).map_err(|message| format!("the recipient's {message}"))
}
