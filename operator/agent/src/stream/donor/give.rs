//! Runs the tool and sends its stream in frames, with a verdict at the end.

use std::process::Stdio;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::process::ChildStdout;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::Donor;
use super::terms::{self, Terms};
use crate::mysqld::BACKUP_FILE;
use crate::stream::codec::Compressor;
use crate::stream::digest::Digest;
use crate::stream::error::StreamError;
use crate::stream::frame::{Frame, head, whole};
use crate::stream::messages::{Request, Verdict};
use crate::stream::process::{Program, Running};
use crate::stream::rate::Bucket;

/// Bytes that are read from the tool at once.
const CHUNK: usize = 128 * 1024;
/// Time between two signs of life, and between two looks at whether the instance may still give.
const ALIVE: Duration = Duration::from_secs(2);
/// Longest time in which the tool may write nothing: it waits for a lock on the server, or hangs.
const SILENCE: Duration = Duration::from_secs(600);
/// Most threads that read the data directory.
const PARALLEL: usize = 4;

/// Why no more is sent.
enum Ended {
    /// Nobody takes it: there is nobody to tell.
    Gone(&'static str),
    /// It failed: the verdict says so.
    Failed(String),
}

impl From<StreamError> for Ended {
    fn from(error: StreamError) -> Self {
        Ended::Failed(error.to_string())
    }
}

/// Gives one copy.
pub(super) async fn give(donor: Donor, request: Request, terms: Terms, sender: mpsc::Sender<Bytes>) {
    let out = Out { sender, bound: Duration::from_secs(donor.settings.stall_seconds) };
    let (recipient, operation) = (request.recipient, request.operation.as_str());
    tracing::info!(recipient, operation, bytes = terms.announce.total_bytes, "giving a copy");
    let mut digest = Digest::default();
    let error = match run(&donor, &request, &terms, &out, &mut digest).await {
        Ok(()) => None,
        Err(Ended::Failed(error)) => Some(error),
        Err(Ended::Gone(why)) => {
            return tracing::warn!(
                recipient,
                operation,
                bytes = digest.bytes(),
                why,
                "the recipient is gone"
            );
        }
    };
    match &error {
        None => tracing::info!(recipient, operation, bytes = digest.bytes(), "a copy was given"),
        Some(error) => tracing::warn!(recipient, operation, error, "no copy was given"),
    }
    // The tool has ended. Who hears the verdict may send the next recipient at once.
    drop(terms);
    let verdict = Verdict { error, digest: digest.text() };
    let payload = serde_json::to_vec(&verdict).unwrap_or_default();
    // Whoever does not hear it takes the stream for cut short.
    let _ = out.send(whole(Frame::Verdict, &payload)).await;
}

/// From the announcement to the tool's end. The tool is killed if this ends before it.
async fn run(
    donor: &Donor,
    request: &Request,
    terms: &Terms,
    out: &Out,
    digest: &mut Digest,
) -> Result<(), Ended> {
    let announce = serde_json::to_vec(&terms.announce).map_err(|error| Ended::Failed(error.to_string()))?;
    out.send(whole(Frame::Announce, &announce)).await?;
    let settings = &donor.settings;
    let scratch = std::env::temp_dir();
    let parallel = std::thread::available_parallelism().map_or(1, usize::from).min(PARALLEL);
    let kind = terms.tool.kind;
    let account = settings.run.join(BACKUP_FILE);
    let arguments = kind.backup_arguments(&account, &settings.datadir(), &scratch, parallel);
    let program = Program { name: kind.tool(), path: &terms.tool.program, arguments: &arguments };
    let secrets = vec![terms.account.password.clone()];
    let mut running = Running::start(&program, Stdio::null(), Stdio::piped(), secrets, &donor.children)?;
    let Some(mut stdout) = running.take_stdout() else {
        return Err(Ended::Failed("the tool has no output".to_owned()));
    };
    let mut pass = Pass {
        out,
        digest,
        compressor: compressor(request)?,
        bucket: request.max_mib_per_second.map(|mib| Bucket::new(mib, Instant::now())),
    };
    let outcome = tokio::select! {
        outcome = pump(&mut stdout, &mut pass) => outcome,
        why = revoked(donor, request) => Err(Ended::Failed(why)),
    };
    if outcome.is_err() {
        running.kill();
        // Until it has ended, the slot is not free.
        let _ = running.wait().await;
        return outcome;
    }
    // All that it wrote has been sent; whether it was all that there is, its exit status tells.
    loop {
        tokio::select! {
            ended = running.wait() => break ended?,
            () = tokio::time::sleep(ALIVE) => out.send(whole(Frame::Alive, b"")).await?,
            why = revoked(donor, request) => {
                running.kill();
                let _ = running.wait().await;
                return Err(Ended::Failed(why));
            }
        }
    }
    if pass.digest.bytes() == 0 {
        return Err(Ended::Failed("the tool wrote nothing".to_owned()));
    }
    Ok(())
}

fn compressor(request: &Request) -> Result<Option<Compressor>, Ended> {
    let compressor = request.compress.then(Compressor::new).transpose();
    compressor.map_err(|error| Ended::Failed(format!("no compression: {error}")))
}

/// Comes back, with the reason, when the instance may not give any more.
async fn revoked(donor: &Donor, request: &Request) -> String {
    let mut tick = interval(ALIVE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = donor.stop.cancelled() => return "the donor is ending".to_owned(),
            _ = tick.tick() => {}
        }
        if let Err(refusal) = terms::still_fits(&terms::marker(donor).await, request) {
            return refusal.message;
        }
    }
}

/// Sends the tool's output until it ends, with signs of life while there is none.
async fn pump(stdout: &mut ChildStdout, pass: &mut Pass<'_>) -> Result<(), Ended> {
    let mut last = Instant::now();
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK);
        tokio::select! {
            read = stdout.read_buf(&mut buffer) => match read {
                Ok(0) => break,
                Ok(_) => {
                    last = Instant::now();
                    pass.send(buffer.split().freeze()).await?;
                }
                Err(error) => return Err(Ended::Failed(format!("the tool's output can't be read: {error}"))),
            },
            () = tokio::time::sleep(ALIVE) => {
                if last.elapsed() >= SILENCE {
                    return Err(Ended::Failed(format!("the tool wrote nothing for {} s", SILENCE.as_secs())));
                }
                pass.out.send(whole(Frame::Alive, b"")).await?;
            }
        }
    }
    pass.finish().await
}

/// What each chunk passes through.
struct Pass<'a> {
    out: &'a Out,
    digest: &'a mut Digest,
    compressor: Option<Compressor>,
    bucket: Option<Bucket>,
}

impl Pass<'_> {
    async fn send(&mut self, chunk: Bytes) -> Result<(), Ended> {
        self.digest.update(&chunk);
        if let Some(bucket) = &mut self.bucket {
            sleep_until(bucket.pass(chunk.len(), Instant::now())).await;
        }
        match &mut self.compressor {
            None => self.out.data(chunk).await,
            Some(compressor) => {
                let parts = compressor.write(&chunk).map_err(|e| Ended::Failed(e.to_string()))?;
                self.all(parts).await
            }
        }
    }

    async fn finish(&mut self) -> Result<(), Ended> {
        let Some(compressor) = &mut self.compressor else { return Ok(()) };
        let parts = compressor.finish().map_err(|e| Ended::Failed(e.to_string()))?;
        self.all(parts).await
    }

    async fn all(&self, parts: Vec<Bytes>) -> Result<(), Ended> {
        for part in parts {
            self.out.data(part).await?;
        }
        Ok(())
    }
}

/// Where frames go. It holds as many as the channel does; who sends the next one waits, and so does the tool.
struct Out {
    sender: mpsc::Sender<Bytes>,
    bound: Duration,
}

impl Out {
    async fn data(&self, payload: Bytes) -> Result<(), Ended> {
        self.send(head(Frame::Data, payload.len())).await?;
        self.send(payload).await
    }

    async fn send(&self, bytes: Bytes) -> Result<(), Ended> {
        match timeout(self.bound, self.sender.send(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ended::Gone("it closed the connection")),
            Err(_) => Err(Ended::Gone("it takes nothing any more")),
        }
    }
}
