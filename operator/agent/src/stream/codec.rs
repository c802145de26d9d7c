//! Compression of a stream with zstd, in the pass that sends or receives it.

use std::io;

use bytes::{Bytes, BytesMut};
use zstd::stream::raw::{Decoder, Encoder, InBuffer, Operation, OutBuffer};

use super::frame::DATA;

/// Fast enough for a network of a few Gbit/s on one core, and InnoDB's pages become a third to a half.
const LEVEL: i32 = 1;
/// Largest window that is decompressed, as a power of two: 8 MiB, whatever a sender asks for. Level 1 uses 512 KiB.
const WINDOW: u32 = 23;
/// Room for what comes out of one step, in bytes.
const STEP: usize = 128 * 1024;

/// The sender's side.
pub(crate) struct Compressor(Encoder<'static>);

impl Compressor {
    /// A new one.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Compressor(Encoder::new(LEVEL)?))
    }

    /// Compresses `input`; each of what comes out fits in a frame.
    pub(crate) fn write(&mut self, input: &[u8]) -> io::Result<Vec<Bytes>> {
        let mut all = Vec::new();
        let mut input = InBuffer::around(input);
        while input.pos() < input.src.len() {
            all.extend(step(|out| self.0.run(&mut input, out))?.1);
        }
        Ok(all)
    }

    /// What is left when the input has ended.
    pub(crate) fn finish(&mut self) -> io::Result<Vec<Bytes>> {
        let mut all = Vec::new();
        loop {
            let (left, out) = step(|out| self.0.finish(out, true))?;
            all.extend(out);
            if left == 0 {
                return Ok(all);
            }
        }
    }
}

/// The recipient's side.
pub(crate) struct Decompressor {
    decoder: Decoder<'static>,
    at_end: bool,
}

impl Decompressor {
    /// A new one.
    pub(crate) fn new() -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(zstd::zstd_safe::DParameter::WindowLogMax(WINDOW))?;
        Ok(Decompressor { decoder, at_end: true })
    }

    /// Decompresses the next of `input` and takes it off; `None` when nothing is left to come out of it.
    pub(crate) fn read(&mut self, input: &mut Bytes) -> io::Result<Option<Bytes>> {
        let mut source = InBuffer::around(input);
        let (hint, out) = step(|out| self.decoder.run(&mut source, out))?;
        let taken = source.pos();
        if taken > 0 || out.is_some() {
            self.at_end = hint == 0;
        }
        drop(input.split_to(taken));
        Ok(out.filter(|out| !out.is_empty()).or_else(|| (!input.is_empty()).then(Bytes::new)))
    }

    /// Whether the input ended where the sender's did.
    pub(crate) fn at_end(&self) -> bool {
        self.at_end
    }
}

/// One call of the library, with room of its own.
fn step(
    run: impl FnOnce(&mut OutBuffer<'_, [u8]>) -> io::Result<usize>,
) -> io::Result<(usize, Option<Bytes>)> {
    const { assert!(STEP <= DATA) };
    let mut room = BytesMut::zeroed(STEP);
    let mut out = OutBuffer::around(&mut room[..]);
    let hint = run(&mut out)?;
    let length = out.pos();
    room.truncate(length);
    Ok((hint, (length > 0).then(|| room.freeze())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compress(parts: &[Vec<u8>]) -> Vec<Bytes> {
        let mut compressor = Compressor::new().unwrap();
        let mut all = Vec::new();
        for part in parts {
            all.extend(compressor.write(part).unwrap());
        }
        all.extend(compressor.finish().unwrap());
        all
    }

    fn decompress(parts: &[Bytes]) -> io::Result<(Vec<u8>, bool)> {
        let mut decompressor = Decompressor::new()?;
        let mut all = Vec::new();
        for part in parts {
            let mut part = part.clone();
            while let Some(out) = decompressor.read(&mut part)? {
                all.extend_from_slice(&out);
            }
        }
        Ok((all, decompressor.at_end()))
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..5),
            repeat in 1_usize..300,
        ) {
            let parts: Vec<Vec<u8>> = parts.iter().map(|part| part.repeat(repeat)).collect();
            let (out, at_end) = decompress(&compress(&parts)).unwrap();
            prop_assert_eq!(out, parts.concat());
            prop_assert!(at_end);
        }
    }

    #[test]
    fn cut_short_it_is_not_at_its_end_and_damaged_it_is_an_error() {
        let parts =
            vec![(0..200_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()];
        let mut sent = compress(&parts);
        let last = sent.pop().unwrap();
        sent.push(last.slice(..last.len() - 1));
        assert!(!decompress(&sent).unwrap().1);
        assert!(decompress(&[Bytes::from_static(b"no zstd at all")]).is_err());
    }
}
