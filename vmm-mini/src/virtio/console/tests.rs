#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use vm_memory::{Bytes, GuestAddress};

use super::{Console, NamedPort};
use crate::virtio::device::VirtioDevice;
use crate::virtio::testing::Piece::{In, Out};
use crate::virtio::testing::{Counter, Driver, PATIENCE, guest_memory, wait_for};

const DATA: u64 = 0x20_0000;
const ANSWERS: u64 = 0x30_0000;
const RX: usize = 4;
const TX: usize = 5;

/// A console with one named port and its driver, one `Driver` for each queue.
struct Machine {
    console: Console,
    queues: Vec<Driver>,
    interrupts: Arc<Counter>,
    host: UnixStream,
}

fn machine() -> Machine {
    let (host, stream) = UnixStream::pair().unwrap();
    host.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = NamedPort { name: "org.example.0".into(), stream, hang_up: true };
    let console = Console::new(None, vec![port]).unwrap();
    console.set_features(console.features());
    let memory = guest_memory();
    let interrupts = Arc::new(Counter::default());
    let queues: Vec<Driver> = (0..6).map(|index| Driver::new(&memory, 0x1_0000 * (index + 1))).collect();
    for (index, queue) in queues.iter().enumerate() {
        console.start_queue(index as u16, queue.resources(&interrupts, None)).unwrap();
    }
    Machine { console, queues, interrupts, host }
}

impl Machine {
    fn tell(&mut self, port: u32, event: u16, value: u16) {
        let message = [&port.to_le_bytes()[..], &event.to_le_bytes(), &value.to_le_bytes()].concat();
        self.queues[3].memory.write_slice(&message, GuestAddress(DATA)).unwrap();
        assert_eq!(self.queues[3].round_trip(&[Out(DATA, 8)]), 0);
    }

    /// Offers a buffer for a control message and waits for it.
    fn told(&mut self) -> Vec<u8> {
        let written = self.queues[2].round_trip(&[In(ANSWERS, 64)]);
        self.bytes(ANSWERS, written)
    }

    fn bytes(&self, at: u64, count: u32) -> Vec<u8> {
        let mut bytes = vec![0; count as usize];
        self.queues[0].memory.read_slice(&mut bytes, GuestAddress(at)).unwrap();
        bytes
    }

    fn open(&mut self) {
        self.tell(u32::MAX, 0, 1);
        assert_eq!(self.told(), [1, 0, 0, 0, 1, 0, 1, 0], "PORT_ADD");
        self.tell(1, 3, 1);
        assert_eq!(self.told(), [&[1, 0, 0, 0, 7, 0, 1, 0], &b"org.example.0"[..]].concat(), "PORT_NAME");
        assert_eq!(self.told(), [1, 0, 0, 0, 6, 0, 1, 0], "PORT_OPEN");
        self.tell(1, 6, 1);
    }

    fn write(&mut self, bytes: &[u8]) {
        self.queues[TX].memory.write_slice(bytes, GuestAddress(DATA)).unwrap();
        self.queues[TX].round_trip(&[Out(DATA, bytes.len() as u32)]);
    }
}

#[test]
fn handshake_and_bytes_both_ways() {
    let mut m = machine();
    let mut space = [0xaa; 16];
    m.console.read_config(0, &mut space);
    assert_eq!(space, [0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(m.console.queue_sizes().len(), 6);

    // What the host says before the guest has opened the port waits for it.
    m.host.write_all(b"early").unwrap();
    let head = m.queues[RX].add(&[In(ANSWERS, 3), In(ANSWERS + 3, 100)]);
    m.queues[RX].kick();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(m.queues[RX].used_index(), 0);
    m.open();
    assert_eq!(m.queues[RX].used(), (head, 5));
    assert_eq!(m.bytes(ANSWERS, 5), b"early");

    m.write(b"to the host");
    let mut bytes = [0; 11];
    m.host.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"to the host");
    assert!(m.interrupts.queue.load(Ordering::SeqCst) > 0);
}

#[test]
fn a_slow_host_holds_the_guest_back_and_loses_nothing() {
    let mut m = machine();
    m.open();
    m.host.set_nonblocking(true).unwrap();
    let mut sent = Vec::new();
    // More than a socket holds: at some point a request is no longer given back.
    let mut waiting = false;
    for round in 0..200u8 {
        let block = vec![round; 32 * 1024];
        let at = DATA + 0x8000 * u64::from(round % 8);
        m.queues[TX].memory.write_slice(&block, GuestAddress(at)).unwrap();
        let before = m.queues[TX].used_index();
        m.queues[TX].add(&[Out(at, block.len() as u32)]);
        m.queues[TX].kick();
        sent.extend_from_slice(&block);
        for _ in 0..100 {
            if m.queues[TX].used_index() != before {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        if m.queues[TX].used_index() == before {
            waiting = true;
            break;
        }
        m.queues[TX].used();
    }
    assert!(waiting, "the host never pushed back");
    // Stopping does not wait for the host; what was taken is not lost by it.
    let state = m.console.stop_queue(TX as u16).unwrap();
    assert_eq!(state.next_avail, state.next_used);
    m.console.start_queue(TX as u16, m.queues[TX].resources(&m.interrupts, Some(state))).unwrap();
    let mut received = Vec::new();
    wait_for("all bytes", || {
        let mut buffer = [0; 65536];
        match m.host.read(&mut buffer) {
            Ok(count) => received.extend_from_slice(&buffer[..count]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        received.len() == sent.len()
    });
    assert!(received == sent);
    m.queues[TX].used();
}

#[test]
fn a_slow_guest_holds_the_host_back() {
    let mut m = machine();
    m.open();
    m.host.set_nonblocking(true).unwrap();
    let mut sent = 0;
    while let Ok(count) = m.host.write(&[7; 4096]) {
        sent += count;
        assert!(sent < 64 << 20, "the guest has no buffers, yet the host can write for ever");
    }
    let mut received = 0;
    while received < sent {
        received += m.queues[RX].round_trip(&[In(ANSWERS, 4096)]) as usize;
    }
    assert_eq!(received, sent);
}

#[test]
fn the_guest_closes_the_port() {
    let mut m = machine();
    m.open();
    m.write(b"last words");
    m.tell(1, 6, 0);
    let mut all = Vec::new();
    m.host.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"last words");
}

#[test]
fn the_host_closes_the_port() {
    let mut m = machine();
    m.open();
    m.host.write_all(b"bye").unwrap();
    m.host = UnixStream::pair().unwrap().0;
    assert_eq!(m.queues[RX].round_trip(&[In(ANSWERS, 10)]), 3);
    m.queues[RX].add(&[In(ANSWERS, 10)]);
    m.queues[RX].kick();
    assert_eq!(m.told(), [1, 0, 0, 0, 6, 0, 0, 0], "PORT_OPEN 0");
    // What the guest still writes is taken, so that its writers do not hang.
    for _ in 0..3 {
        m.write(&[1; 4096]);
    }
    // The receive buffer was not used up by the end of the stream.
    let state = m.console.stop_queue(RX as u16).unwrap();
    assert_eq!((state.next_avail, state.next_used), (1, 1));
}

#[test]
fn nonsense_from_the_guest() {
    let mut m = machine();
    m.open();
    for (port, event, value) in [(7, 3, 1), (u32::MAX, 6, 1), (0, 3, 1), (1, 99, 0), (1, 3, 0), (0, 7, 5)] {
        m.tell(port, event, value);
    }
    assert_eq!(m.queues[3].round_trip(&[Out(DATA, 5)]), 0, "a message cut short");
    assert_eq!(m.queues[3].round_trip(&[In(DATA, 8)]), 0, "a message to write");
    assert_eq!(m.queues[3].round_trip(&[Out(1 << 40, 8)]), 0, "a message from nowhere");
    assert_eq!(m.queues[TX].round_trip(&[Out(1 << 40, 8)]), 0, "data from nowhere");
    m.host.write_all(b"x").unwrap();
    assert_eq!(m.queues[RX].round_trip(&[In(1 << 40, 8)]), 0, "data to nowhere");
    assert_eq!(m.queues[RX].round_trip(&[In(ANSWERS, 8)]), 1);
    m.host.write_all(b"y").unwrap();
    assert_eq!(m.queues[RX].round_trip(&[Out(ANSWERS, 8)]), 0, "no room at all");
    assert_eq!(m.queues[RX].round_trip(&[In(ANSWERS, 8)]), 1);
    // Questions whose answers nobody takes do not pile up without end.
    for _ in 0..2000 {
        m.tell(1, 3, 1);
    }
    m.console.reset();
    assert!((0..6).all(|index| m.console.stop_queue(index).is_none()));
}

#[test]
fn a_driver_without_ports_has_a_console() {
    let (mut host, stream) = UnixStream::pair().unwrap();
    host.set_read_timeout(Some(PATIENCE)).unwrap();
    let console = Console::new(Some(stream), Vec::new()).unwrap();
    console.set_features(1 << 32);
    let memory = guest_memory();
    let interrupts = Arc::new(Counter::default());
    let mut queues: Vec<Driver> = (0..2).map(|index| Driver::new(&memory, 0x1_0000 * (index + 1))).collect();
    for (index, queue) in queues.iter().enumerate() {
        console.start_queue(index as u16, queue.resources(&interrupts, None)).unwrap();
    }
    host.write_all(b"in").unwrap();
    assert_eq!(queues[0].round_trip(&[In(DATA, 10)]), 2);
    queues[1].round_trip(&[Out(DATA, 2)]);
    let mut bytes = [0; 2];
    host.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"in");
}
