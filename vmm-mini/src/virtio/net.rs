//! A virtio network device (specification, section 5.1): one pair of queues, and frames over a stream.
//!
//! The host's end is a Unix stream socket that carries Ethernet frames as QEMU's stream sockets do: four
//! bytes of length, big endian, then the frame. Who is at its other end, passt for one, decides what the
//! guest can reach. Frames for the guest wait in the socket until it has buffers, and frames of the guest
//! wait in its ring until the socket takes them: nothing is lost between, and little is kept here.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::PollFlags;
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ids::VIRTIO_ID_NET;
use virtio_bindings::virtio_net::{VIRTIO_NET_F_MAC, VIRTIO_NET_F_MTU, VIRTIO_NET_F_STATUS};
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::QueueState;

use super::device::{Interrupt, QueueResources, VirtioDevice, read_space};
use super::queue::{Ring, RingError};
use super::worker::{Handler, Next, Stop, Worker};

/// Largest packet in bytes that the guest may send, as it is told: near the most that IPv4 can express, since
/// the cost is one of packets, not of bytes.
pub const MTU: u16 = 65_520;

const QUEUE_SIZE: u16 = 256;
/// Packets for the guest, then those from it.
const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;
/// Before every frame in the guest's memory. Without offloads all of it is zero, but for the number of buffers.
const HEADER: usize = 12;
const ONE_BUFFER: [u8; HEADER] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
/// Before every frame in the stream.
const LENGTH: usize = 4;
/// A frame has at least its addresses and type, and at most what an MTU can say, with those and a tag.
const FRAMES: std::ops::RangeInclusive<usize> = 14..=65_535 + 18;
/// Bytes taken from the stream at once: several frames of full size.
const INPUT: usize = 256 << 10;
/// Link status in the configuration space: the link is up.
const LINK_UP: u16 = 1;

/// The network device.
pub struct Net {
    shared: Arc<Shared>,
    workers: Mutex<[Option<Worker>; 2]>,
}

/// What the queues' threads share.
struct Shared {
    mac: [u8; 6],
    stream: UnixStream,
    up: AtomicBool,
    interrupt: Mutex<Option<Arc<dyn Interrupt>>>,
    /// Taken from the stream, not given to the guest yet. Outlives a stop of the queue.
    input: Mutex<Input>,
    /// Of a frame that the stream has not taken whole.
    output: Mutex<Vec<u8>>,
}

impl Net {
    /// Creates a device with this address, whose frames travel over `stream`.
    ///
    /// # Errors
    /// When the stream cannot be made non-blocking.
    pub fn new(mac: [u8; 6], stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Net {
            shared: Arc::new(Shared {
                mac,
                stream,
                up: AtomicBool::new(true),
                interrupt: Mutex::new(None),
                input: Mutex::default(),
                output: Mutex::default(),
            }),
            workers: Mutex::default(),
        })
    }
}

impl Shared {
    fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// The host's end is gone: the guest sees a link without a carrier.
    fn link_down(&self) {
        if self.up.swap(false, Ordering::AcqRel) {
            let interrupt = self.interrupt.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(interrupt) = interrupt {
                // A guest that cannot be told finds out by itself.
                let _ = interrupt.config();
            }
        }
    }
}

impl VirtioDevice for Net {
    fn device_id(&self) -> u32 {
        VIRTIO_ID_NET
    }

    fn features(&self) -> u64 {
        [
            VIRTIO_F_VERSION_1,
            VIRTIO_RING_F_EVENT_IDX,
            VIRTIO_RING_F_INDIRECT_DESC,
            VIRTIO_NET_F_MAC,
            VIRTIO_NET_F_MTU,
            VIRTIO_NET_F_STATUS,
        ]
        .into_iter()
        .fold(0, |all, bit| all | 1 << bit)
    }

    fn set_features(&self, _accepted: u64) {}

    fn queue_sizes(&self) -> Vec<u16> {
        vec![QUEUE_SIZE; 2]
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        // mac, status u16, max_virtqueue_pairs u16, mtu u16
        let mut space = [0; 12];
        let status = if self.shared.is_up() { LINK_UP } else { 0 };
        space[..6].copy_from_slice(&self.shared.mac);
        space[6..8].copy_from_slice(&status.to_le_bytes());
        space[8..10].copy_from_slice(&1u16.to_le_bytes());
        space[10..].copy_from_slice(&MTU.to_le_bytes());
        read_space(&space, offset, data);
    }

    fn write_config(&self, _offset: u64, _data: &[u8]) {}

    fn start_queue(&self, index: u16, resources: QueueResources) -> io::Result<()> {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let interrupt = Arc::clone(&resources.interrupt);
        let shared = Arc::clone(&self.shared);
        let worker = match index {
            RECEIVE => Worker::start("net-rx".into(), index, resources, Receive(shared))?,
            TRANSMIT => Worker::start("net-tx".into(), index, resources, Transmit(shared))?,
            _ => {
                let text = format!("The network device has no queue {index}");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        };
        workers[usize::from(index)] = Some(worker);
        *self.shared.interrupt.lock().unwrap_or_else(PoisonError::into_inner) = Some(interrupt);
        Ok(())
    }

    fn stop_queue(&self, index: u16) -> Option<QueueState> {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.get_mut(usize::from(index))?.take()?.stop()
    }

    fn reset(&self) {
        self.stop_queue(RECEIVE);
        self.stop_queue(TRANSMIT);
        *self.shared.interrupt.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Bytes of the stream that are not used up.
#[derive(Default)]
struct Input {
    bytes: Vec<u8>,
    start: usize,
}

/// What the stream has.
enum Frame<'i> {
    /// A whole frame.
    Whole(&'i [u8]),
    /// Not yet.
    Partial,
    /// A length that no frame has: nothing after it can be understood.
    Nonsense,
}

impl Input {
    /// The first frame.
    fn frame(&self) -> Frame<'_> {
        let rest = self.bytes.get(self.start..).unwrap_or_default();
        let Some((length, rest)) = rest.split_first_chunk::<LENGTH>() else { return Frame::Partial };
        let length = u32::from_be_bytes(*length) as usize;
        if length > *FRAMES.end() {
            return Frame::Nonsense;
        }
        rest.get(..length).map_or(Frame::Partial, Frame::Whole)
    }

    /// Lets a frame of this length go.
    fn consume(&mut self, length: usize) {
        self.start += LENGTH + length;
        if self.start >= self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// Takes more from the stream.
    fn fill(&mut self, mut stream: &UnixStream) -> io::Result<usize> {
        self.bytes.drain(..self.start);
        self.start = 0;
        let have = self.bytes.len();
        self.bytes.resize(have + INPUT, 0);
        let read = stream.read(self.bytes.get_mut(have..).unwrap_or_default());
        self.bytes.truncate(have + read.as_ref().copied().unwrap_or(0));
        read
    }
}

/// Host to guest.
struct Receive(Arc<Shared>);

impl Handler for Receive {
    fn serve(&mut self, ring: &mut Ring, stop: &Stop) -> Result<Next, RingError> {
        ring.hush()?;
        let mut input = self.0.input.lock().unwrap_or_else(PoisonError::into_inner);
        while !stop.requested() && self.0.is_up() {
            let frame = match input.frame() {
                Frame::Whole(frame) => frame,
                Frame::Nonsense => {
                    self.0.link_down();
                    break;
                }
                Frame::Partial => match input.fill(&self.0.stream) {
                    Ok(1..) => continue,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Ok(0) | Err(_) => {
                        self.0.link_down();
                        break;
                    }
                },
            };
            let length = frame.len();
            if FRAMES.contains(&length) {
                let Some(mut chain) = ring.pop()? else {
                    ring.announce()?;
                    return Ok(if ring.listen()? { Next::Again } else { Next::Doorbell });
                };
                // A frame that does not fit into the guest's buffer, or a buffer in no memory: it is dropped.
                let fits = chain.writable.len() >= (HEADER + length) as u64;
                let written = fits
                    && chain.writable.write(ring.memory(), &ONE_BUFFER).is_ok()
                    && chain.writable.write(ring.memory(), frame).is_ok();
                ring.push(chain.head, if written { (HEADER + length) as u32 } else { 0 })?;
            }
            input.consume(length);
        }
        ring.announce()?;
        Ok(Next::Source)
    }

    fn source(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        // A closed stream is always readable: it is not asked again.
        self.0.is_up().then(|| (self.0.stream.as_fd(), PollFlags::IN))
    }
}

/// Guest to host.
struct Transmit(Arc<Shared>);

impl Transmit {
    /// Offers the host what is kept. False when it has still not taken all.
    fn flush(&self, output: &mut Vec<u8>) -> bool {
        let mut done = 0;
        while let Some(rest) = output.get(done..).filter(|rest| !rest.is_empty()) {
            match (&self.0.stream).write(rest) {
                Ok(count @ 1..) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(0) | Err(_) => {
                    self.0.link_down();
                    done = output.len();
                }
            }
        }
        output.drain(..done);
        output.is_empty()
    }
}

impl Handler for Transmit {
    fn serve(&mut self, ring: &mut Ring, stop: &Stop) -> Result<Next, RingError> {
        ring.hush()?;
        let mut output = self.0.output.lock().unwrap_or_else(PoisonError::into_inner);
        while !stop.requested() {
            if !self.flush(&mut output) {
                ring.announce()?;
                return Ok(Next::Source);
            }
            let Some(mut chain) = ring.pop()? else { break };
            let length = usize::try_from(chain.readable.len()).unwrap_or(usize::MAX).saturating_sub(HEADER);
            // Without a host's end, or with a length that no frame has, it goes nowhere.
            if FRAMES.contains(&length) && self.0.is_up() {
                output.resize(LENGTH + HEADER + length, 0);
                let (prefix, packet) = output.split_at_mut(LENGTH);
                prefix.copy_from_slice(&(length as u32).to_be_bytes());
                match chain.readable.read(ring.memory(), packet) {
                    Ok(()) => drop(output.drain(LENGTH..LENGTH + HEADER)),
                    Err(_) => output.clear(),
                }
            }
            ring.push(chain.head, 0)?;
        }
        ring.announce()?;
        Ok(if ring.listen()? { Next::Again } else { Next::Doorbell })
    }

    fn source(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let waiting = !self.0.output.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        waiting.then(|| (self.0.stream.as_fd(), PollFlags::OUT))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use vm_memory::{Bytes, GuestAddress};

    use super::super::testing::{Counter, Driver, Piece, guest_memory, wait_for};
    use super::*;

    const MAC: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];

    /// A device with its driver's two queues and the host's end.
    struct Bench {
        net: Net,
        receive: Driver,
        transmit: Driver,
        interrupt: Arc<Counter>,
        host: UnixStream,
    }

    fn bench() -> Bench {
        let memory = guest_memory();
        let (host, stream) = UnixStream::pair().unwrap();
        let net = Net::new(MAC, stream).unwrap();
        let (receive, transmit) = (Driver::new(&memory, 0x10_0000), Driver::new(&memory, 0x11_0000));
        let interrupt = Arc::new(Counter::default());
        net.start_queue(RECEIVE, receive.resources(&interrupt, None)).unwrap();
        net.start_queue(TRANSMIT, transmit.resources(&interrupt, None)).unwrap();
        Bench { net, receive, transmit, interrupt, host }
    }

    fn framed(frame: &[u8]) -> Vec<u8> {
        [&(frame.len() as u32).to_be_bytes()[..], frame].concat()
    }

    fn read_frame(mut host: &UnixStream) -> Vec<u8> {
        let mut length = [0; 4];
        host.read_exact(&mut length).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        host.read_exact(&mut frame).unwrap();
        frame
    }

    #[test]
    fn frames_travel_both_ways_whole() {
        let mut bench = bench();
        for (number, length) in [14, 60, 1514, 65_534].into_iter().enumerate() {
            let frame: Vec<u8> = (0..length).map(|at| (at * 7 + number) as u8).collect();
            // The guest's, in two pieces and with a header that says nothing.
            let memory = &bench.transmit.memory;
            memory.write_slice(&[0; HEADER], GuestAddress(0x20_0000)).unwrap();
            memory.write_slice(&frame, GuestAddress(0x21_0000)).unwrap();
            let packet = [Piece::Out(0x20_0000, HEADER as u32), Piece::Out(0x21_0000, length as u32)];
            bench.transmit.round_trip(&packet);
            assert_eq!(read_frame(&bench.host), frame);
            // The host's, in many pieces.
            let head = bench.receive.add(&[Piece::In(0x30_0000, 40_000), Piece::In(0x50_0000, 40_000)]);
            bench.receive.kick();
            for piece in framed(&frame).chunks(1000) {
                bench.host.write_all(piece).unwrap();
            }
            assert_eq!(bench.receive.used(), (head, (HEADER + length) as u32));
            let mut got = vec![0; 80_000];
            bench.receive.memory.read_slice(&mut got[..40_000], GuestAddress(0x30_0000)).unwrap();
            bench.receive.memory.read_slice(&mut got[40_000..], GuestAddress(0x50_0000)).unwrap();
            assert_eq!(got[..HEADER], ONE_BUFFER);
            assert!(got[HEADER..HEADER + length] == frame[..], "{length}");
        }
    }

    #[test]
    fn frames_wait_for_buffers_and_a_queue_that_stops() {
        let mut bench = bench();
        for number in 0..3u8 {
            bench.host.write_all(&framed(&[number; 20])).unwrap();
        }
        let state = bench.net.stop_queue(RECEIVE).unwrap();
        bench.net.start_queue(RECEIVE, bench.receive.resources(&bench.interrupt, Some(state))).unwrap();
        for number in 0..3u8 {
            assert_eq!(bench.receive.round_trip(&[Piece::In(0x30_0000, 2000)]), 32);
            let first: u8 = bench.receive.memory.read_obj(GuestAddress(0x30_0000 + 12)).unwrap();
            assert_eq!(first, number);
        }
    }

    #[test]
    fn what_is_no_frame_is_dropped() {
        let mut bench = bench();
        // From the guest: too short, too long, in no memory. The next one passes.
        bench.transmit.round_trip(&[Piece::Out(0x20_0000, 5)]);
        bench.transmit.round_trip(&[Piece::Out(0x20_0000, 200_000)]);
        bench.transmit.round_trip(&[Piece::Out(0xffff_ffff_0000, 100)]);
        bench.transmit.round_trip(&[Piece::Out(0x20_0000, (HEADER + 30) as u32)]);
        assert_eq!(read_frame(&bench.host).len(), 30);
        // For the guest: too short for a frame, then too long for its buffer.
        bench.host.write_all(&framed(&[])).unwrap();
        bench.host.write_all(&framed(&[1; 13])).unwrap();
        bench.host.write_all(&framed(&[2; 1000])).unwrap();
        assert_eq!(bench.receive.round_trip(&[Piece::In(0x30_0000, 100)]), 0);
        bench.host.write_all(&framed(&[3; 64])).unwrap();
        assert_eq!(bench.receive.round_trip(&[Piece::In(0x30_0000, 100)]), 76);
    }

    #[test]
    fn a_host_that_goes_or_talks_nonsense_is_a_link_without_carrier() {
        for nonsense in [false, true] {
            let mut bench = bench();
            let mut config = [0; 12];
            bench.net.read_config(0, &mut config);
            assert_eq!((config[..6].to_vec(), config[6]), (MAC.to_vec(), 1));
            assert_eq!(u16::from_le_bytes([config[10], config[11]]), MTU);
            if nonsense {
                bench.host.write_all(&u32::MAX.to_be_bytes()).unwrap();
            } else {
                bench.host = UnixStream::pair().unwrap().0;
            }
            wait_for("the link to go down", || {
                bench.net.read_config(6, &mut config[..2]);
                config[0] == 0
            });
            wait_for("its interrupt", || bench.interrupt.config.load(Ordering::SeqCst) == 1);
            // The guest gets its buffers back.
            bench.transmit.round_trip(&[Piece::Out(0x20_0000, 100)]);
        }
    }

    #[test]
    fn a_host_that_does_not_read_holds_the_guest_back() {
        let mut bench = bench();
        let packet = [Piece::Out(0x20_0000, 60_000)];
        let mut sent = 0;
        // Until the socket and the ring are full.
        for _ in 0..super::super::testing::QUEUE_SIZE {
            bench.transmit.add(&packet);
            sent += 1;
        }
        bench.transmit.kick();
        for _ in 0..sent {
            assert_eq!(read_frame(&bench.host).len(), 60_000 - HEADER);
        }
        for _ in 0..sent {
            bench.transmit.used();
        }
    }
}
