//! Servers that follow no rules, played by the test.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use super::*;
use crate::stream::Stream;
use crate::wire::{ChunkHeader, Errno, Flags, OptionReply, chunk, info, opt, rep, rep_err};

fn greeting() -> Vec<u8> {
    let mut out = crate::wire::NBD_MAGIC.to_be_bytes().to_vec();
    out.extend(crate::wire::OPTION_MAGIC.to_be_bytes());
    out.extend(3u16.to_be_bytes());
    out
}

fn reply(option: u32, kind: u32, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    OptionReply { option, kind, length: data.len() as u32 }.encode(&mut out);
    out.extend_from_slice(data);
    out
}

/// A server that has said all of this by the time the client listens, and takes everything it is told.
fn saying(words: Vec<u8>) -> Stream {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut sink = theirs.try_clone().unwrap();
    thread::spawn(move || {
        let mut nothing = [0; 4096];
        while sink.read(&mut nothing).is_ok_and(|n| n > 0) {}
    });
    thread::spawn(move || {
        let mut theirs = theirs;
        let _ = theirs.write_all(&words);
        let _ = theirs.shutdown(std::net::Shutdown::Write);
    });
    Stream::socket(ours)
}

const SIZE: u64 = 1 << 20;

/// The words of a handshake that ends with an export of [`SIZE`] bytes.
fn agreed(extended: bool) -> Vec<u8> {
    let mut words = greeting();
    words.extend(reply(opt::EXTENDED_HEADERS, if extended { rep::ACK } else { rep_err::UNSUP }, &[]));
    if !extended {
        words.extend(reply(opt::STRUCTURED_REPLY, rep::ACK, &[]));
    }
    words.extend(reply(opt::SET_META_CONTEXT, rep::META_CONTEXT, b"\0\0\0\x07base:allocation"));
    words.extend(reply(opt::SET_META_CONTEXT, rep::ACK, &[]));
    let mut data = info::EXPORT.to_be_bytes().to_vec();
    data.extend(SIZE.to_be_bytes());
    data.extend((Flags::HAS_FLAGS | Flags::FLUSH).0.to_be_bytes());
    words.extend(reply(opt::GO, rep::INFO, &data));
    words.extend(reply(opt::GO, rep::ACK, &[]));
    words
}

fn piece(extended: bool, flags: u16, kind: u16, cookie: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    ChunkHeader::encode_chunk(flags, kind, cookie, extended.then_some(0), payload.len() as u64, &mut out);
    out.extend_from_slice(payload);
    out
}

/// The cookie of the first request.
const FIRST: u64 = 1 << 16;

fn data(offset: u64, bytes: &[u8]) -> Vec<u8> {
    [&offset.to_be_bytes(), bytes].concat()
}

fn hole(offset: u64, length: u32) -> Vec<u8> {
    [&offset.to_be_bytes()[..], &length.to_be_bytes()].concat()
}

/// What a read of 1024 bytes at 512 gives when the server says `pieces`.
fn read(extended: bool, pieces: &[Vec<u8>]) -> Result<Vec<u8>> {
    let mut words = agreed(extended);
    words.extend(pieces.concat());
    let connection = negotiate(saying(words), &Wishes::new("")).unwrap();
    let mut buf = vec![0xee; 1024];
    connection.read_at(&mut buf, 512).map(|()| buf)
}

#[test]
fn pieces_of_an_answer_come_in_any_order() {
    for extended in [false, true] {
        let bytes = read(
            extended,
            &[
                piece(extended, 0, chunk::OFFSET_HOLE, FIRST, &hole(1024, 512)),
                piece(extended, 0, chunk::OFFSET_DATA, FIRST, &data(512, &[7; 512])),
                piece(extended, chunk::DONE, chunk::NONE, FIRST, &[]),
            ],
        );
        assert_eq!(bytes.unwrap(), [vec![7; 512], vec![0; 512]].concat());
    }
}

#[test]
fn answers_that_break_the_rules_end_the_connection() {
    let done = |kind, payload: &[u8]| piece(false, chunk::DONE, kind, FIRST, payload);
    let part = |kind, payload: &[u8]| piece(false, 0, kind, FIRST, payload);
    let mut simple = Vec::new();
    ChunkHeader::encode_simple(None, FIRST, &mut simple);
    let mut huge = Vec::new();
    ChunkHeader::encode_chunk(1, chunk::OFFSET_DATA, FIRST, None, u64::from(u32::MAX), &mut huge);
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("nothing", vec![done(chunk::NONE, &[])]),
        ("half", vec![done(chunk::OFFSET_DATA, &data(512, &[1; 512]))]),
        ("before", vec![done(chunk::OFFSET_DATA, &data(511, &[1; 512]))]),
        ("behind", vec![done(chunk::OFFSET_DATA, &data(513, &[1; 1024]))]),
        ("wraps", vec![done(chunk::OFFSET_HOLE, &hole(u64::MAX, 2))]),
        (
            "overlap",
            vec![part(chunk::OFFSET_HOLE, &hole(512, 1024)), done(chunk::OFFSET_HOLE, &hole(600, 1))],
        ),
        ("empty hole", vec![part(chunk::OFFSET_HOLE, &hole(512, 0))]),
        ("hole past the request", vec![done(chunk::OFFSET_HOLE, &hole(512, u32::MAX))]),
        ("empty data", vec![part(chunk::OFFSET_DATA, &data(512, &[]))]),
        ("wrong question", vec![done(chunk::BLOCK_STATUS, &[0; 12])]),
        ("unknown", vec![done(99, &[])]),
        ("simple", vec![simple]),
        ("huge", vec![huge]),
        ("cookie", vec![piece(false, 1, chunk::OFFSET_HOLE, FIRST + 1, &hole(512, 1024))]),
        ("extended", vec![piece(true, 1, chunk::OFFSET_HOLE, FIRST, &hole(512, 1024))]),
        ("magic", vec![vec![0; 64]]),
        ("message", vec![done(chunk::ERROR, &[0, 0, 0, 5, 0, 9, b'x'])]),
    ];
    for (name, pieces) in cases {
        assert!(matches!(read(false, &pieces), Err(Error::Protocol(_))), "{name}");
    }
    assert!(matches!(read(false, &[]), Err(Error::Io { .. })));
    let whole = done(chunk::OFFSET_DATA, &data(512, &[1; 1024]));
    for end in [1, 4, 20, 28, 29, whole.len() - 1] {
        assert!(matches!(read(false, &[whole[..end].to_vec()]), Err(Error::Io { .. })), "cut at {end}");
    }
    let floods = vec![part(chunk::ERROR, &[0, 0, 0, 5, 0, 0]); 2000];
    assert!(matches!(read(false, &floods), Err(Error::Protocol(_))));
}

#[test]
fn an_error_counts_even_when_bytes_came() {
    let error = read(
        false,
        &[
            piece(false, 0, chunk::OFFSET_DATA, FIRST, &data(512, &[1; 1024])),
            piece(false, 0, chunk::ERROR, FIRST, b"\0\0\0\x05\0\x04oops"),
            piece(false, chunk::DONE, chunk::NONE, FIRST, &[]),
        ],
    )
    .unwrap_err();
    assert!(matches!(&error, Error::Server { errno: ServerError(Errno::EIO), message } if message == "oops"));
    assert_eq!(crate::client::error::ServerError(Errno::EIO).to_string(), "Input/output error");
}

/// What `block_status` of 64 KiB gives when the server says this.
fn status(kind: u16, payload: &[u8], extended: bool) -> Result<Vec<ContextExtents>> {
    let mut words = agreed(extended);
    words.extend(piece(extended, chunk::DONE, kind, FIRST, payload));
    let connection = negotiate(saying(words), &Wishes::new("")).unwrap();
    connection.block_status(0, 65536, false)
}

#[test]
fn extents_are_checked_and_cut() {
    let narrow = |extents: &[(u32, u32)]| {
        let mut out = 7u32.to_be_bytes().to_vec();
        for (length, flags) in extents {
            out.extend(length.to_be_bytes());
            out.extend(flags.to_be_bytes());
        }
        out
    };
    let found = status(chunk::BLOCK_STATUS, &narrow(&[(4096, 3), (u32::MAX, 0)]), false).unwrap();
    let expected = [StatusExtent { length: 4096, flags: 3 }, StatusExtent { length: SIZE - 4096, flags: 0 }];
    assert_eq!(found, [ContextExtents { context: 0, extents: expected.to_vec() }]);
    let wide =
        [&7u32.to_be_bytes()[..], &1u32.to_be_bytes(), &u64::MAX.to_be_bytes(), &2u64.to_be_bytes()].concat();
    let found = status(chunk::BLOCK_STATUS_EXT, &wide, true).unwrap();
    assert_eq!(found[0].extents, [StatusExtent { length: SIZE, flags: 2 }]);
    for bad in [
        narrow(&[(0, 0)]),
        narrow(&[]),
        vec![0, 0, 0, 7, 0, 0, 0, 1],
        [&[9, 9, 9, 9], &narrow(&[(1, 0)])[4..]].concat(),
    ] {
        assert!(matches!(status(chunk::BLOCK_STATUS, &bad, false), Err(Error::Protocol(_))), "{bad:?}");
    }
    let mut lies = wide.clone();
    lies[7] = 2;
    assert!(matches!(status(chunk::BLOCK_STATUS_EXT, &lies, true), Err(Error::Protocol(_))));
}

#[test]
fn floods_of_option_replies_end() {
    let mut words = greeting();
    words.extend(reply(opt::EXTENDED_HEADERS, rep_err::UNSUP, &[]));
    words.extend(reply(opt::STRUCTURED_REPLY, rep::ACK, &[]));
    for _ in 0..70_000 {
        words.extend(reply(opt::SET_META_CONTEXT, rep::META_CONTEXT, b"\0\0\0\x07x"));
    }
    let error = negotiate(saying(words), &Wishes::new("")).err().unwrap();
    assert!(matches!(error, Error::Protocol(_)), "{error}");
    let mut words = greeting();
    let mut header = Vec::new();
    OptionReply { option: opt::EXTENDED_HEADERS, kind: rep::ACK, length: u32::MAX }.encode(&mut header);
    words.extend(header);
    assert!(matches!(negotiate(saying(words), &Wishes::new("")), Err(Error::Protocol(_))));
}

/// A server that answers reads with their offsets, the later of two first.
fn reversing(mut peer: UnixStream, extended: bool) {
    let size = if extended { crate::wire::EXTENDED_REQUEST } else { crate::wire::COMPACT_REQUEST };
    let mut waiting: Vec<crate::wire::Request> = Vec::new();
    let a_moment = std::time::Duration::from_millis(2);
    peer.set_read_timeout(Some(a_moment)).unwrap();
    loop {
        let mut header = vec![0; size];
        match peer.read_exact(&mut header) {
            Ok(()) => {
                let request = crate::wire::Request::decode(&header, extended).unwrap();
                if request.command == crate::wire::Command::Disconnect {
                    return;
                }
                waiting.push(request);
                if waiting.len() < 2 {
                    continue;
                }
            }
            // Nobody else asks at the moment.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
        for request in waiting.drain(..).rev() {
            let half = request.length / 2;
            for (at, flags) in [(request.offset + half, 0), (request.offset, chunk::DONE)] {
                let bytes: Vec<u8> = (at..at + half).map(|n| (n >> 9) as u8).collect();
                let words = piece(extended, flags, chunk::OFFSET_DATA, request.cookie, &data(at, &bytes));
                if peer.write_all(&words).is_err() {
                    return;
                }
            }
        }
    }
}

#[test]
fn many_threads_each_get_their_own_answer() {
    for length in [512usize, 16 * 1024, 64 * 1024] {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let server = thread::spawn(move || {
            theirs.write_all(&agreed(true)).unwrap();
            // The options of the handshake: their bytes are no request.
            let mut seen = Vec::new();
            let mut byte = [0];
            while !seen.ends_with(&[0, 3, 0, 1, 0, 2, 0, 3]) {
                theirs.read_exact(&mut byte).unwrap();
                seen.push(byte[0]);
            }
            reversing(theirs, true);
        });
        let connection = negotiate(Stream::socket(ours), &Wishes::new("")).unwrap();
        thread::scope(|scope| {
            for worker in 0..4u64 {
                let connection = &connection;
                scope.spawn(move || {
                    for round in 0..50u64 {
                        let offset = (worker * 50 + round) * 4096 % (SIZE - length as u64);
                        let mut buf = vec![0; length];
                        connection.read_at(&mut buf, offset).unwrap();
                        let expected: Vec<u8> =
                            (offset..offset + length as u64).map(|n| (n >> 9) as u8).collect();
                        assert!(buf == expected, "{length} bytes at {offset}");
                    }
                });
            }
        });
        drop(connection);
        server.join().unwrap();
    }
}

/// What a server said from beginning to end, changed in a few places: nothing panics, hangs or takes much memory, and
/// what is read is either all there or an error.
#[test]
fn servers_that_lie_anywhere() {
    let narrow = [
        &7u32.to_be_bytes()[..],
        &4096u32.to_be_bytes(),
        &3u32.to_be_bytes(),
        &61440u32.to_be_bytes(),
        &[0; 4],
    ]
    .concat();
    let mut numbers = 0x9e37_79b9_7f4a_7c15u64;
    let mut below = move |limit: usize| {
        numbers ^= numbers << 13;
        numbers ^= numbers >> 7;
        numbers ^= numbers << 17;
        (numbers >> 16) as usize % limit.max(1)
    };
    let (mut good, rounds) = (0, 4000);
    for round in 0..rounds {
        let extended = round % 2 == 0;
        let mut words = agreed(extended);
        words.extend(piece(extended, 0, chunk::OFFSET_HOLE, FIRST, &hole(1024, 512)));
        words.extend(piece(extended, 1, chunk::OFFSET_DATA, FIRST, &data(512, &[7; 512])));
        words.extend(piece(extended, 1, chunk::BLOCK_STATUS, 2 << 16, &narrow));
        words.extend(piece(extended, 1, chunk::ERROR, 3 << 16, b"\0\0\0\x05\0\x04oops"));
        for _ in 0..below(4) {
            let (at, width) = (below(words.len()), [1, 2, 4, 8][below(4)]);
            let new =
                [[0xff; 8], [0; 8], [0x80, 0, 0, 0, 0, 0, 0, 1], (below(usize::MAX) as u64).to_be_bytes()];
            let new = new[below(4)];
            for (place, new) in words.iter_mut().skip(at).take(width).zip(new) {
                *place = new;
            }
        }
        let end = if below(8) == 0 { below(words.len()) } else { words.len() };
        words.truncate(end);
        let Ok(connection) = negotiate(saying(words), &Wishes::new("")) else { continue };
        let mut buf = vec![0xee; 1024];
        if connection.read_at(&mut buf, 512).is_ok() {
            good += 1;
            assert!(buf != vec![0xee; 1024]);
        }
        let _ = connection.block_status(0, 65536, false);
        let _ = connection.write_at(&[1; 512], 0, true);
        let _ = connection.flush();
    }
    assert!(good > rounds / 8, "{good} of {rounds} were understood");
}
