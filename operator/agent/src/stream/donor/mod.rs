//! `donor`: gives copies of a running server's data directory, to one recipient at a time.

mod account;
mod give;
mod slot;
mod terms;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use futures::stream;
use mainstay_proto::Identity;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::messages::{PATH_COPY, Refusal, Request};
use super::reason::Reason;
use crate::crowd::{Standing, accept};
use crate::http::{self, HEAD};
use crate::reaper::{self, Children};
use crate::settings::Settings;
use crate::start::{StartError, on_sigterm};
use crate::tls::server_config_for;
use slot::Slot;

/// Longest request, in bytes.
const REQUEST: usize = 16 * 1024;
/// Frames between the tool and the network: at most as many are in memory.
const FRAMES: usize = 4;

/// What the donor's parts share.
#[derive(Clone, Debug)]
struct Donor {
    settings: Arc<Settings>,
    identity: Arc<Identity>,
    children: Children,
    slot: Slot,
    stop: CancellationToken,
}

/// Serves recipients until SIGTERM. What is being given then is ended with a verdict that says so.
pub(crate) async fn serve(settings: Settings) -> Result<ExitCode, StartError> {
    let stop = on_sigterm()?;
    let children = Children::default();
    let reaped = children.clone();
    tokio::spawn(async move {
        if let Err(error) = reaper::run(reaped).await {
            tracing::error!(%error, "processes of others are not reaped");
        }
    });
    let donor = Donor {
        identity: Arc::new(settings.identity()?),
        settings: Arc::new(settings),
        children,
        slot: Slot::default(),
        stop: stop.clone(),
    };
    // A donor that can't work says so now, not when the first recipient asks.
    server_config_for(&donor.settings.tls, &donor.settings.host(donor.identity.ordinal))?;
    let listener = http::listen(donor.settings.donor_port).await.map_err(StartError::Listen)?;
    tracing::info!(port = donor.settings.donor_port, "ready to give");
    tokio::select! {
        never = accept(listener, {
            let donor = donor.clone();
            move |stream, standing| connection(donor.clone(), stream, standing)
        }) => match never {},
        () = stop.cancelled() => {}
    }
    donor.slot.free().await;
    Ok(ExitCode::SUCCESS)
}

/// One connection. The certificates are read for each: they are renewed while the donor runs, and copies are rare.
/// Only instances of the cluster may speak; all of them share the names that this one has.
async fn connection(donor: Donor, stream: TcpStream, standing: Standing) {
    let Settings { tls, .. } = &*donor.settings;
    let config = match server_config_for(tls, &donor.settings.host(donor.identity.ordinal)) {
        Ok(config) => config,
        Err(error) => return tracing::warn!(%error, "a recipient was turned away"),
    };
    let router =
        Router::new().route(PATH_COPY, post(copy)).with_state(donor).layer(DefaultBodyLimit::max(REQUEST));
    match timeout(HEAD, TlsAcceptor::from(Arc::new(config)).accept(stream)).await {
        Ok(Ok(stream)) => {
            standing.trusted();
            http::serve(stream, router).await;
        }
        Ok(Err(error)) => tracing::info!(%error, "a recipient was turned away"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

/// Gives a copy, or refuses before anything is sent.
async fn copy(State(donor): State<Donor>, body: Bytes) -> Response {
    let request = match serde_json::from_slice::<Request>(&body) {
        Ok(request) => request,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    match begin(&donor, &request).await {
        Ok(frames) => {
            let frames = stream::unfold(frames, |mut frames| async move {
                let frame: Bytes = frames.recv().await?;
                Some((Ok::<_, std::convert::Infallible>(frame), frames))
            });
            Body::from_stream(frames).into_response()
        }
        Err(refusal) => {
            tracing::info!(recipient = request.recipient, ?refusal, "a copy was refused");
            let status = match refusal.reason {
                Reason::Busy => StatusCode::CONFLICT,
                Reason::NotMe => StatusCode::MISDIRECTED_REQUEST,
                Reason::Ending | Reason::NotReady | Reason::NoTool => StatusCode::SERVICE_UNAVAILABLE,
                Reason::Primary | Reason::Version | Reason::Other => StatusCode::PRECONDITION_FAILED,
            };
            (status, Json(refusal)).into_response()
        }
    }
}

/// Agrees on the terms and starts the tool. The frames end when the tool has ended, and the tool when nobody takes
/// the frames.
async fn begin(donor: &Donor, request: &Request) -> Result<mpsc::Receiver<Bytes>, Refusal> {
    let taken = terms::agree(donor, request).await?;
    let (sender, frames) = mpsc::channel(FRAMES);
    let (donor, request) = (donor.clone(), request.clone());
    tokio::spawn(give::give(donor, request, taken, sender));
    Ok(frames)
}

fn refuse(reason: Reason, message: impl Into<String>) -> Refusal {
    Refusal { reason, message: message.into() }
}

/// Bytes on disk of what a tool copies: all but what a server makes anew or a copy leaves out.
fn size(datadir: &Path) -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let left_out = ["binlog.", "relay.", "#innodb_", "ib_logfile", "ibtmp", "#ib_"];
    let mut total = 0_u64;
    for entry in std::fs::read_dir(datadir)? {
        let entry = entry?;
        let name = entry.file_name();
        if left_out.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            continue;
        }
        // A table that is dropped meanwhile is none.
        let Ok(metadata) = entry.metadata() else { continue };
        total = total.saturating_add(if metadata.is_dir() {
            size(&entry.path()).unwrap_or_default()
        } else {
            metadata.blocks().saturating_mul(512)
        });
    }
    Ok(total)
}
