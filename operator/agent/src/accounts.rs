//! Keeps the server's accounts as they should be, at every start and while it runs.

use crate::context::Session;
use crate::mysqld::Files;
use crate::mysqld::accounts::{self, Account, Statement, Whose};
use crate::sql::{Client, SqlError, accounts::read};

/// Seconds that a statement about an account may wait for locks: nobody else's work is worth a server that stays
/// writable meanwhile.
const LOCKS: u32 = 5;

/// What is to be done to the accounts of a running server.
pub(crate) async fn differences(
    client: &mut Client,
    wanted: &[Account],
    theirs: bool,
) -> Result<Vec<Statement>, SqlError> {
    let found = read(client).await?;
    let wanted = wanted.iter().filter(|account| theirs || account.whose() == Whose::Ours);
    Ok(accounts::differences(wanted, &found))
}

/// Carries the statements out; what the server refuses stops none of the others, and is told. On a server that is
/// read-only it is so again when this comes back; on an error that is not certain.
pub(crate) async fn carry_out(
    client: &mut Client,
    statements: &[Statement],
) -> Result<Vec<String>, SqlError> {
    let what = "set an account";
    client.run(what, &format!("SET SESSION lock_wait_timeout = {LOCKS}")).await?;
    let (read_only,): (bool,) = client.row(what, "SELECT @@global.super_read_only").await?;
    if read_only {
        client.run("become writable for the accounts", "SET GLOBAL super_read_only = OFF").await?;
    }
    let mut refused = Vec::new();
    for Statement { text, secret } in statements {
        match client.run_secret(what, text, secret).await {
            Ok(()) => {}
            Err(error) if error.code().is_some() => {
                tracing::warn!(%error, "an account could not be set");
                refused.push(error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    if read_only {
        client.run("become read-only again", "SET GLOBAL super_read_only = ON").await?;
    }
    refused.dedup();
    Ok(refused)
}

/// What is left to be done to the accounts, and why it was not.
pub(crate) type Lacking = (Vec<Statement>, Vec<String>);

/// Why a server that has come up is not let near anybody.
pub(crate) struct Unproven {
    /// What is wrong.
    pub(crate) why: String,
    /// What a person did that is undone, and is to be told.
    pub(crate) tell: Vec<String>,
}

/// Proves that a server that has just come up is as it must be before anybody is told of it: read-only, no event runs,
/// and its accounts are as they should be. After these were seen to, what is left of them is only told: the agent gets
/// in, and that is enough to serve.
pub(crate) async fn prove(
    mut client: Client,
    files: &Files,
    healed: bool,
) -> Result<(Client, Lacking), Unproven> {
    let proof = async {
        let what = "look at the server that has started";
        let query = "SELECT @@global.super_read_only, @@global.event_scheduler = 'ON'";
        let (read_only, events): (bool, bool) = client.row(what, query).await?;
        // Something that was persisted outranks the option file.
        if events {
            client.run("stop the event scheduler", "SET GLOBAL event_scheduler = OFF").await?;
        }
        if !read_only {
            tracing::error!("the server came up writable, and is made read-only");
            client.run_read_only().await?;
        }
        differences(&mut client, &files.accounts, true).await
    };
    let left = match proof.await {
        Ok(left) => left,
        Err(error) => return Err(Unproven { why: error.to_string(), tell: Vec::new() }),
    };
    if left.is_empty() {
        return Ok((client, Lacking::default()));
    }
    let why = format!("{} statements are needed for its accounts to be as they should be", left.len());
    if !healed {
        return Err(Unproven { why, tell: accounts::undone(&left) });
    }
    tracing::warn!(why, "the server's accounts are not as they should be");
    Ok((client, (left, vec![why])))
}

/// Sees to the accounts of a server that is reached, has a role and has nothing else to do. A replica is writable
/// for the few milliseconds of the statements, and for nobody but who has `CONNECTION_ADMIN`.
pub(crate) async fn keep(session: &Session) -> Result<(), SqlError> {
    let connected = Client::connect(&session.access).await;
    session.run.entry.asked(&connected);
    match connected {
        // Who looks at the server all the time sees to that.
        Err(error) if error.is_denied() => Ok(()),
        connected => keep_by(&mut connected?, session).await,
    }
}

/// The same by this session.
pub(crate) async fn keep_by(client: &mut Client, session: &Session) -> Result<(), SqlError> {
    let wanted = session.run.mounted().accounts;
    // A server that is told to lead or to stand down meanwhile must not find itself the other way round.
    let _turn = session.run.window.lock().await;
    let theirs = session.run.secret_changed();
    let statements = differences(client, &wanted, theirs).await?;
    if statements.is_empty() {
        session.run.secret_adopted();
    }
    if statements.is_empty() || session.run.given_up(&statements) {
        return Ok(());
    }
    let refused = carry_out(client, &statements).await?;
    tracing::info!(statements = statements.len(), refused = refused.len(), "accounts were set");
    // What was of no use is not tried again until something changes.
    let left = differences(client, &wanted, theirs).await?;
    if left.is_empty() {
        session.run.secret_adopted();
    }
    session.run.give_up(left, refused);
    Ok(())
}
