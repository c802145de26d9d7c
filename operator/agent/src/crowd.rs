//! Connections to one port: as many as are allowed, and who says nothing makes room for who comes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Most connections to one port at a time.
const CONNECTIONS: usize = 64;

/// A connection's standing. One that has not shown who it is makes room for others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing(Arc<AtomicBool>);

impl Standing {
    /// It has shown a certificate that may speak here.
    pub(crate) fn trusted(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn is_trusted(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// The connections of one port, the oldest first.
#[derive(Debug, Default)]
struct Crowd(VecDeque<(Standing, JoinHandle<()>)>);

impl Crowd {
    /// Makes room for one more: the oldest that nobody vouches for is ended. False if all are trusted.
    fn make_room(&mut self) -> bool {
        self.0.retain(|(_, task)| !task.is_finished());
        if self.0.len() < CONNECTIONS {
            return true;
        }
        let Some(oldest) = self.0.iter().position(|(standing, _)| !standing.is_trusted()) else {
            return false;
        };
        if let Some((_, task)) = self.0.remove(oldest) {
            task.abort();
        }
        true
    }
}

/// Accepts connections for ever. Nobody who connects and is silent keeps others out.
pub(crate) async fn accept<F, W>(listener: TcpListener, work: W) -> Infallible
where
    W: Fn(TcpStream, Standing) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut crowd = Crowd::default();
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                if !crowd.make_room() {
                    tracing::warn!(%from, "a connection was turned away: there are too many");
                    continue;
                }
                let standing = Standing::default();
                let task = tokio::spawn(work(stream, standing.clone()));
                crowd.0.push_back((standing, task));
            }
            Err(error) => {
                // Out of file descriptors, say: at once it would be the same.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Answers a byte with a byte; trusts who sends `t`.
    async fn echo(mut stream: TcpStream, standing: Standing) {
        while let Ok(byte) = stream.read_u8().await {
            if byte == b't' {
                standing.trusted();
            }
            if stream.write_u8(byte).await.is_err() {
                return;
            }
        }
    }

    #[tokio::test]
    async fn who_is_silent_makes_room_and_who_is_trusted_stays() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(accept(listener, echo));
        let mut trusted = TcpStream::connect(address).await.unwrap();
        trusted.write_u8(b't').await.unwrap();
        assert_eq!(trusted.read_u8().await.unwrap(), b't');
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS * 2 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut late = TcpStream::connect(address).await.unwrap();
        late.write_u8(b'x').await.unwrap();
        assert_eq!(late.read_u8().await.unwrap(), b'x', "a probe comes through");
        assert!(silent[0].read_u8().await.is_err(), "the oldest was ended");
        trusted.write_u8(b'y').await.unwrap();
        assert_eq!(trusted.read_u8().await.unwrap(), b'y', "the operator was not");
    }
}
