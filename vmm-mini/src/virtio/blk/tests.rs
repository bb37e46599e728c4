#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use libimage::{Block, Zero};
use virtio_bindings::virtio_blk::*;
use vm_memory::{Bytes, GuestAddress};

use super::{Blk, BlkConfig};
use crate::virtio::device::VirtioDevice;
use crate::virtio::testing::Piece::{In, Out};
use crate::virtio::testing::{Counter, Disk, Driver, Piece, QUEUE_SIZE, guest_memory, wait_for};

const HEADER: u64 = 0x10_0000;
const STATUS: u64 = 0x10_0100;
const DATA: u64 = 0x20_0000;

struct Machine {
    blk: Blk,
    disk: Arc<Disk>,
    driver: Driver,
    interrupts: Arc<Counter>,
}

fn machine_with(config: BlkConfig, disk: Disk) -> Machine {
    let memory = guest_memory();
    let disk = Arc::new(disk);
    let blk = Blk::new(config, Some(disk.clone() as Arc<dyn Block>)).unwrap();
    blk.set_features(blk.features());
    let driver = Driver::new(&memory, 0x1000);
    let interrupts = Arc::new(Counter::default());
    blk.start_queue(0, driver.resources(&interrupts, None)).unwrap();
    Machine { blk, disk, driver, interrupts }
}

fn machine() -> Machine {
    machine_with(BlkConfig { serial: "disk0".into(), ..BlkConfig::default() }, Disk::new(1 << 20))
}

impl Machine {
    fn header(&self, at: u64, kind: u32, sector: u64) {
        let memory = &self.driver.memory;
        memory.write_obj(kind, GuestAddress(at)).unwrap();
        memory.write_obj(0u32, GuestAddress(at + 4)).unwrap();
        memory.write_obj(sector, GuestAddress(at + 8)).unwrap();
    }

    /// One request from its header to its status byte.
    fn request(&mut self, kind: u32, sector: u64, data: &[Piece]) -> (u32, u32) {
        self.header(HEADER, kind, sector);
        self.driver.memory.write_obj(0xffu8, GuestAddress(STATUS)).unwrap();
        let mut pieces = vec![Out(HEADER, 16)];
        pieces.extend_from_slice(data);
        pieces.push(In(STATUS, 1));
        let written = self.driver.round_trip(&pieces);
        let status: u8 = self.driver.memory.read_obj(GuestAddress(STATUS)).unwrap();
        (u32::from(status), written)
    }

    fn bytes(&self, at: u64, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.driver.memory.read_slice(&mut bytes, GuestAddress(at)).unwrap();
        bytes
    }

    fn config<const N: usize>(&self, offset: u64) -> [u8; N] {
        let mut bytes = [0xaa; N];
        self.blk.read_config(offset, &mut bytes);
        bytes
    }
}

#[test]
fn reads_scatter_and_writes_gather_in_one_call_each() {
    let mut m = machine();
    let (status, written) =
        m.request(VIRTIO_BLK_T_IN, 2, &[In(DATA, 512), In(DATA + 0x1000, 100), In(DATA + 0x2000, 924)]);
    assert_eq!((status, written), (VIRTIO_BLK_S_OK, 1537));
    assert_eq!(m.bytes(DATA, 512), vec![2; 512]);
    assert_eq!(m.bytes(DATA + 0x1000, 100), vec![3; 100]);
    assert_eq!(m.bytes(DATA + 0x2000, 924), [vec![3; 412], vec![4; 512]].concat());
    assert_eq!(m.disk.called("read"), 1);

    m.driver.memory.write_slice(&[7; 1024], GuestAddress(DATA)).unwrap();
    let (status, written) =
        m.request(VIRTIO_BLK_T_OUT, 8, &[Out(DATA, 1), Out(DATA + 1, 511), Out(DATA, 512)]);
    assert_eq!((status, written), (VIRTIO_BLK_S_OK, 1));
    assert_eq!(*m.disk.writes.lock().unwrap(), [(4096, 1024)]);
    assert_eq!(m.disk.bytes.lock().unwrap()[4095..5121], [vec![7; 1025], vec![10]].concat());
    assert!(m.interrupts.queue.load(Ordering::SeqCst) >= 2);
}

#[test]
fn header_and_data_may_share_a_buffer() {
    // Since VERSION_1 a device must not depend on how a request is cut into descriptors (2.7.4.3).
    let mut m = machine();
    m.header(HEADER, VIRTIO_BLK_T_OUT, 1);
    m.driver.memory.write_slice(&[9; 512], GuestAddress(HEADER + 16)).unwrap();
    m.driver.round_trip(&[Out(HEADER, 528), In(STATUS, 1)]);
    assert_eq!(m.bytes(STATUS, 1), [0]);
    assert_eq!(m.disk.bytes.lock().unwrap()[512..1024], [9; 512]);
    m.header(HEADER, VIRTIO_BLK_T_IN, 1);
    m.driver.round_trip(&[Out(HEADER, 16), In(DATA, 513)]);
    assert_eq!(m.bytes(DATA, 513), [vec![9; 512], vec![0]].concat());
}

#[test]
fn flush_identity_discard_and_zeroes() {
    let mut m = machine();
    assert_eq!(m.request(VIRTIO_BLK_T_FLUSH, 0, &[]).0, VIRTIO_BLK_S_OK);
    assert_eq!(m.disk.called("flush"), 1);

    assert_eq!(m.request(VIRTIO_BLK_T_GET_ID, 0, &[In(DATA, 20)]), (VIRTIO_BLK_S_OK, 21));
    assert_eq!(m.bytes(DATA, 20), b"disk0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");

    let range = |sector: u64, sectors: u32, flags: u32| {
        [&sector.to_le_bytes()[..], &sectors.to_le_bytes(), &flags.to_le_bytes()].concat()
    };
    let ranges = [range(4, 2, 0), range(8, 1, 0)].concat();
    m.driver.memory.write_slice(&ranges, GuestAddress(DATA)).unwrap();
    assert_eq!(m.request(VIRTIO_BLK_T_DISCARD, 0, &[Out(DATA, 32)]).0, VIRTIO_BLK_S_OK);
    assert_eq!(m.disk.called("discard"), 2);
    assert_eq!(m.disk.bytes.lock().unwrap()[2047], 3);
    assert_eq!(m.disk.bytes.lock().unwrap()[2048..3072], [0; 1024]);

    for (flags, how) in [(0, Zero::KeepAllocated), (1, Zero::MayUnmap)] {
        m.driver.memory.write_slice(&range(100, 3, flags), GuestAddress(DATA)).unwrap();
        assert_eq!(m.request(VIRTIO_BLK_T_WRITE_ZEROES, 0, &[Out(DATA, 16)]).0, VIRTIO_BLK_S_OK);
        assert_eq!(*m.disk.last_zero.lock().unwrap(), Some(how));
    }
    assert_eq!(m.disk.bytes.lock().unwrap()[51200..52736], [0; 1536]);

    // Unmap means nothing for discard; reserved flags mean nothing at all; ranges are whole, and inside.
    for (kind, bytes, expected) in [
        (VIRTIO_BLK_T_DISCARD, range(0, 1, 1), VIRTIO_BLK_S_UNSUPP),
        (VIRTIO_BLK_T_WRITE_ZEROES, range(0, 1, 2), VIRTIO_BLK_S_UNSUPP),
        (VIRTIO_BLK_T_WRITE_ZEROES, range(2047, 2, 0), VIRTIO_BLK_S_IOERR),
        (VIRTIO_BLK_T_DISCARD, range(u64::MAX, 1, 0), VIRTIO_BLK_S_IOERR),
        (VIRTIO_BLK_T_DISCARD, range(0, u32::MAX, 0), VIRTIO_BLK_S_IOERR),
        (VIRTIO_BLK_T_DISCARD, vec![0; 15], VIRTIO_BLK_S_IOERR),
        (VIRTIO_BLK_T_DISCARD, vec![], VIRTIO_BLK_S_IOERR),
        (VIRTIO_BLK_T_DISCARD, vec![0; 17 * 16], VIRTIO_BLK_S_IOERR),
    ] {
        m.driver.memory.write_slice(&bytes, GuestAddress(DATA)).unwrap();
        assert_eq!(m.request(kind, 0, &[Out(DATA, bytes.len() as u32)]).0, expected, "{kind} {bytes:?}");
    }
}

#[test]
fn what_does_not_fit_fails_and_the_queue_goes_on() {
    let mut m = machine_with(BlkConfig::default(), Disk { bad: Some(4096), ..Disk::new(1 << 20) });
    let buffer = |length| [In(DATA, length)];
    assert_eq!(m.request(VIRTIO_BLK_T_IN, 2048, &buffer(512)).0, VIRTIO_BLK_S_IOERR);
    assert_eq!(m.request(VIRTIO_BLK_T_IN, 2047, &buffer(1024)).0, VIRTIO_BLK_S_IOERR);
    assert_eq!(m.request(VIRTIO_BLK_T_IN, u64::MAX, &buffer(512)).0, VIRTIO_BLK_S_IOERR);
    assert_eq!(m.request(VIRTIO_BLK_T_IN, 0, &buffer(511)).0, VIRTIO_BLK_S_IOERR);
    assert_eq!(m.request(VIRTIO_BLK_T_IN, 8, &buffer(512)).0, VIRTIO_BLK_S_IOERR, "the medium fails");
    assert_eq!(m.request(VIRTIO_BLK_T_IN, 0, &[In(1 << 40, 512)]).0, VIRTIO_BLK_S_IOERR, "no such memory");
    assert_eq!(m.request(VIRTIO_BLK_T_OUT, 0, &[Out((16 << 20) - 256, 512)]).0, VIRTIO_BLK_S_IOERR);
    assert_eq!(m.request(99, 0, &[]).0, VIRTIO_BLK_S_UNSUPP);
    assert_eq!(m.request(VIRTIO_BLK_T_IN, 0, &buffer(512)).0, VIRTIO_BLK_S_OK);
    assert_eq!(m.disk.called("write"), 0);

    // A header that is cut short, no room for a status, nothing at all.
    assert_eq!(m.driver.round_trip(&[Out(HEADER, 15), In(STATUS, 1)]), 1);
    assert_eq!(m.bytes(STATUS, 1), [VIRTIO_BLK_S_IOERR as u8]);
    assert_eq!(m.driver.round_trip(&[Out(HEADER, 16)]), 0);
    assert_eq!(m.driver.round_trip(&[Out(HEADER, 0)]), 0);
    assert_eq!(m.driver.round_trip(&[In(STATUS, 1), Out(HEADER, 16)]), 0, "read after write");
}

#[test]
fn broken_chains_are_given_back() {
    let mut m = machine();
    // A loop, a next beyond the table, an indirect table in an indirect table, a table of odd length.
    m.driver.write_descriptor(3, HEADER, 16, 1, 3);
    m.driver.write_descriptor(4, HEADER, 16, 1, QUEUE_SIZE);
    m.driver.write_descriptor(5, DATA, 16, 4, 0);
    m.driver.memory.write_obj(DATA, GuestAddress(DATA)).unwrap();
    m.driver.memory.write_obj(16u32, GuestAddress(DATA + 8)).unwrap();
    m.driver.memory.write_obj(4u16, GuestAddress(DATA + 12)).unwrap();
    m.driver.write_descriptor(6, DATA, 17, 4, 0);
    for head in [3, 4, 5, 6] {
        m.driver.offer(head);
        m.driver.kick();
        assert_eq!(m.driver.used(), (head, 0));
    }
    assert_eq!(m.request(VIRTIO_BLK_T_FLUSH, 0, &[]).0, VIRTIO_BLK_S_OK);
}

#[test]
fn a_broken_ring_stands_still_until_reset() {
    for damage in [0, 1] {
        let mut m = machine();
        if damage == 0 {
            m.driver.offer(QUEUE_SIZE);
        } else {
            m.driver.set_available(QUEUE_SIZE + 1);
        }
        m.driver.kick();
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(m.driver.used_index(), 0);
        assert!(m.blk.stop_queue(0).is_some());
        m.blk.reset();
        let memory = guest_memory();
        m.driver = Driver::new(&memory, 0x1000);
        m.blk.set_features(m.blk.features());
        m.blk.start_queue(0, m.driver.resources(&m.interrupts, None)).unwrap();
        assert_eq!(m.request(VIRTIO_BLK_T_FLUSH, 0, &[]).0, VIRTIO_BLK_S_OK);
    }
    let m = machine();
    let mut outside = m.driver.resources(&m.interrupts, None);
    outside.queue.try_set_desc_table_address(GuestAddress(1 << 40)).unwrap();
    m.blk.stop_queue(0);
    assert!(m.blk.start_queue(0, outside).is_err());
    assert!(m.blk.start_queue(1, m.driver.resources(&m.interrupts, None)).is_err());
}

#[test]
fn indirect_requests() {
    let mut m = machine();
    m.header(HEADER, VIRTIO_BLK_T_IN, 6);
    let table = 0x30_0000;
    for (index, (address, length, flags)) in
        [(HEADER, 16u32, 1u16), (DATA, 512, 3), (STATUS, 1, 2)].into_iter().enumerate()
    {
        let at = table + 16 * index as u64;
        m.driver.memory.write_obj(address, GuestAddress(at)).unwrap();
        m.driver.memory.write_obj(length, GuestAddress(at + 8)).unwrap();
        m.driver.memory.write_obj(flags, GuestAddress(at + 12)).unwrap();
        m.driver.memory.write_obj(index as u16 + 1, GuestAddress(at + 14)).unwrap();
    }
    m.driver.write_descriptor(9, table, 48, 4, 0);
    m.driver.offer(9);
    m.driver.kick();
    assert_eq!(m.driver.used(), (9, 513));
    assert_eq!(m.bytes(DATA, 512), [6; 512]);
}

#[test]
fn stopped_with_requests_waiting_nothing_is_lost_or_done_twice() {
    let mut m = machine();
    m.disk.let_pass(Some(0));
    for number in 0..5u64 {
        let (header, status) = (HEADER + 0x1000 * number, STATUS + 0x1000 * number);
        m.header(header, VIRTIO_BLK_T_OUT, number);
        m.driver.add(&[Out(header, 16), Out(DATA, 512), In(status, 1)]);
    }
    m.driver.kick();
    wait_for("the first write", || m.disk.called("write") == 1);
    let state = std::thread::scope(|scope| {
        let stopped = scope.spawn(|| m.blk.stop_queue(0).unwrap());
        std::thread::sleep(Duration::from_millis(20));
        assert!(!stopped.is_finished(), "the request in hand is finished first");
        while !stopped.is_finished() {
            m.disk.let_pass(Some(1));
            std::thread::sleep(Duration::from_millis(50));
        }
        stopped.join().unwrap()
    });
    // What was taken is used, what was not is still there.
    assert_eq!(m.driver.used_index(), state.next_used);
    assert_eq!(state.next_avail, state.next_used);
    assert_eq!(usize::from(state.next_used), m.disk.writes.lock().unwrap().len());
    assert!(state.next_used < 5, "the rest was left for later");
    m.disk.let_pass(None);
    let count = m.disk.called("write");
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(m.disk.called("write"), count, "a stopped queue is not served");
    assert!(m.blk.stop_queue(0).is_none());

    m.blk.start_queue(0, m.driver.resources(&m.interrupts, Some(state))).unwrap();
    for _ in 0..5 {
        m.driver.used();
    }
    let expected: Vec<(u64, usize)> = (0..5).map(|number| (number * 512, 512)).collect();
    assert_eq!(*m.disk.writes.lock().unwrap(), expected);
}

#[test]
fn spare_slot_gets_and_loses_a_disk() {
    let mut m = machine();
    m.blk.set_backend(None).unwrap();
    assert_eq!(m.interrupts.config.load(Ordering::SeqCst), 1);
    assert_eq!(m.config::<8>(0), [0; 8]);
    assert_eq!(m.request(VIRTIO_BLK_T_IN, 0, &[In(DATA, 512)]).0, VIRTIO_BLK_S_IOERR);
    assert_eq!(m.request(VIRTIO_BLK_T_FLUSH, 0, &[]).0, VIRTIO_BLK_S_IOERR);
    assert_eq!(m.request(VIRTIO_BLK_T_GET_ID, 0, &[In(DATA, 20)]).0, VIRTIO_BLK_S_OK);
    m.blk.set_backend(Some(Arc::new(Disk::new(4096)))).unwrap();
    assert_eq!(m.interrupts.config.load(Ordering::SeqCst), 2);
    assert_eq!(m.config::<8>(0), 8u64.to_le_bytes());
    assert_eq!(m.request(VIRTIO_BLK_T_IN, 7, &[In(DATA, 512)]).0, VIRTIO_BLK_S_OK);
    assert_eq!(m.bytes(DATA, 512), [7; 512]);
}

#[test]
fn an_odd_end_is_padded() {
    let mut m = machine_with(BlkConfig::default(), Disk::new(1000));
    assert_eq!(m.config::<8>(0), 2u64.to_le_bytes());
    assert_eq!(m.request(VIRTIO_BLK_T_IN, 1, &[In(DATA, 512)]).0, VIRTIO_BLK_S_OK);
    assert_eq!(m.bytes(DATA, 512), [vec![1; 488], vec![0; 24]].concat());
    m.driver.memory.write_slice(&[vec![5; 488], vec![0; 24]].concat(), GuestAddress(DATA)).unwrap();
    assert_eq!(m.request(VIRTIO_BLK_T_OUT, 1, &[Out(DATA, 512)]).0, VIRTIO_BLK_S_OK);
    assert_eq!(m.disk.bytes.lock().unwrap()[512..], [5; 488]);
    m.driver.memory.write_slice(&[6; 512], GuestAddress(DATA)).unwrap();
    assert_eq!(m.request(VIRTIO_BLK_T_OUT, 1, &[Out(DATA, 512)]).0, VIRTIO_BLK_S_IOERR, "would be lost");
    assert_eq!(m.disk.bytes.lock().unwrap()[512..], [5; 488]);
}

#[test]
fn read_only_and_write_through() {
    let mut m = machine_with(BlkConfig { read_only: true, ..BlkConfig::default() }, Disk::new(4096));
    assert_ne!(m.blk.features() & 1 << VIRTIO_BLK_F_RO, 0);
    assert_eq!(m.blk.features() & 1 << VIRTIO_BLK_F_DISCARD, 0);
    for kind in [VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES] {
        assert_eq!(m.request(kind, 0, &[Out(DATA, 512)]).0, VIRTIO_BLK_S_IOERR);
    }
    assert_eq!(m.disk.called("write") + m.disk.called("discard") + m.disk.called("write_zeroes"), 0);

    let mut m = machine();
    m.request(VIRTIO_BLK_T_OUT, 0, &[Out(DATA, 512)]);
    assert_eq!(m.disk.called("flush"), 0, "a driver that can flush decides when");
    assert_eq!(m.config::<1>(32), [1]);
    m.blk.write_config(32, &[0]);
    assert_eq!(m.config::<1>(32), [0]);
    m.request(VIRTIO_BLK_T_OUT, 0, &[Out(DATA, 512)]);
    assert_eq!(m.disk.called("flush"), 1, "write-through by the cache switch");
    m.blk.write_config(32, &[1]);
    m.blk.set_features(m.blk.features() & !(1 << VIRTIO_BLK_F_FLUSH));
    m.request(VIRTIO_BLK_T_OUT, 0, &[Out(DATA, 512)]);
    assert_eq!(m.disk.called("flush"), 2, "write-through for a driver that cannot flush");
}

#[test]
fn large_requests_are_cut_and_arrive_whole() {
    let mut m = machine_with(BlkConfig::default(), Disk::new(4 << 20));
    assert_eq!(m.request(VIRTIO_BLK_T_IN, 1, &[In(DATA, 3 << 20)]).0, VIRTIO_BLK_S_OK);
    assert_eq!(m.disk.called("read"), 12);
    assert!(m.bytes(DATA, 3 << 20) == m.disk.bytes.lock().unwrap()[512..512 + (3 << 20)]);
}

#[test]
fn configuration_is_checked_and_padded() {
    for bad in [
        BlkConfig { serial: "x".repeat(21), ..BlkConfig::default() },
        BlkConfig { block_size: 1024, ..BlkConfig::default() },
        BlkConfig { queues: 0, ..BlkConfig::default() },
    ] {
        assert!(Blk::new(bad, None).is_err());
    }
    let blk = Blk::new(BlkConfig { block_size: 4096, queues: 3, ..BlkConfig::default() }, None).unwrap();
    assert_eq!(blk.queue_sizes(), [256; 3]);
    let mut space = [0xaa; 100];
    blk.read_config(0, &mut space);
    assert_eq!(space[20..24], 4096u32.to_le_bytes());
    assert_eq!(space[34..36], 3u16.to_le_bytes());
    assert_eq!(space[60..], [0; 40]);
    blk.read_config(u64::MAX, &mut space);
    assert_eq!(space, [0; 100]);
}
