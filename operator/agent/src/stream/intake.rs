//! What arrives, taken apart and judged: frames, compression, digest and verdict. It knows neither where the bytes come
//! from nor what unpacks them.

use bytes::Bytes;

use super::codec::Decompressor;
use super::digest::Digest;
use super::error::StreamError;
use super::frame::{Decoder, Frame, FrameError, Piece};
use super::messages::{Announce, Verdict};

/// What comes out of an [`Intake`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// What will come: first, and once.
    Announce(Announce),
    /// Bytes of the tool's stream, as the tool wrote them.
    Bytes(Bytes),
    /// A sign of life.
    Alive,
}

/// A stream that is arriving.
pub(crate) struct Intake {
    decoder: Decoder,
    decompressor: Option<Decompressor>,
    /// What the decompressor has not taken yet; none when it is to get more.
    part: Option<Bytes>,
    digest: Digest,
    verdict: Option<Verdict>,
}

impl Intake {
    /// At the beginning of a stream.
    pub(crate) fn new() -> Self {
        Intake {
            decoder: Decoder::new(),
            decompressor: None,
            part: None,
            digest: Digest::default(),
            verdict: None,
        }
    }

    /// Takes the next chunk. What came before has to be taken out with [`Intake::next`] first.
    pub(crate) fn feed(&mut self, chunk: Bytes) {
        self.decoder.feed(chunk);
    }

    /// What arrived next; none until more is fed. After an error there is nothing to be had from this stream.
    pub(crate) fn next(&mut self) -> Result<Option<Arrived>, StreamError> {
        loop {
            if let Some(bytes) = self.decompressed()? {
                return Ok(Some(Arrived::Bytes(bytes)));
            }
            match self.decoder.next()? {
                None => return Ok(None),
                Some(Piece::Announce(payload)) => {
                    let announce: Announce = parse(Frame::Announce, &payload)?;
                    if announce.compressed {
                        self.decompressor = Some(Decompressor::new().map_err(StreamError::Compression)?);
                    }
                    return Ok(Some(Arrived::Announce(announce)));
                }
                Some(Piece::Data(part)) if self.decompressor.is_some() => self.part = Some(part),
                Some(Piece::Data(part)) => {
                    self.digest.update(&part);
                    return Ok(Some(Arrived::Bytes(part)));
                }
                Some(Piece::Alive) => return Ok(Some(Arrived::Alive)),
                Some(Piece::Verdict(payload)) => self.verdict = Some(parse(Frame::Verdict, &payload)?),
            }
        }
    }

    /// What comes out of the decompressor next.
    fn decompressed(&mut self) -> Result<Option<Bytes>, StreamError> {
        let (Some(decompressor), Some(part)) = (&mut self.decompressor, &mut self.part) else {
            return Ok(None);
        };
        while let Some(out) = decompressor.read(part).map_err(StreamError::Compression)? {
            if !out.is_empty() {
                self.digest.update(&out);
                return Ok(Some(out));
            }
        }
        self.part = None;
        Ok(None)
    }

    /// Bytes of the tool's stream that have arrived.
    pub(crate) fn bytes(&self) -> u64 {
        self.digest.bytes()
    }

    /// The verdict on the whole, when nothing more comes: the digest, if all that the tool wrote has arrived.
    pub(crate) fn end(self) -> Result<String, StreamError> {
        let bytes = self.bytes();
        let Verdict { error, digest: sent } = self.verdict.ok_or(StreamError::CutShort { bytes })?;
        if let Some(error) = error {
            return Err(StreamError::GaveUp(error));
        }
        let received = self.digest.text();
        let cut = self.decompressor.is_some_and(|decompressor| !decompressor.at_end());
        if cut || received != sent { Err(StreamError::Differs { sent, received }) } else { Ok(received) }
    }

    /// Bytes that are kept until more comes.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn kept(&self) -> usize {
        self.decoder.kept() + self.part.as_ref().map_or(0, Bytes::len)
    }
}

fn parse<T: serde::de::DeserializeOwned>(frame: Frame, payload: &[u8]) -> Result<T, StreamError> {
    serde_json::from_slice(payload).map_err(|_| FrameError::Payload(frame).into())
}

#[cfg(test)]
mod tests {
    use super::super::frame::whole;
    use super::*;

    const TOOL_WROTE: &[u8] = b"XBSTCK01 and so on";

    /// A donor's stream, with this on the wire and these digests.
    fn stream(on_the_wire: &[u8], announce: &str, verdict: &str) -> Result<String, StreamError> {
        let mut intake = Intake::new();
        for frame in [
            whole(Frame::Announce, announce.as_bytes()),
            whole(Frame::Data, on_the_wire),
            whole(Frame::Verdict, verdict.as_bytes()),
        ] {
            intake.feed(frame);
            while intake.next()?.is_some() {}
        }
        intake.end()
    }

    fn digest(bytes: &[u8]) -> String {
        let mut digest = Digest::default();
        digest.update(bytes);
        digest.text()
    }

    #[test]
    fn a_stream_is_judged_by_its_digest_and_not_by_its_verdict_alone() {
        let verdict = format!(r#"{{"digest":"{}"}}"#, digest(TOOL_WROTE));
        let plain = r#"{"totalBytes":1}"#;
        assert_eq!(stream(TOOL_WROTE, plain, &verdict).unwrap(), digest(TOOL_WROTE));
        let flipped: Vec<u8> = TOOL_WROTE.iter().map(|byte| byte ^ 1).collect();
        for other in [&flipped[..], &TOOL_WROTE[1..], &[TOOL_WROTE, TOOL_WROTE].concat()] {
            let said = stream(other, plain, &verdict).unwrap_err().to_string();
            assert!(said.starts_with("what arrived is not what was sent"), "{said}");
        }
    }

    #[test]
    fn a_compressed_stream_that_stops_inside_is_not_what_was_sent_though_all_bytes_came() {
        let mut compressor = super::super::codec::Compressor::new().unwrap();
        let mut parts = compressor.write(TOOL_WROTE).unwrap();
        parts.extend(compressor.finish().unwrap());
        let sent = parts.concat();
        let compressed = r#"{"totalBytes":1,"compressed":true}"#;
        let verdict = format!(r#"{{"digest":"{}"}}"#, digest(TOOL_WROTE));
        assert!(stream(&sent, compressed, &verdict).is_ok());
        // The beginning of a second frame, of which nothing comes out.
        let more = [&sent[..], &sent[..6]].concat();
        assert!(matches!(stream(&more, compressed, &verdict), Err(StreamError::Differs { .. })));
    }
}
