//! The protocol between a host and the agent in its appliance.
//!
//! One byte stream carries frames: four bytes of length (little-endian), then a [`Frame`] in postcard. Every
//! frame but the hello belongs to a call, named by a number that the host chooses; calls run side by side and
//! answer in any order.
//!
//! ```text
//! host                               agent
//! Hello                      <->     Hello                 first, both ways
//! Call{id, last, part}*       ->                           the encoded call in pieces
//! Data{id}* End{id}           ->                           the stream in, as far as credit goes
//!                            <-      Credit{id}            more of it may be sent
//!                            <-      Data{id}*             the stream out, as far as credit goes
//! Credit{id}                  ->
//! Piece{id}                  <->                           more of a stream, in the exchange (module exchange)
//! Taken                      <->                           a piece of the exchange is free again
//! Cancel{id}                  ->                           any time; the call still gets its answer
//!                            <-      Progress{id}
//!                            <-      Reply{id, last, part}* or Error{id}, the last of the call
//! ```
//!
//! Each stream starts with a credit of [`WINDOW`] bytes; who receives gives back what it has used up. So a
//! slow reader stops its sender and nobody else, and no side ever holds more than a window per stream. Pieces
//! of the exchange need no credit: there are only so many. An
//! answer is not under credit: it is bounded by [`MAX_REPLY`], and its receiver takes it in at once.
//!
//! Neither side trusts a length: a frame above [`MAX_FRAME`] is refused before memory is taken for it.

use crate::Failure;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};

/// Version of this protocol, in the hello.
pub const VERSION: u32 = 2;
/// The largest frame, without its length.
pub const MAX_FRAME: usize = CHUNK + 64;
/// The most bytes that a sender puts in one frame. The port moves 32 KiB at a time.
pub const CHUNK: usize = 64 << 10;
/// Credit of a stream at its start, in bytes.
pub const WINDOW: u64 = 1 << 20;
/// The largest encoded call, in bytes: content beyond it is uploaded.
pub const MAX_CALL: usize = 32 << 20;
/// The largest encoded result, in bytes: content beyond it is downloaded.
pub const MAX_REPLY: usize = 256 << 20;
/// Calls that may run at the same time.
pub const MAX_CALLS: usize = 64;

/// One message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Frame<'a> {
    /// Who is there; the first frame in each direction.
    Hello {
        /// [`VERSION`] of the sender.
        version: u32,
        /// [`crate::FINGERPRINT`] of the sender.
        table: u64,
    },
    /// A piece of an encoded call.
    Call {
        /// The call.
        id: u32,
        /// True on the last piece.
        last: bool,
        /// The piece.
        part: &'a [u8],
    },
    /// A piece of a stream.
    Data {
        /// The call.
        id: u32,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// The end of the stream in.
    End {
        /// The call.
        id: u32,
    },
    /// The receiver of a stream has used up so many bytes.
    Credit {
        /// The call.
        id: u32,
        /// How many.
        bytes: u64,
    },
    /// The host does not want the result any more.
    Cancel {
        /// The call.
        id: u32,
    },
    /// How far the call is.
    Progress {
        /// The call.
        id: u32,
        /// Done so far.
        position: u64,
        /// All there is, 0 if unknown.
        total: u64,
    },
    /// A piece of an encoded [`crate::Value`].
    Reply {
        /// The call.
        id: u32,
        /// True on the last piece, which ends the call.
        last: bool,
        /// The piece.
        part: &'a [u8],
    },
    /// The call failed and is over.
    Error {
        /// The call.
        id: u32,
        /// Why.
        #[serde(borrow)]
        failure: WireFailure<'a>,
    },
    /// Power off. The port is closed when it is done; it has no other answer.
    Shutdown,
    /// A piece of a stream that lies in the exchange.
    Piece {
        /// The call.
        id: u32,
        /// Which piece of the exchange: one of the sender's.
        piece: u32,
        /// How many bytes, from the start of the piece.
        length: u32,
    },
    /// A piece of the exchange was emptied and belongs to who had filled it again.
    Taken {
        /// Which.
        piece: u32,
    },
}

/// A [`Failure`] inside a frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WireFailure<'a> {
    /// Linux' number, 0 if none.
    pub errno: i32,
    /// The message, cut if it is longer than a frame.
    pub message: &'a [u8],
}

impl<'a> From<&'a Failure> for WireFailure<'a> {
    fn from(failure: &'a Failure) -> Self {
        let bytes = failure.message.as_bytes();
        WireFailure { errno: failure.errno, message: bytes.get(..CHUNK).unwrap_or(bytes) }
    }
}

impl From<WireFailure<'_>> for Failure {
    fn from(failure: WireFailure<'_>) -> Self {
        Failure { errno: failure.errno, message: failure.message.into() }
    }
}

/// The hello of this build.
pub const HELLO: Frame<'static> = Frame::Hello { version: VERSION, table: crate::FINGERPRINT };

/// Writes one frame in one piece; `scratch` is reused between calls.
pub fn write_frame(to: &mut impl Write, frame: &Frame<'_>, scratch: &mut Vec<u8>) -> io::Result<()> {
    scratch.clear();
    scratch.extend_from_slice(&[0; 4]);
    let buffer = postcard::to_extend(frame, std::mem::take(scratch)).map_err(invalid)?;
    *scratch = buffer;
    let length = scratch.len().saturating_sub(4);
    if length > MAX_FRAME {
        return Err(invalid(format!("a frame of {length} bytes")));
    }
    let length = u32::try_from(length).map_err(invalid)?;
    for (place, byte) in scratch.iter_mut().zip(length.to_le_bytes()) {
        *place = byte;
    }
    to.write_all(scratch)
}

/// Reads one frame into `buffer`. `None` at the end of the stream between two frames.
pub fn read_frame<'b>(from: &mut impl Read, buffer: &'b mut Vec<u8>) -> io::Result<Option<Frame<'b>>> {
    let mut length = [0; 4];
    let mut have = 0;
    while let Some(rest @ [_, ..]) = length.get_mut(have..) {
        match from.read(rest) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => have = have.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_FRAME {
        return Err(invalid(format!("A frame claims {length} bytes, {MAX_FRAME} are allowed")));
    }
    buffer.resize(length, 0);
    from.read_exact(buffer)?;
    let (frame, rest) =
        postcard::take_from_bytes(buffer).map_err(|e| invalid(format!("A frame cannot be read: {e}")))?;
    if rest.is_empty() { Ok(Some(frame)) } else { Err(invalid("A frame has bytes after its end")) }
}

/// Encodes a call or a result.
pub fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    postcard::to_stdvec(message).map_err(invalid)
}

/// Decodes a call or a result that must fill the bytes.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> io::Result<T> {
    let (message, rest) = postcard::take_from_bytes(bytes).map_err(invalid)?;
    if rest.is_empty() { Ok(message) } else { Err(invalid("bytes after the end")) }
}

/// Cuts an encoded message into pieces for frames; the flag is true with the last.
pub fn parts(bytes: &[u8]) -> impl Iterator<Item = (bool, &[u8])> {
    let last = bytes.len().div_ceil(CHUNK).max(1).saturating_sub(1);
    let empty = if bytes.is_empty() { Some(&bytes[..0]) } else { None };
    empty.into_iter().chain(bytes.chunks(CHUNK)).enumerate().map(move |(at, part)| (at == last, part))
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;
    use crate::actions::files;
    use crate::{Call, Value};

    #[test]
    fn frames_survive_the_stream_and_bad_ones_are_refused() {
        let mut bytes = Vec::new();
        let mut scratch = Vec::new();
        let big = vec![7; CHUNK];
        let frames = [
            HELLO,
            Frame::Call { id: 1, last: true, part: b"x" },
            Frame::Data { id: u32::MAX, bytes: &big },
            Frame::Shutdown,
        ];
        for frame in &frames {
            write_frame(&mut bytes, frame, &mut scratch).unwrap();
        }
        let mut from = &bytes[..];
        let mut buffer = Vec::new();
        for frame in &frames {
            assert_eq!(read_frame(&mut from, &mut buffer).unwrap().as_ref(), Some(frame));
        }
        assert!(read_frame(&mut from, &mut buffer).unwrap().is_none());
        // Cut at every length of the first frames: an error, never a frame that was not sent, never a panic.
        for end in 1..16 {
            let mut from = &bytes[..end];
            while let Ok(Some(_)) = read_frame(&mut from, &mut buffer) {}
        }
        let claims = u32::try_from(MAX_FRAME + 1).unwrap().to_le_bytes();
        assert!(read_frame(&mut &claims[..], &mut buffer).is_err());
        assert!(buffer.capacity() < MAX_FRAME * 2, "memory was taken for a length that was refused");
    }

    /// Frames and messages with a few bits turned over: refused or understood, and nothing else.
    #[test]
    fn damaged_frames_are_survived() {
        let mut state = 0x9e37_79b9_u64;
        let mut number = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let failure = Failure::new("why").with_errno(5);
        let call = encode(&Call::from(files::Call::chmod { mode: 0o755, path: "/x".into() })).unwrap();
        let value = encode(&Value::Hash(vec![("a".into(), "b".into()), ("c".into(), "d".into())])).unwrap();
        let frames = [
            HELLO,
            Frame::Call { id: 1, last: true, part: &call },
            Frame::Reply { id: 300, last: false, part: &value },
            Frame::Progress { id: 1, position: 1 << 40, total: u64::MAX },
            Frame::Credit { id: 1, bytes: WINDOW },
            Frame::Error { id: 7, failure: WireFailure::from(&failure) },
        ];
        let (mut whole, mut scratch, mut buffer) = (Vec::new(), Vec::new(), Vec::new());
        for frame in &frames {
            write_frame(&mut whole, frame, &mut scratch).unwrap();
        }
        let mut understood = 0;
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..=number(3) {
                let at = number(bytes.len());
                bytes[at] ^= 1 << number(8);
            }
            bytes.truncate(bytes.len() - number(4));
            let mut from = &bytes[..];
            while let Ok(Some(frame)) = read_frame(&mut from, &mut buffer) {
                understood += 1;
                if let Frame::Call { part, .. } | Frame::Reply { part, .. } = frame {
                    let _ = decode::<Call>(part);
                    let _ = decode::<Value>(part);
                }
            }
        }
        assert!(understood > 1000 && buffer.capacity() <= 2 * MAX_FRAME, "{understood}");
    }

    #[test]
    fn messages_are_small_and_whole() {
        let call = Call::from(files::Call::chmod { mode: 0o755, path: "/x".into() });
        let bytes = encode(&call).unwrap();
        assert!(bytes.len() < 12, "{bytes:?}");
        assert_eq!(decode::<Call>(&bytes).unwrap(), call);
        assert!(decode::<Call>(&[&bytes[..], &[0]].concat()).is_err());
        // A list that claims more elements than there are bytes takes no memory for them.
        assert!(decode::<Value>(&[5, 0xff, 0xff, 0xff, 0xff, 0x7f]).is_err());
    }

    #[test]
    fn pieces_add_up() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let bytes = vec![1; length];
            let pieces: Vec<_> = parts(&bytes).collect();
            assert_eq!(pieces.iter().map(|(_, part)| part.len()).sum::<usize>(), length);
            assert!(pieces.iter().rev().skip(1).all(|(last, _)| !last) && pieces.last().unwrap().0);
        }
    }
}
