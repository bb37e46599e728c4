//! A front-end that says what User-Mode Linux says, and some that do not mean well.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::fs::File;
use std::io::{IoSlice, PipeReader, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use libimage::Block;
use rustix::fs::MemfdFlags;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use vm_memory::{Bytes, FileOffset, GuestAddress};

use super::Server;
use super::message::Message;
use super::session::Session;
use crate::virtio::blk::{Blk, BlkConfig};
use crate::virtio::device::{GuestMemory, VirtioDevice};
use crate::virtio::testing::Piece::{In, Out};
use crate::virtio::testing::{Disk, Driver, PATIENCE, QUEUE_SIZE, wait_for};
use crate::virtio::worker::borrow;

/// As UML has it: memory begins behind the kernel's image, at the same place in its file.
const START: u64 = 0xd65_6000;
const SIZE: u64 = 16 << 20;
/// Difference between the addresses of rings and of buffers; none under UML, some under QEMU.
const UML_SHIFT: u64 = 0;
const NEED_REPLY: u32 = 8;
const PROTOCOL: u64 = 0x228;

struct FrontEnd {
    socket: UnixStream,
    server: Server,
    blk: Arc<Blk>,
    disk: Arc<Disk>,
    file: OwnedFd,
    driver: Driver,
    shift: u64,
}

fn connect(shift: u64) -> FrontEnd {
    let disk = Arc::new(Disk::new(1 << 20));
    let config = BlkConfig { serial: "uml".into(), ..BlkConfig::default() };
    let blk = Arc::new(Blk::new(config, Some(disk.clone() as Arc<dyn Block>)).unwrap());
    let (socket, theirs) = UnixStream::pair().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let server = Server::serve("vhost-test".into(), theirs, blk.clone()).unwrap();
    let file = rustix::fs::memfd_create("guest", MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&file, START + SIZE).unwrap();
    let offset = FileOffset::new(File::from(file.try_clone().unwrap()), START);
    let memory =
        GuestMemory::from_ranges_with_files([(GuestAddress(START), SIZE as usize, Some(offset))]).unwrap();
    let driver = Driver::new(&memory, START + 0x1000);
    FrontEnd { socket, server, blk, disk, file, driver, shift }
}

fn words(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn halves(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn frame(request: u32, flags: u32, body: &[u8]) -> Vec<u8> {
    [halves(&[request, 1 | flags, body.len() as u32]), body.to_vec()].concat()
}

impl FrontEnd {
    fn send(&self, request: u32, flags: u32, body: &[u8], fds: &[BorrowedFd<'_>]) {
        let bytes = frame(request, flags, body);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(20))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
        }
        let sent = sendmsg(&self.socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL).unwrap();
        assert_eq!(sent, bytes.len());
    }

    fn reply(&self, request: u32) -> Vec<u8> {
        let mut header = [0; 12];
        (&self.socket).read_exact(&mut header).unwrap();
        assert_eq!(header[..8], halves(&[request, 5]));
        let mut body = vec![0; u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize];
        (&self.socket).read_exact(&mut body).unwrap();
        body
    }

    fn ask(&self, request: u32) -> u64 {
        self.send(request, 0, &[], &[]);
        u64::from_le_bytes(self.reply(request).try_into().unwrap())
    }

    /// Sends with NEED_REPLY, as UML does; 0 is success.
    fn order(&self, request: u32, body: &[u8], fds: &[BorrowedFd<'_>]) -> u64 {
        self.send(request, NEED_REPLY, body, fds);
        u64::from_le_bytes(self.reply(request).try_into().unwrap())
    }

    fn memory_table(&self) -> Vec<u8> {
        // The size of a table of two regions, with one in it.
        [halves(&[1, 0]), words(&[START, SIZE, START + self.shift, START]), vec![0; 32]].concat()
    }

    fn ring_addresses(&self) -> Vec<u8> {
        let d = &self.driver;
        let rings = [d.base, d.used_ring(), d.available_ring()].map(|ring| ring + self.shift);
        [halves(&[0, 0]), words(&rings), words(&[u64::MAX])].concat()
    }

    /// The connection and everything up to the memory table, in UML's order.
    fn introduce(&self) -> PipeReader {
        self.send(3, 0, &[], &[]);
        let offered = self.ask(1);
        assert_ne!(offered & 1 << 30, 0);
        assert_ne!(offered & 1 << 32, 0);
        assert_eq!(self.ask(15) & PROTOCOL, PROTOCOL);
        assert_eq!(self.order(16, &words(&[PROTOCOL]), &[]), 0);
        let (requests, theirs) = std::io::pipe().unwrap();
        assert_eq!(self.order(21, &[], &[theirs.as_fd()]), 0);
        for wanted in [8u32, 60, 60] {
            let body = [halves(&[0, wanted, 0]), vec![0; wanted as usize]].concat();
            self.send(24, 0, &body, &[]);
            let reply = self.reply(24);
            assert_eq!(reply.len(), body.len());
            assert_eq!(reply[..12], body[..12]);
            assert_eq!(reply[12..20], 2048u64.to_le_bytes());
        }
        // Not EVENT_IDX: the requests below ring for themselves.
        let accepted = offered & !(1 << 29);
        assert_eq!(self.order(2, &words(&[accepted]), &[]), 0);
        requests
    }

    fn set_up_ring(&self) -> PipeReader {
        let (call, theirs) = std::io::pipe().unwrap();
        assert_eq!(self.order(5, &self.memory_table(), &[self.file.as_fd()]), 0);
        assert_eq!(self.order(8, &halves(&[0, u32::from(QUEUE_SIZE)]), &[]), 0);
        assert_eq!(self.order(10, &halves(&[0, 0]), &[]), 0);
        assert_eq!(self.order(9, &self.ring_addresses(), &[]), 0);
        assert_eq!(self.order(13, &words(&[0]), &[theirs.as_fd()]), 0);
        assert_eq!(self.order(12, &words(&[0]), &[borrow(&self.driver.bell)]), 0);
        assert_eq!(self.order(18, &halves(&[0, 1]), &[]), 0);
        call
    }

    /// Reads one sector and checks what arrives.
    fn read_sector(&mut self, sector: u64) {
        let (header, data, status) = (START + 0x10_0000, START + 0x20_0000, START + 0x10_0100);
        let memory = self.driver.memory.clone();
        memory.write_slice(&[words(&[0]), words(&[sector])].concat(), GuestAddress(header)).unwrap();
        let written = self.driver.round_trip(&[Out(header, 16), In(data, 512), In(status, 1)]);
        assert_eq!(written, 513);
        let mut bytes = [0; 512];
        memory.read_slice(&mut bytes, GuestAddress(data)).unwrap();
        assert_eq!(bytes, [sector as u8; 512]);
    }

    fn wait_for_end(&self) {
        wait_for("the end of the connection", || self.server.is_finished());
    }
}

#[test]
fn what_user_mode_linux_says() {
    let mut f = connect(UML_SHIFT);
    let mut requests = f.introduce();
    let mut call = f.set_up_ring();
    f.read_sector(5);
    let mut count = [0; 8];
    call.read_exact(&mut count).unwrap();
    assert_eq!(u64::from_ne_bytes(count), 1);

    f.blk.set_backend(None).unwrap();
    let mut message = [0; 12];
    requests.read_exact(&mut message).unwrap();
    assert_eq!(message[..], halves(&[2, 1, 0]), "BACKEND_CONFIG_CHANGE_MSG, wanting no answer");
    f.blk.set_backend(Some(f.disk.clone())).unwrap();

    // The write cache switch, then power-off.
    assert_eq!(f.order(25, &[halves(&[32, 1, 0]), vec![0]].concat(), &[]), 0);
    f.read_sector(6);
    assert_eq!(f.order(18, &halves(&[0, 0]), &[]), 0);
    f.ask(1);
    f.socket.shutdown(std::net::Shutdown::Both).unwrap();
    f.wait_for_end();
    assert!(f.server.take_fault().is_none());
    assert!(f.blk.stop_queue(0).is_none(), "the device was stopped");
}

#[test]
fn a_guest_that_never_looks_at_its_interrupts_blocks_nothing() {
    let mut f = connect(UML_SHIFT);
    f.introduce();
    let _call = f.set_up_ring();
    // A pipe holds 8192 calls, and nobody reads them.
    for number in 0..9000 {
        f.read_sector(number % 200);
    }
}

#[test]
fn in_any_order() {
    let mut f = connect(0x7f00_0000_0000);
    f.introduce();
    assert_eq!(f.order(18, &halves(&[0, 1]), &[]), 0);
    assert_eq!(f.order(12, &words(&[0]), &[borrow(&f.driver.bell)]), 0);
    assert_eq!(f.order(9, &f.ring_addresses(), &[]), 0);
    assert_eq!(f.order(8, &halves(&[0, u32::from(QUEUE_SIZE)]), &[]), 0);
    assert_eq!(f.order(5, &f.memory_table(), &[f.file.as_fd()]), 0);
    f.read_sector(1);
    // New memory, a new doorbell, a pause: the queue goes on where it stood.
    assert_eq!(f.order(5, &f.memory_table(), &[f.file.as_fd()]), 0);
    f.read_sector(2);
    f.driver.bell = vmm_sys_util::eventfd::EventFd::new(libc::EFD_NONBLOCK).unwrap();
    assert_eq!(f.order(12, &words(&[0]), &[borrow(&f.driver.bell)]), 0);
    f.read_sector(3);
    assert_eq!(f.order(18, &halves(&[0, 0]), &[]), 0);
    assert_eq!(f.order(18, &halves(&[0, 1]), &[]), 0);
    f.read_sector(4);
    // QEMU takes a ring away by asking where it stands, and gives it back from there.
    f.send(11, 0, &halves(&[0, 0]), &[]);
    assert_eq!(f.reply(11), halves(&[0, 4]));
    assert_eq!(f.order(10, &halves(&[0, 4]), &[]), 0);
    assert_eq!(f.order(12, &words(&[0]), &[borrow(&f.driver.bell)]), 0);
    f.read_sector(5);
    assert_eq!(f.ask(17), 1);
}

#[test]
fn refusals_that_the_front_end_hears_of() {
    let mut f = connect(UML_SHIFT);
    f.introduce();
    let _call = f.set_up_ring();
    let file = f.file.as_fd();
    let bell = f.driver.bell.try_clone().unwrap();
    let bell = borrow(&bell);
    let table = |guest, size, offset| [halves(&[1, 0]), words(&[guest, size, guest, offset])].concat();
    let cases: Vec<(u32, Vec<u8>, Vec<BorrowedFd<'_>>)> = vec![
        (2, words(&[u64::MAX]), vec![]),
        (2, vec![1, 2, 3], vec![]),
        (5, vec![], vec![]),
        (5, halves(&[1, 0]), vec![file]),
        (5, table(START, SIZE, START), vec![]),
        (5, table(START, SIZE, START), vec![file, file]),
        (5, table(START, SIZE + 4096, START), vec![file]),
        (5, table(START, u64::MAX, START), vec![file]),
        (5, table(u64::MAX - 4095, SIZE, START), vec![file]),
        (5, table(START, 0, START), vec![file]),
        (5, table(START, SIZE, 1), vec![file]),
        (5, table(START, SIZE, START), vec![bell]),
        (5, [halves(&[2, 0]), words(&[0, 4096, 0, 0]), words(&[0, 4096, 0, 0])].concat(), vec![file, file]),
        (5, halves(&[u32::MAX, 0]), vec![file]),
        (8, halves(&[0, 3]), vec![]),
        (8, halves(&[0, 512]), vec![]),
        (8, halves(&[1, 16]), vec![]),
        (8, halves(&[0]), vec![]),
        (10, halves(&[0, 65536]), vec![]),
        (9, halves(&[0, 0, 1]), vec![]),
        (12, words(&[0]), vec![]),
        (12, words(&[0x100]), vec![]),
        (12, words(&[0]), vec![bell, bell]),
        (13, words(&[7]), vec![bell]),
        (13, words(&[0x100]), vec![bell]),
        (18, halves(&[9, 1]), vec![]),
        (21, vec![], vec![]),
        (25, halves(&[0, 100, 0]), vec![]),
        (25, vec![0; 3], vec![]),
        (35, halves(&[0, 0]), vec![]),
        (99, vec![0; 4000], vec![]),
    ];
    for (number, (request, body, fds)) in cases.into_iter().enumerate() {
        assert_eq!(f.order(request, &body, &fds), 1, "case {number}");
    }
    // A ring outside the shared memory is refused, and not served.
    assert_eq!(f.order(9, &[halves(&[0, 0]), words(&[0x1000, 0x2000, 0x3000, 0])].concat(), &[]), 1);
    assert_eq!(f.order(9, &f.ring_addresses(), &[]), 0);
    // What was refused has changed nothing.
    assert_eq!(f.order(18, &halves(&[0, 1]), &[]), 0);
    f.read_sector(9);
}

#[test]
fn broken_frames_end_the_connection_only() {
    let config = |size: u32, data: usize| [halves(&[0, size, 0]), vec![0; data]].concat();
    let whole: Vec<Vec<u8>> = vec![
        frame(1, 2, &[]),
        frame(1, 4, &[]),
        halves(&[1, 1, u32::MAX]),
        halves(&[5, 1, 4097]),
        frame(24, 0, &config(257, 257)),
        frame(24, 0, &config(4, 8)),
        frame(24, 0, &[0; 5]),
        frame(11, 0, &halves(&[77, 0])),
        frame(2, 0, &words(&[1 << 63])),
        frame(77, 0, &[]),
    ];
    for bytes in whole {
        let f = connect(UML_SHIFT);
        (&f.socket).write_all(&bytes).unwrap();
        f.wait_for_end();
        assert!(f.server.take_fault().is_some(), "{bytes:?}");
        // And the front-end sees it.
        let mut rest = Vec::new();
        (&f.socket).read_to_end(&mut rest).ok();
        assert!(rest.is_empty());
    }
    // Hanging up in the middle.
    for bytes in [vec![1], frame(5, 0, &[0; 40])[..30].to_vec()] {
        let f = connect(UML_SHIFT);
        (&f.socket).write_all(&bytes).unwrap();
        f.socket.shutdown(std::net::Shutdown::Both).unwrap();
        f.wait_for_end();
        assert!(f.server.take_fault().is_some());
    }
    // Falling silent in the middle: dropping the server does not wait for the rest.
    let f = connect(UML_SHIFT);
    (&f.socket).write_all(&[1, 0]).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    let start = std::time::Instant::now();
    drop(f.server);
    assert!(start.elapsed() < PATIENCE / 4);
}

#[test]
fn random_messages_do_no_harm() {
    let mut seed = 1u64;
    let mut random = move |below: u64| {
        // Knuth's generator: the point is that a failure repeats.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let f = connect(UML_SHIFT);
    let interesting = [0, 1, 2, 16, START, SIZE, START + 0x1000, START + 0x2000, 1 << 30, u64::MAX];
    for _ in 0..200 {
        let mut session = Session::new(f.blk.clone() as Arc<dyn VirtioDevice>);
        for _ in 0..100 {
            let mut body = Vec::new();
            for _ in 0..random(6) {
                body.extend_from_slice(&words(&[interesting[random(interesting.len() as u64) as usize]]));
            }
            body.truncate(body.len().saturating_sub(random(5) as usize));
            let fds = (0..random(3)).map(|_| f.file.try_clone().unwrap()).collect();
            let message = Message { request: random(30) as u32, need_reply: random(2) == 0, body, fds };
            let _ = session.handle(message);
        }
    }
}
