//! The client against agents that lie, stall or die: each is an error, none a hang or a crash.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use appliance_engine::rpc::Client;
use guestd_api::prelude::*;
use guestd_api::wire::{self, CHUNK, Frame, HELLO, WINDOW};
use guestd_api::{Error, Value};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

/// The agent's side of a connection.
struct Fake {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Fake {
    fn send(&mut self, frame: &Frame<'_>) {
        // The client may have hung up already, which is what is tested.
        let _ = wire::write_frame(&mut self.stream, frame, &mut Vec::new());
    }

    /// The number of the next call.
    fn call(&mut self) -> u32 {
        loop {
            if let Frame::Call { id, last: true, .. } =
                wire::read_frame(&mut self.stream, &mut self.buffer).unwrap().unwrap()
            {
                return id;
            }
        }
    }
}

/// A client of an agent that behaves as `agent` does after the hello.
fn client(agent: impl FnOnce(Fake) + Send + 'static) -> Client {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut fake = Fake { stream: theirs, buffer: Vec::new() };
    thread::spawn(move || {
        fake.send(&HELLO);
        agent(fake);
    });
    Client::new(ours).unwrap()
}

#[test]
fn a_wrong_start_is_refused() {
    let start = |bytes: Vec<u8>| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(&bytes).unwrap();
        let result = Client::with_patience(ours, Duration::from_millis(300)).map(|_| ());
        drop(theirs);
        result.unwrap_err()
    };
    let raw = |frame: &Frame<'_>| {
        let mut bytes = Vec::new();
        wire::write_frame(&mut bytes, frame, &mut Vec::new()).unwrap();
        bytes
    };
    assert!(matches!(start(Vec::new()), Error::Disconnected(_)));
    assert!(matches!(start(vec![0xff; 100]), Error::Protocol(_)));
    assert!(matches!(start(raw(&Frame::Shutdown)), Error::Protocol(_)));
    let other = start(raw(&Frame::Hello { version: wire::VERSION, table: 1 }));
    assert!(other.to_string().contains("build the appliance again"), "{other}");
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    assert!(matches!(Client::new(ours), Err(Error::Disconnected(_))));
}

#[test]
fn lies_are_found_out() {
    type Lie = fn(&mut Fake, u32);
    let lies: &[(&str, Lie)] = &[
        ("an answer to no call", |fake, id| {
            fake.send(&Frame::Reply { id: id.wrapping_add(1), last: true, part: &[0] })
        }),
        ("a piece without an exchange", |fake, id| {
            fake.send(&Frame::Piece { id, piece: guestd_api::exchange::TO_HOST.start, length: 1 })
        }),
        ("a piece given back that it never had", |fake, _| fake.send(&Frame::Taken { piece: 0 })),
        ("data without a stream", |fake, id| fake.send(&Frame::Data { id, bytes: b"x" })),
        ("a result of another kind", |fake, id| {
            let part = wire::encode(&Value::Int(1)).unwrap();
            fake.send(&Frame::Reply { id, last: true, part: &part });
        }),
        ("a result that is no result", |fake, id| fake.send(&Frame::Reply { id, last: true, part: &[99] })),
        ("a frame of the host's", |fake, _| fake.send(&Frame::Shutdown)),
        ("a huge frame", |fake, _| fake.stream.write_all(&[0xff; 8]).unwrap()),
    ];
    for (name, lie) in lies {
        let lie = *lie;
        let client = client(move |mut fake| {
            let id = fake.call();
            lie(&mut fake, id);
            // What it still reads keeps the connection open: the client must end by itself.
            let _ = wire::read_frame(&mut fake.stream, &mut fake.buffer);
        });
        let error = client.ls("/").unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{name}: {error}");
    }
    let client = client(|mut fake| {
        let id = fake.call();
        for _ in 0..WINDOW / CHUNK as u64 + 1 {
            fake.send(&Frame::Data { id, bytes: &[0; CHUNK] });
        }
        let _ = fake.call();
    });
    struct Stuck;
    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            thread::sleep(Duration::from_millis(50));
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let error = client.download("/x", Stuck).unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "more than the credit: {error}");
    assert!(!client.is_alive());
}

#[test]
fn pieces_of_the_exchange_are_checked_and_given_back() {
    use guestd_api::exchange::{PIECE, PIECES, SIZE, TO_HOST, offset};
    use libimage::Block;
    use libimage::storage::Memory;
    use std::sync::Arc;

    let with_exchange = |agent: Box<dyn FnOnce(Fake, Arc<Memory>) + Send>| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let memory = Arc::new(Memory::new(SIZE));
        let guests = Arc::clone(&memory);
        let mut fake = Fake { stream: theirs, buffer: Vec::new() };
        thread::spawn(move || {
            fake.send(&HELLO);
            agent(fake, guests);
        });
        Client::with_exchange(ours, memory).unwrap()
    };
    let first = TO_HOST.start;
    // Each piece goes twice round: it is free again once it was taken.
    let client = with_exchange(Box::new(move |mut fake, memory| {
        let id = fake.call();
        for round in 0..2u8 {
            for number in 0..PIECES {
                let piece = first + number;
                memory.write_at(&[round * 16 + number as u8; 100], offset(piece)).unwrap();
                fake.send(&Frame::Piece { id, piece, length: 100 });
            }
            for _ in 0..PIECES {
                let frame = wire::read_frame(&mut fake.stream, &mut fake.buffer).unwrap().unwrap();
                assert!(matches!(frame, Frame::Taken { .. }), "{frame:?}");
            }
        }
        let part = wire::encode(&Value::Void).unwrap();
        fake.send(&Frame::Reply { id, last: true, part: &part });
        fake.call();
    }));
    let mut got = Vec::new();
    client.download("/x", &mut got).unwrap();
    let expected: Vec<u8> =
        [0, 16].iter().flat_map(|round| (0..PIECES as u8).flat_map(move |n| [round + n; 100])).collect();
    assert!(got == expected);

    let too_long = u32::try_from(PIECE).unwrap() + 1;
    for (name, pieces) in [
        ("the host's own", vec![(0, 1)]),
        ("beyond the end", vec![(TO_HOST.end, 1)]),
        ("empty", vec![(first, 0)]),
        ("too long", vec![(first, too_long)]),
    ] {
        let client = with_exchange(Box::new(move |mut fake, _| {
            let id = fake.call();
            for (piece, length) in pieces {
                fake.send(&Frame::Piece { id, piece, length });
            }
            let _ = wire::read_frame(&mut fake.stream, &mut fake.buffer);
        }));
        let error = client.download("/x", Vec::new()).unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{name}: {error}");
    }
    // And one for a call that has no stream.
    let client = with_exchange(Box::new(move |mut fake, _| {
        let id = fake.call();
        fake.send(&Frame::Piece { id, piece: first, length: 1 });
        let _ = wire::read_frame(&mut fake.stream, &mut fake.buffer);
    }));
    assert!(matches!(client.ls("/").unwrap_err(), Error::Protocol(_)));
}

#[test]
fn a_result_in_pieces_is_one() {
    let lines: Vec<GuestString> = (0..100_000).map(|number| format!("line {number}").into()).collect();
    let expected = lines.clone();
    let client = client(move |mut fake| {
        let id = fake.call();
        let bytes = wire::encode(&Value::StringList(lines)).unwrap();
        for (last, part) in wire::parts(&bytes) {
            fake.send(&Frame::Reply { id, last, part });
        }
        let _ = fake.call();
    });
    assert!(client.find("/").unwrap() == expected);
}

#[test]
fn an_agent_that_dies_ends_every_call() {
    let client = client(|mut fake| {
        fake.call();
        fake.call();
    });
    thread::scope(|scope| {
        let calls = [scope.spawn(|| client.ls("/")), scope.spawn(|| client.find("/"))];
        for call in calls {
            assert!(matches!(call.join().unwrap(), Err(Error::Disconnected(_))));
        }
    });
    assert!(matches!(client.ls("/"), Err(Error::Disconnected(_))));
}
