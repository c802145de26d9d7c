//! The answer to a GET as lines, as they come.
//!
//! Asked for as HTTP/1.0, whose answers end with the connection and come in no chunks: an HTTP library would keep
//! twenty kilobytes for each of thousands of connections that are read a line every two seconds.

use std::time::Duration;

use mainstay_proto::heartbeat;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::AgentError;

/// Bytes read at once.
const BUFFER: usize = 1024;
/// The longest head of an answer.
const HEAD: usize = 16 << 10;
/// The longest line: GTID sets of very old clusters have been seen with hundreds of kilobytes.
const LINE: usize = 8 << 20;
/// Most headers of an answer.
const HEADERS: usize = 32;

/// The lines of an answer.
pub(super) struct Lines<S> {
    from: BufReader<S>,
    /// How often there is one.
    pub(super) heartbeat: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Lines<S> {
    /// Asks for `path` over `stream`, and reads the answer's head.
    ///
    /// # Errors
    /// If the connection breaks, or the answer is another than 200.
    pub(super) async fn ask(mut stream: S, host: &str, path: &str) -> Result<Self, AgentError> {
        let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let mut lines =
            Lines { from: BufReader::with_capacity(BUFFER, stream), heartbeat: heartbeat::DEFAULT };
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() > HEAD {
                return Err(AgentError::TooLong(HEAD));
            }
            lines.append_line(&mut head, HEAD).await?;
        }
        match read(&head)? {
            (200, heartbeat) => Ok(Lines { heartbeat, ..lines }),
            (other, _) => Err(AgentError::Status(other)),
        }
    }

    /// The next line that is not empty.
    ///
    /// # Errors
    /// If the connection ends or breaks, or the line is too long.
    pub(super) async fn next(&mut self) -> Result<Vec<u8>, AgentError> {
        loop {
            let mut line = Vec::new();
            self.append_line(&mut line, LINE).await?;
            if !line.trim_ascii().is_empty() {
                return Ok(line);
            }
        }
    }

    async fn append_line(&mut self, to: &mut Vec<u8>, longest: usize) -> Result<(), AgentError> {
        (&mut self.from).take(longest as u64).read_until(b'\n', to).await?;
        match to.last() {
            Some(b'\n') => Ok(()),
            _ if to.len() >= longest => Err(AgentError::TooLong(longest)),
            _ => Err(AgentError::Ended),
        }
    }
}

/// The status in the head of an answer whose body is read as it comes, and the heartbeat that was agreed on.
fn read(head: &[u8]) -> Result<(u16, Duration), AgentError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(head).map_err(|error| AgentError::Head(error.to_string()))?;
    if parsed.is_partial()
        || response.headers.iter().any(|h| h.name.eq_ignore_ascii_case("transfer-encoding"))
    {
        return Err(AgentError::Head("it is not one of HTTP/1.0".into()));
    }
    let agreed = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case(heartbeat::HEADER));
    let heartbeat = heartbeat::agreed(agreed.and_then(|header| std::str::from_utf8(header.value).ok()));
    let status = response.code.ok_or_else(|| AgentError::Head("it has no status".into()))?;
    Ok((status, heartbeat))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered(answer: &[u8]) -> Result<Vec<Vec<u8>>, AgentError> {
        let (ours, mut theirs) = tokio::io::duplex(64 << 10);
        theirs.write_all(answer).await.unwrap();
        theirs.shutdown().await.unwrap();
        let mut lines = Lines::ask(ours, "shop-1.shop.db.svc", "/v1/watch").await?;
        let mut all = Vec::new();
        loop {
            match lines.next().await {
                Ok(line) => all.push(line),
                Err(AgentError::Ended) => return Ok(all),
                Err(error) => return Err(error),
            }
        }
    }

    #[tokio::test]
    async fn an_answer_is_read_line_by_line_and_half_a_line_is_none() {
        let lines = answered(b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\n{1}\n\r\n\n{2}\n{3").await.unwrap();
        assert_eq!(lines, [b"{1}\n", b"{2}\n"]);
    }

    #[tokio::test]
    async fn the_heartbeat_is_what_the_agent_says() {
        for (header, expected) in [("", 2000), ("Mainstay-Heartbeat-Ms: 500\r\n", 500)] {
            let (ours, mut theirs) = tokio::io::duplex(64 << 10);
            theirs.write_all(format!("HTTP/1.0 200 OK\r\n{header}\r\n").as_bytes()).await.unwrap();
            let lines = Lines::ask(ours, "shop-1.shop.db.svc", "/v1/watch").await.unwrap();
            assert_eq!(lines.heartbeat, Duration::from_millis(expected));
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_not_what_was_asked_for_is_refused() {
        let refused = answered(b"HTTP/1.1 503 Busy\r\n\r\n").await.unwrap_err();
        assert!(matches!(refused, AgentError::Status(503)));
        let chunked = answered(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap_err();
        assert!(matches!(chunked, AgentError::Head(_)));
        let noise = answered(b"SSH-2.0-x\r\n\r\n").await.unwrap_err();
        assert!(matches!(noise, AgentError::Head(_)));
    }

    #[tokio::test]
    async fn a_head_without_end_is_refused() {
        let endless = [b"HTTP/1.0 200 OK\r\nX: ".as_slice(), &[b'x'; 20 << 10]].concat();
        assert!(matches!(answered(&endless).await.unwrap_err(), AgentError::TooLong(_)));
    }
}
