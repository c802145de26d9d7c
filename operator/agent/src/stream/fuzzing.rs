//! Bodies of the fuzz targets `frame` and `information`.

// It is in no binary but those that are to fail.
#![allow(clippy::expect_used)]

use bytes::Bytes;

use super::adapter::{Kind, Version};
use super::codec::Compressor;
use super::digest::Digest;
use super::error::StreamError;
use super::frame::{CONTROL, DATA, Frame, HEAD, whole};
use super::information;
use super::intake::{Arrived, Intake};
use super::messages::{Announce, Verdict};

/// Most bytes that are let out of one stream: a few bytes of zstd can stand for many.
const MOST: usize = 4 << 20;

/// Feeds a stream. Of the first byte, bit 0 says whether the rest is the stream itself or what a donor's tool wrote,
/// bit 1 whether that is compressed, and bit 2 whether it is damaged on the way. Three bytes say into what chunks it is
/// cut, four what the damage is.
///
/// Whatever comes: no more than a frame is kept, how it was cut makes no difference, and what is accepted is what was
/// sent. Tells whether it was accepted.
pub fn frame(input: &[u8]) -> bool {
    let Some((&[flags, first, second, third, kind, high, low, with], rest)) = input.split_first_chunk::<8>()
    else {
        return false;
    };
    let built = flags & 1 != 0;
    let stream = if built { donors(rest, flags & 2 != 0, usize::from(first)) } else { rest.to_vec() };
    let at = usize::from(u16::from_be_bytes([high, low]));
    let damaged = if flags & 4 == 0 { stream.clone() } else { damage(stream.clone(), kind, at, with) };
    let sizes = [first, second, third].map(|size| 1 + usize::from(size) * usize::from(size));
    let (outcome, out) = take(&damaged, &sizes);
    let (at_once, out_at_once) = take(&damaged, &[damaged.len().max(1)]);
    assert_eq!(outcome.is_ok(), at_once.is_ok(), "in chunks {outcome:?}, at once {at_once:?}");
    if let Ok(text) = &outcome {
        assert_eq!(out, out_at_once);
        assert_eq!(*text, digest(&out), "accepted with another digest");
    }
    if built {
        assert!(outcome.is_err() || out == rest, "accepted, and not what was sent");
        assert!(outcome.is_ok() || damaged != stream, "refused, and what was sent: {outcome:?}");
    }
    outcome.is_ok()
}

/// The stream of a donor whose tool wrote these bytes.
fn donors(tool_wrote: &[u8], compressed: bool, part: usize) -> Vec<u8> {
    let announce = Announce { total_bytes: 1, compressed, server_version: "9.7.4".to_owned() };
    let mut parts = Vec::new();
    if compressed {
        let mut compressor = Compressor::new().expect("a compressor");
        parts.extend(compressor.write(tool_wrote).expect("compressed"));
        parts.extend(compressor.finish().expect("compressed to the end"));
    } else {
        parts.extend(tool_wrote.chunks(part + 1).map(Bytes::copy_from_slice));
    }
    let mut stream = whole(Frame::Announce, &json(&announce)).to_vec();
    for part in parts {
        stream.extend_from_slice(&whole(Frame::Data, &part));
        stream.extend_from_slice(&whole(Frame::Alive, b""));
    }
    let verdict = Verdict { error: None, digest: digest(tool_wrote) };
    stream.extend_from_slice(&whole(Frame::Verdict, &json(&verdict)));
    stream
}

fn json(message: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("JSON")
}

fn digest(bytes: &[u8]) -> String {
    let mut digest = Digest::default();
    digest.update(bytes);
    digest.text()
}

/// What faults do to bytes.
fn damage(mut stream: Vec<u8>, kind: u8, at: usize, with: u8) -> Vec<u8> {
    let at = at % stream.len().max(1);
    let end = (at + usize::from(with)).min(stream.len());
    match kind % 5 {
        0 => stream.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= with),
        1 => stream.truncate(at),
        2 => drop(stream.drain(at..end)),
        3 => {
            let doubled = stream[at..end].to_vec();
            stream.splice(at..at, doubled);
        }
        _ => stream.push(with),
    }
    stream
}

/// What a recipient makes of a stream that comes in chunks of these sizes, over and over.
fn take(stream: &[u8], sizes: &[usize]) -> (Result<String, StreamError>, Vec<u8>) {
    let (mut intake, mut out) = (Intake::new(), Vec::new());
    let (mut rest, mut sizes) = (stream, sizes.iter().cycle());
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(sizes.next().map_or(1, |size| (*size).min(rest.len())));
        rest = after;
        intake.feed(Bytes::copy_from_slice(chunk));
        loop {
            match intake.next() {
                Ok(Some(Arrived::Bytes(bytes))) => {
                    assert!(bytes.len() <= DATA, "{} bytes at once", bytes.len());
                    out.extend_from_slice(&bytes);
                    if out.len() > MOST {
                        return (Err(StreamError::CutShort { bytes: intake.bytes() }), out);
                    }
                }
                Ok(Some(Arrived::Announce(_) | Arrived::Alive)) => {}
                Ok(None) => break,
                Err(error) => return (Err(error), out),
            }
        }
        assert!(intake.kept() <= CONTROL + HEAD, "{} bytes are kept", intake.kept());
    }
    (intake.end(), out)
}

/// Reads what a copy tool says. The first byte says what it is: `p` the position's file, `i` the file on the copy, `c`
/// that on its state, `v` the tool's version, `s` a server's version; in upper case, MariaDB's.
///
/// Whatever it is: what is accepted is whole and can be handed on. Tells whether it was accepted.
pub fn information(input: &[u8]) -> bool {
    let Some((&form, rest)) = input.split_first() else { return false };
    // As the files are read.
    let Ok(text) = std::str::from_utf8(rest) else { return false };
    let kind = if form.is_ascii_uppercase() { Kind::MariadbBackup } else { Kind::Xtrabackup };
    match form.to_ascii_lowercase() {
        b'p' => position(text),
        b'i' => information::info(text).is_ok_and(|version| {
            assert!(!version.is_empty() && version.trim() == version, "{version:?}");
            assert!(text.contains(&version));
            true
        }),
        b'c' => information::checkpoints(text, kind.prepared()).is_ok_and(|()| {
            assert!(text.contains("backup_type") && text.contains(kind.prepared()));
            true
        }),
        b'v' => kind.parse_version(text).is_some_and(|version| {
            assert_eq!(Version::parse(&format!("{version}-1")), Some(version));
            true
        }),
        b's' => Version::parse(text).is_some_and(|version| {
            let of_mariadb = text.contains("MariaDB");
            let fits = kind.fits(version, text);
            assert_eq!(fits.is_ok(), of_mariadb == (kind == Kind::MariadbBackup), "{text:?}: {fits:?}");
            fits.is_ok()
        }),
        _ => false,
    }
}

fn position(text: &str) -> bool {
    let Ok(read) = information::position(text) else { return false };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-:,_".contains(c);
    assert!(read.gtid_set.chars().all(plain), "{read:?}");
    assert!(!read.file.is_empty() && !read.file.chars().any(char::is_control), "{read:?}");
    // Written as the tools do, on one line or with a line for each server, it says the same.
    for set in [read.gtid_set.clone(), read.gtid_set.replace(',', ",\n")] {
        let written = format!("{}\t{}\t{set}\n", read.file, read.position);
        assert_eq!(information::position(&written).as_ref(), Ok(&read), "{written:?}");
    }
    true
}
