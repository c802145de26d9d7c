//! Cloning by MySQL's CLONE plugin. Manual: "Cloning Remote Data".

use std::time::{Duration, Instant};

use mainstay_proto::{Endpoint, Progress};

use crate::credentials::Credentials;
use crate::hub::Hub;
use crate::mysqld::options::Purpose;
use crate::mysqld::process::Mysqld;
use crate::server::{Launcher, ServerError};
use crate::sql::quote::string;
use crate::sql::{Session, number, state, text};
use crate::volume::lock::Lock;

/// Between two looks at the progress.
const LOOK: Duration = Duration::from_secs(1);
const STOP: Duration = Duration::from_secs(120);

/// Fills the directory of a server that was just initialised with a copy of the donor's. Its server's UUID.
pub(crate) async fn fetch(
    launcher: &Launcher,
    hub: &Hub,
    lock: &Lock,
    donor: &Endpoint,
    max_mib_per_second: Option<u64>,
) -> Result<String, ServerError> {
    let mut mysqld = launcher.start(Purpose::Prepare, None, lock)?;
    let session = launcher.answers(&mut mysqld).await?;
    copy(launcher, hub, &mut mysqld, session, donor, max_mib_per_second).await?;
    let mut mysqld = launcher.start(Purpose::Prepare, None, lock)?;
    let mut session = launcher.answers(&mut mysqld).await?;
    let server_uuid = check(&mut session).await?;
    drop(session);
    let ended = mysqld.stop(STOP).await;
    if ended.success { Ok(server_uuid) } else { Err(ServerError::Ended(ended)) }
}

/// Runs the statement and watches it. It ends with the server asking for a restart.
async fn copy(
    launcher: &Launcher,
    hub: &Hub,
    mysqld: &mut Mysqld,
    mut session: Session,
    donor: &Endpoint,
    max_mib_per_second: Option<u64>,
) -> Result<(), ServerError> {
    let password = Credentials::read(&launcher.settings.credentials)?.clone;
    let address = format!("{}:{}", donor.host, donor.port);
    session
        .run("naming the donor", &format!("SET GLOBAL clone_valid_donor_list={}", string(&address)))
        .await?;
    if let Some(bound) = max_mib_per_second {
        session.run("bounding the rate", &format!("SET GLOBAL clone_max_data_bandwidth={bound}")).await?;
    }
    let statement = format!(
        "CLONE INSTANCE FROM 'mainstay_clone'@{}:{} IDENTIFIED BY {} REQUIRE SSL",
        string(&donor.host),
        donor.port,
        string(password.reveal())
    );
    let cloning = session.run("cloning", &statement);
    tokio::pin!(cloning);
    let looks = watch(launcher, hub);
    tokio::pin!(looks);
    let said = tokio::select! {
        said = &mut cloning => said,
        () = &mut looks => Ok(()),
        ended = mysqld.ended() => return if ended.restart { Ok(()) } else { Err(ServerError::Ended(ended)) },
    };
    // 2013: the connection went with the server, which is how it ends well. Whether it did is asked of the next
    // start; what the server itself refused is an error already.
    if let Err(error) = said
        && error.code().is_some()
    {
        mysqld.stop(STOP).await;
        return Err(error.into());
    }
    let ended = mysqld.ended().await;
    if ended.restart { Ok(()) } else { Err(ServerError::Ended(ended)) }
}

/// Follows the bytes over a second session; never ends by itself.
async fn watch(launcher: &Launcher, hub: &Hub) {
    const SUMS: &str =
        "SELECT SUM(data) AS done, SUM(estimate) AS total FROM performance_schema.clone_progress";
    let mut session = None;
    let mut before: Option<(Instant, u64)> = None;
    loop {
        tokio::time::sleep(LOOK).await;
        if session.is_none() {
            session = launcher.session().await.ok();
        }
        let Some(open) = session.as_mut() else { continue };
        let Ok(Some(row)) = open.row("reading the clone's progress", SUMS).await else {
            session = None;
            continue;
        };
        let (now, bytes) = (Instant::now(), number(&row, "done").unwrap_or_default());
        let rate = before.and_then(|(then, had)| {
            let millis = u64::try_from(now.duration_since(then).as_millis()).ok()?;
            bytes.saturating_sub(had).checked_mul(1000)?.checked_div(millis)
        });
        before = Some((now, bytes));
        hub.set_progress(Progress { bytes, total_bytes: number(&row, "total"), bytes_per_second: rate });
    }
}

/// The copy is whole, and forgets whom the donor followed: a clone brings the donor's channel and its account.
async fn check(session: &mut Session) -> Result<String, ServerError> {
    let doing = "asking how the clone ended";
    let status = "SELECT state AS s, error_no AS n, error_message AS m FROM performance_schema.clone_status";
    let row = session.row(doing, status).await?;
    let completed = row.as_ref().is_some_and(|row| text(row, "s") == "Completed");
    if !completed {
        let message = row.map(|row| text(&row, "m")).unwrap_or_default();
        return Err(ServerError::Io {
            doing,
            source: std::io::Error::other(format!("not completed: {message}")),
        });
    }
    session.run("forgetting the donor's channel", "RESET REPLICA ALL").await?;
    Ok(state::read(session).await?.server_uuid)
}
