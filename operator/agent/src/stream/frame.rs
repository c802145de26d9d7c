//! The frames of a stream: one byte of kind, four of length (big-endian), then the payload.
//!
//! ```text
//! stream  = announce *( data / alive ) verdict
//! ```
//! A stream without its verdict was cut short, whatever ended it. Lengths are bounded, so that neither side holds
//! more than a frame, whatever the other sends.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Longest payload of a data frame, in bytes.
pub(crate) const DATA: usize = 256 * 1024;
/// Longest payload of every other frame, in bytes.
pub(crate) const CONTROL: usize = 16 * 1024;
/// Bytes before a payload.
pub(crate) const HEAD: usize = 5;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// What will come: [`super::messages::Announce`] as JSON.
    Announce,
    /// Bytes of the tool's stream, compressed if that was announced.
    Data,
    /// Nothing yet, but the donor lives. Empty.
    Alive,
    /// How it ended: [`super::messages::Verdict`] as JSON.
    Verdict,
}

impl Frame {
    fn byte(self) -> u8 {
        match self {
            Frame::Announce => b'A',
            Frame::Data => b'D',
            Frame::Alive => b'L',
            Frame::Verdict => b'V',
        }
    }

    fn of(byte: u8) -> Result<Frame, FrameError> {
        match byte {
            b'A' => Ok(Frame::Announce),
            b'D' => Ok(Frame::Data),
            b'L' => Ok(Frame::Alive),
            b'V' => Ok(Frame::Verdict),
            other => Err(FrameError::Kind(other)),
        }
    }

    fn longest(self) -> usize {
        match self {
            Frame::Announce | Frame::Verdict => CONTROL,
            Frame::Data => DATA,
            Frame::Alive => 0,
        }
    }
}

/// Why bytes are not a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// No frame begins so.
    #[error("{0:#04x} is no kind of frame")]
    Kind(u8),
    /// Longer than its kind may be.
    #[error("a frame of {0} bytes is too long")]
    Length(usize),
    /// Not where it belongs.
    #[error("a frame ({0:?}) at the wrong place")]
    Order(Frame),
    /// A payload is not what it should be.
    #[error("the payload of a frame ({0:?}) can't be read")]
    Payload(Frame),
}

/// A frame's head, to be sent before its payload. Payloads that are too long are the sender's mistake; the other
/// side refuses them.
pub(crate) fn head(frame: Frame, length: usize) -> Bytes {
    let mut head = BytesMut::with_capacity(HEAD);
    head.put_u8(frame.byte());
    head.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    head.freeze()
}

/// A frame with its payload, for the small ones.
pub(crate) fn whole(frame: Frame, payload: &[u8]) -> Bytes {
    let mut whole = BytesMut::with_capacity(HEAD + payload.len());
    whole.extend_from_slice(&head(frame, payload.len()));
    whole.extend_from_slice(payload);
    whole.freeze()
}

/// What comes out of a [`Decoder`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The whole payload of an announcement.
    Announce(Bytes),
    /// A part of a data frame's payload, as it came: nothing is copied.
    Data(Bytes),
    /// A sign of life.
    Alive,
    /// The whole payload of the verdict. Nothing may follow it.
    Verdict(Bytes),
}

/// Which frames may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Start,
    Middle,
    End,
}

/// Takes a stream apart, however it was cut into chunks.
#[derive(Debug)]
pub(crate) struct Decoder {
    chunk: Bytes,
    head: BytesMut,
    control: BytesMut,
    current: Option<(Frame, usize)>,
    stage: Stage,
}

impl Decoder {
    /// At the beginning of a stream.
    pub(crate) fn new() -> Self {
        Decoder {
            chunk: Bytes::new(),
            head: BytesMut::with_capacity(HEAD),
            control: BytesMut::new(),
            current: None,
            stage: Stage::Start,
        }
    }

    /// Takes the next chunk. What came before has to be taken out with [`Decoder::next`] first.
    pub(crate) fn feed(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            let mut joined = BytesMut::from(&self.chunk[..]);
            joined.extend_from_slice(&chunk);
            self.chunk = joined.freeze();
        }
    }

    /// The next piece; none until more is fed.
    pub(crate) fn next(&mut self) -> Result<Option<Piece>, FrameError> {
        loop {
            let (frame, left) = match self.current {
                Some(current) => current,
                None => match self.read_head()? {
                    Some(current) => current,
                    None => return Ok(None),
                },
            };
            if frame == Frame::Data {
                if left == 0 {
                    self.current = None;
                    continue;
                }
                if self.chunk.is_empty() {
                    return Ok(None);
                }
                let part = self.chunk.split_to(left.min(self.chunk.len()));
                self.current = Some((frame, left - part.len()));
                return Ok(Some(Piece::Data(part)));
            }
            let part = self.chunk.split_to(left.min(self.chunk.len()));
            self.control.extend_from_slice(&part);
            let left = left - part.len();
            self.current = Some((frame, left));
            if left > 0 {
                return Ok(None);
            }
            self.current = None;
            let payload = self.control.split().freeze();
            return Ok(Some(match frame {
                Frame::Announce => Piece::Announce(payload),
                Frame::Alive | Frame::Data => Piece::Alive,
                Frame::Verdict => Piece::Verdict(payload),
            }));
        }
    }

    /// Reads a head and checks that such a frame may come now.
    fn read_head(&mut self) -> Result<Option<(Frame, usize)>, FrameError> {
        let missing = HEAD - self.head.len();
        let part = self.chunk.split_to(missing.min(self.chunk.len()));
        self.head.extend_from_slice(&part);
        // A wrong kind is told at once, not when the rest of the head has come.
        let Some(&kind) = self.head.first() else { return Ok(None) };
        let frame = Frame::of(kind)?;
        // Likewise whatever follows the verdict: the stream may end before a whole head has come.
        if self.stage == Stage::End {
            return Err(FrameError::Order(frame));
        }
        if self.head.len() < HEAD {
            return Ok(None);
        }
        let mut head = self.head.split();
        head.advance(1);
        let length = usize::try_from(head.get_u32()).unwrap_or(usize::MAX);
        if length > frame.longest() {
            return Err(FrameError::Length(length));
        }
        self.stage = match (self.stage, frame) {
            (Stage::Start, Frame::Announce) | (Stage::Middle, Frame::Data | Frame::Alive) => Stage::Middle,
            (Stage::Middle, Frame::Verdict) => Stage::End,
            _ => return Err(FrameError::Order(frame)),
        };
        self.current = Some((frame, length));
        Ok(self.current)
    }

    /// Bytes that are kept until more comes.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn kept(&self) -> usize {
        self.chunk.len() + self.head.len() + self.control.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A stream of these data payloads.
    fn stream(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = whole(Frame::Announce, b"{}").to_vec();
        for payload in payloads {
            bytes.extend_from_slice(&whole(Frame::Data, payload));
            bytes.extend_from_slice(&whole(Frame::Alive, b""));
        }
        bytes.extend_from_slice(&whole(Frame::Verdict, b"{\"ok\":true}"));
        bytes
    }

    /// What comes out: the announcement, all data joined, and the verdict.
    #[derive(Debug, Default, PartialEq)]
    struct Out {
        announce: Option<Bytes>,
        data: Vec<u8>,
        verdict: Option<Bytes>,
    }

    fn decode<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Result<Out, FrameError> {
        let mut decoder = Decoder::new();
        let mut out = Out::default();
        for chunk in chunks {
            decoder.feed(Bytes::copy_from_slice(chunk));
            while let Some(piece) = decoder.next()? {
                match piece {
                    Piece::Announce(payload) => out.announce = Some(payload),
                    Piece::Data(part) => out.data.extend_from_slice(&part),
                    Piece::Alive => {}
                    Piece::Verdict(payload) => out.verdict = Some(payload),
                }
            }
        }
        Ok(out)
    }

    #[test]
    fn only_an_announcement_begins_and_nothing_follows_a_verdict() {
        let data = whole(Frame::Data, b"x");
        assert_eq!(decode([&data[..]].into_iter()), Err(FrameError::Order(Frame::Data)));
        let mut bytes = stream(&[]);
        bytes.extend_from_slice(&data);
        assert_eq!(decode([&bytes[..]].into_iter()), Err(FrameError::Order(Frame::Data)));
        let mut byte = stream(&[]);
        byte.push(b'L');
        assert_eq!(decode([&byte[..]].into_iter()), Err(FrameError::Order(Frame::Alive)));
        let twice = [stream(&[]), stream(&[])].concat();
        assert_eq!(decode([&twice[..]].into_iter()), Err(FrameError::Order(Frame::Announce)));
    }

    #[test]
    fn a_length_beyond_its_bound_is_refused_before_anything_is_kept() {
        let mut bytes = whole(Frame::Announce, b"{}").to_vec();
        bytes.extend_from_slice(&head(Frame::Data, DATA + 1));
        assert_eq!(decode([&bytes[..]].into_iter()), Err(FrameError::Length(DATA + 1)));
        let announce = head(Frame::Announce, CONTROL + 1);
        assert_eq!(decode([&announce[..]].into_iter()), Err(FrameError::Length(CONTROL + 1)));
    }

    proptest! {
        #[test]
        fn however_it_is_cut_into_chunks_the_same_comes_out(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6),
            size in 1_usize..64,
        ) {
            let out = decode(stream(&payloads).chunks(size)).unwrap();
            prop_assert_eq!(out.data, payloads.concat());
            prop_assert!(out.announce.is_some() && out.verdict.is_some());
        }

        #[test]
        fn cut_short_anywhere_it_has_no_verdict(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..4),
            at in any::<prop::sample::Index>(),
        ) {
            let bytes = stream(&payloads);
            let cut = at.index(bytes.len());
            let out = decode([&bytes[..cut]].into_iter()).unwrap();
            prop_assert!(out.verdict.is_none());
        }

        #[test]
        fn arbitrary_bytes_are_an_error_or_wait_for_more_and_keep_no_more_than_a_frame(
            bytes in prop::collection::vec(any::<u8>(), 0..2000),
            size in 1_usize..64,
        ) {
            let mut decoder = Decoder::new();
            'all: for chunk in bytes.chunks(size) {
                decoder.feed(Bytes::copy_from_slice(chunk));
                loop {
                    match decoder.next() {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(_) => break 'all,
                    }
                }
                prop_assert!(decoder.kept() <= CONTROL + HEAD);
            }
        }
    }
}
