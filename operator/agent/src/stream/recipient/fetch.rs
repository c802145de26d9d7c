//! Asks the donor for a copy and unpacks it as it comes.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{StatusCode, header};
use futures::StreamExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mainstay_proto::{Action, Endpoint};
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::ChildStdin;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::name;
use super::room::Room;
use crate::context::Context;
use crate::stream::adapter::CopyTool;
use crate::stream::error::{StreamError, io_error};
use crate::stream::frame::{Frame, FrameError};
use crate::stream::intake::{Arrived, Intake};
use crate::stream::messages::{Announce, PATH_COPY, Refusal, Request};
use crate::stream::process::{Program, Running};
use crate::task::TaskError;
use crate::tasks::progress::Meter;
use crate::tls::client_config;

/// Longest time for a connection with its TLS handshake.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest time in which the donor agrees or refuses: it asks its tool and its server first.
const ANSWER: Duration = Duration::from_secs(60);
/// Longest refusal, in bytes.
const REFUSAL: usize = 64 * 1024;
/// Time between two reports of progress and looks at the free space.
const PERIOD: Duration = Duration::from_secs(1);
/// Most threads that write the copy.
const PARALLEL: usize = 4;

/// A donor's answer, with the task that drives its connection.
struct Stream {
    body: axum::body::BodyDataStream,
    _connection: AbortOnDropHandle<()>,
}

/// Fetches the copy that `action` orders into the directory for it. Success means that the donor's verdict was good
/// and that all that it sent was unpacked.
pub(super) async fn fetch(context: &Context, tool: &CopyTool, action: &Action) -> Result<(), TaskError> {
    let Action::Receive {
        operation, donor, donor_ordinal, compress, max_mib_per_second, from_primary, ..
    } = action
    else {
        return Err(TaskError::Outcome(format!("{} is no order to receive", action.kind())));
    };
    let request = Request {
        cluster_id: context.settings.cluster_id.clone(),
        donor: *donor_ordinal,
        recipient: context.ordinal,
        operation: operation.clone(),
        tool: tool.kind,
        tool_version: tool.version,
        compress: *compress,
        max_mib_per_second: *max_mib_per_second,
        from_primary: *from_primary,
    };
    let stream = ask(context, donor, &request).await?;
    Ok(unpack(context, tool, stream).await?)
}

/// Connects and asks.
async fn ask(context: &Context, donor: &Endpoint, request: &Request) -> Result<Stream, StreamError> {
    let failed = |message: String| StreamError::Donor { donor: name(donor), message };
    let config = client_config(&context.settings.tls)?;
    let host = ServerName::try_from(donor.host.clone()).map_err(|error| failed(error.to_string()))?;
    let connect = async {
        let stream = TcpStream::connect((donor.host.as_str(), donor.port)).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(Arc::new(config)).connect(host, stream).await
    };
    let stream = timeout(CONNECT, connect)
        .await
        .map_err(|_| failed(format!("no connection within {} s", CONNECT.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(error.to_string()))?;
    let connection = AbortOnDropHandle::new(tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to the donor ended badly");
        }
    }));
    let body = serde_json::to_vec(request).map_err(|error| failed(error.to_string()))?;
    let request = hyper::Request::post(PATH_COPY)
        .header(header::HOST, &donor.host)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .map_err(|error| failed(error.to_string()))?;
    let response = timeout(ANSWER, sender.send_request(request))
        .await
        .map_err(|_| failed(format!("no answer within {} s", ANSWER.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    let status = response.status();
    let body = Body::new(response.into_body());
    if status == StatusCode::OK {
        return Ok(Stream { body: body.into_data_stream(), _connection: connection });
    }
    let text = timeout(ANSWER, axum::body::to_bytes(body, REFUSAL)).await;
    match text.ok().and_then(Result::ok).and_then(|text| serde_json::from_slice::<Refusal>(&text).ok()) {
        Some(Refusal { reason, message }) => Err(StreamError::Refused { reason, message }),
        None => Err(failed(format!("it answered {status}"))),
    }
}

/// Unpacks the stream, and checks the verdict.
async fn unpack(context: &Context, tool: &CopyTool, mut stream: Stream) -> Result<(), StreamError> {
    let stall = Duration::from_secs(context.settings.stall_seconds);
    let mut intake = Intake::new();
    let mut arrival: Option<Arrival<'_>> = None;
    loop {
        while let Some(arrived) = intake.next()? {
            match (arrived, &mut arrival) {
                (Arrived::Announce(announce), None) => {
                    arrival = Some(Arrival::begin(context, tool, &announce).await?);
                }
                (Arrived::Bytes(part), Some(arrival)) => {
                    arrival.write(&part).await?;
                    arrival.look(intake.bytes(), Instant::now())?;
                }
                (Arrived::Alive, Some(arrival)) => arrival.look(intake.bytes(), Instant::now())?,
                // The decoder lets an announcement come first, and only there.
                _ => return Err(FrameError::Order(Frame::Announce).into()),
            }
        }
        match timeout(stall, stream.body.next()).await {
            Ok(Some(Ok(chunk))) => intake.feed(chunk),
            // What ended it is of no interest: the verdict came or did not.
            Ok(Some(Err(error))) => {
                tracing::info!(%error, "the stream broke off");
                break;
            }
            Ok(None) => break,
            Err(_) => return Err(StreamError::Stalled { seconds: stall.as_secs() }),
        }
    }
    // First: a tool that stumbles over what is not the donor's is the lesser news.
    let bytes = intake.bytes();
    let digest = intake.end()?;
    arrival.ok_or(StreamError::CutShort { bytes })?.end(bytes).await?;
    tracing::info!(digest, "all has arrived");
    Ok(())
}

/// A copy that is arriving.
struct Arrival<'a> {
    context: &'a Context,
    running: Running,
    stdin: ChildStdin,
    room: Room,
    total: u64,
    meter: Meter,
    looked: Option<Instant>,
}

impl<'a> Arrival<'a> {
    /// Checks the room and starts what unpacks. It holds the volume's lock as long as it lives.
    async fn begin(context: &'a Context, tool: &CopyTool, announce: &Announce) -> Result<Self, StreamError> {
        tracing::info!(?announce, "a copy begins");
        let incoming = context.settings.incoming();
        let room = Room::of(&incoming);
        room.fits(announce.total_bytes)?;
        let parallel = std::thread::available_parallelism().map_or(1, usize::from).min(PARALLEL);
        let arguments = tool.kind.unpack_arguments(&incoming, parallel);
        let name = tool.kind.unpack();
        let program = Program { name, path: &tool.unpack, arguments: &arguments };
        let lock = context.store.with(|volume| volume.lock_for_server()).await;
        let lock = lock.map_err(|error| io_error("share the lock")(std::io::Error::other(error)))?;
        let mut running =
            Running::start(&program, Stdio::piped(), Stdio::from(lock), Vec::new(), &context.children)?;
        let Some(stdin) = running.take_stdin() else {
            return Err(StreamError::Tool { tool: name, outcome: "it has no input".to_owned() });
        };
        let total = announce.total_bytes;
        let mut arrival =
            Arrival { context, running, stdin, room, total, meter: Meter::default(), looked: None };
        arrival.look(0, Instant::now())?;
        Ok(arrival)
    }

    /// Hands the next part of the tool's stream to what unpacks it.
    async fn write(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        if let Err(error) = self.stdin.write_all(bytes).await {
            // It ended before its input did; how, says more than that.
            self.running.wait().await?;
            return Err(io_error("unpack the copy")(error));
        }
        Ok(())
    }

    /// Reports progress and looks at the room, now and then.
    fn look(&mut self, bytes: u64, now: Instant) -> Result<(), StreamError> {
        if self.looked.is_some_and(|looked| now.duration_since(looked) < PERIOD) {
            return Ok(());
        }
        self.looked = Some(now);
        let progress = self.meter.read(bytes, self.total, now.into_std());
        self.context.publisher.progress(progress);
        self.room.lasts()
    }

    /// Waits until all is unpacked.
    async fn end(mut self, bytes: u64) -> Result<(), StreamError> {
        self.looked = None;
        self.look(bytes, Instant::now())?;
        drop(self.stdin);
        self.running.wait().await
    }
}
