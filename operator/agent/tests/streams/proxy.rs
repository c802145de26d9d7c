//! A network between donor and recipient that does what networks do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of what the donor sends, from so many bytes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    None,
    /// One bit of the next byte is turned.
    Flip(u64),
    /// The connection is reset.
    Cut(u64),
    /// Nothing comes any more, and nothing ends.
    Stall(u64),
    /// As a stall, until the test lets go.
    Hold(u64),
    /// So many bytes a second, from the first on.
    Slow(u64),
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    passed: Arc<AtomicU64>,
    held: watch::Receiver<bool>,
    release: watch::Sender<bool>,
}

impl Proxy {
    /// In front of a port. The fault happens once, on the first connection that gets so far.
    pub(crate) async fn new(to: u16, fault: Fault) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (hold, held) = watch::channel(false);
        let release = watch::Sender::new(false);
        let passed = Arc::new(AtomicU64::new(0));
        let (count, released) = (passed.clone(), release.subscribe());
        let once = Arc::new(AtomicU64::new(0));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (count, hold, released, once) =
                    (count.clone(), hold.clone(), released.clone(), once.clone());
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
                    count.store(0, Ordering::SeqCst);
                    forward(client, server, fault, &count, &hold, released, &once).await;
                });
            }
        });
        Proxy { port, passed, held, release }
    }

    /// Bytes that the last connection has sent to the recipient.
    pub(crate) fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }

    /// Waits until [`Fault::Hold`] holds.
    pub(crate) async fn held(&mut self) {
        let held = self.held.wait_for(|held| *held);
        tokio::time::timeout(Duration::from_secs(60), held).await.expect("nothing came so far").unwrap();
    }

    /// Lets go of what is held.
    pub(crate) fn release(&self) {
        self.release.send_replace(true);
    }
}

async fn forward(
    client: TcpStream,
    server: TcpStream,
    fault: Fault,
    passed: &AtomicU64,
    hold: &watch::Sender<bool>,
    mut released: watch::Receiver<bool>,
    once: &AtomicU64,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    let mut buffer = vec![0; 64 * 1024];
    let mut upstream_open = true;
    while let Ok(read) = from_server.read(&mut buffer).await {
        if read == 0 {
            break;
        }
        let before = passed.fetch_add(read as u64, Ordering::SeqCst);
        let reached = |at: u64| before + read as u64 > at && once.swap(1, Ordering::SeqCst) == 0;
        match fault {
            Fault::Flip(at) if reached(at) => {
                let index = usize::try_from(at.saturating_sub(before)).unwrap().min(read - 1);
                buffer[index] ^= 0x10;
            }
            Fault::Cut(at) if reached(at) => break,
            Fault::Stall(at) if reached(at) => std::future::pending().await,
            Fault::Hold(at) if reached(at) => {
                hold.send_replace(true);
                if released.wait_for(|released| *released).await.is_err() {
                    return;
                }
            }
            Fault::Slow(rate) => {
                tokio::time::sleep(Duration::from_secs_f64(read as f64 / rate as f64)).await;
            }
            _ => {}
        }
        if to_client.write_all(&buffer[..read]).await.is_err() {
            upstream_open = false;
            break;
        }
    }
    if upstream_open {
        let _ = to_client.shutdown().await;
    }
    up.abort();
}
