//! For tests: a small guest driver over plain memory, and a disk that can be watched, held and broken.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use libimage::{Block, Error, Extent, Limits, Result, Zero};
use virtio_queue::{Queue, QueueState, QueueT};
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::device::{GuestMemory, Interrupt, QueueResources};

pub(crate) const QUEUE_SIZE: u16 = 16;
/// Longest that anything in a test is waited for; reached only when the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Sixteen MiB of guest.
pub(crate) fn guest_memory() -> GuestMemory {
    GuestMemory::from_ranges(&[(GuestAddress(0), 16 << 20)]).unwrap()
}

/// Counts interrupts.
#[derive(Default)]
pub(crate) struct Counter {
    pub(crate) queue: AtomicU32,
    pub(crate) config: AtomicU32,
}

impl Interrupt for Counter {
    fn queue(&self, _index: u16) -> io::Result<()> {
        self.queue.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn config(&self) -> io::Result<()> {
        self.config.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// One piece of a request as a driver describes it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Piece {
    Out(u64, u32),
    In(u64, u32),
}

/// The driver's side of one queue: descriptor table, available and used ring from `base` on.
pub(crate) struct Driver {
    pub(crate) memory: GuestMemory,
    pub(crate) base: u64,
    pub(crate) bell: EventFd,
    next_descriptor: u16,
    available: u16,
    used_seen: u16,
}

impl Driver {
    pub(crate) fn new(memory: &GuestMemory, base: u64) -> Self {
        let bell = EventFd::new(EFD_NONBLOCK).unwrap();
        Driver { memory: memory.clone(), base, bell, next_descriptor: 0, available: 0, used_seen: 0 }
    }

    pub(crate) fn available_ring(&self) -> u64 {
        self.base + 0x1000
    }

    pub(crate) fn used_ring(&self) -> u64 {
        self.base + 0x2000
    }

    /// What a transport passes to `start_queue`.
    pub(crate) fn resources(&self, interrupt: &Arc<Counter>, saved: Option<QueueState>) -> QueueResources {
        let queue = match saved {
            Some(state) => Queue::try_from(state).unwrap(),
            None => {
                let mut queue = Queue::new(QUEUE_SIZE).unwrap();
                queue.try_set_desc_table_address(GuestAddress(self.base)).unwrap();
                queue.try_set_avail_ring_address(GuestAddress(self.available_ring())).unwrap();
                queue.try_set_used_ring_address(GuestAddress(self.used_ring())).unwrap();
                queue.set_ready(true);
                queue
            }
        };
        let interrupt: Arc<dyn Interrupt> = interrupt.clone();
        QueueResources {
            queue,
            memory: self.memory.clone(),
            doorbell: self.bell.try_clone().unwrap(),
            interrupt,
        }
    }

    pub(crate) fn write_descriptor(&self, index: u16, address: u64, length: u32, flags: u16, next: u16) {
        let at = self.base + 16 * u64::from(index);
        self.memory.write_obj(address, GuestAddress(at)).unwrap();
        self.memory.write_obj(length, GuestAddress(at + 8)).unwrap();
        self.memory.write_obj(flags, GuestAddress(at + 12)).unwrap();
        self.memory.write_obj(next, GuestAddress(at + 14)).unwrap();
    }

    /// Puts a request into the ring without ringing; answers its head.
    pub(crate) fn add(&mut self, pieces: &[Piece]) -> u16 {
        let head = self.next_descriptor;
        for (number, piece) in pieces.iter().enumerate() {
            let index = self.next_descriptor;
            self.next_descriptor = (index + 1) % QUEUE_SIZE;
            let (address, length, write) = match *piece {
                Piece::Out(address, length) => (address, length, 0),
                Piece::In(address, length) => (address, length, 2),
            };
            let more = u16::from(number + 1 < pieces.len());
            self.write_descriptor(index, address, length, write | more, self.next_descriptor);
        }
        self.offer(head);
        head
    }

    /// Offers a head, sensible or not.
    pub(crate) fn offer(&mut self, head: u16) {
        let at = self.available_ring() + 4 + 2 * u64::from(self.available % QUEUE_SIZE);
        self.memory.write_obj(head, GuestAddress(at)).unwrap();
        self.set_available(self.available.wrapping_add(1));
    }

    /// Moves the available index, sensibly or not.
    pub(crate) fn set_available(&mut self, index: u16) {
        self.available = index;
        self.memory.store(index, GuestAddress(self.available_ring() + 2), Ordering::SeqCst).unwrap();
    }

    pub(crate) fn kick(&self) {
        self.bell.write(1).unwrap();
    }

    /// How many requests the device has given back in all.
    pub(crate) fn used_index(&self) -> u16 {
        self.memory.load(GuestAddress(self.used_ring() + 2), Ordering::SeqCst).unwrap()
    }

    /// The next used element, waited for: head and bytes written.
    pub(crate) fn used(&mut self) -> (u16, u32) {
        wait_for("a used element", || self.used_index() != self.used_seen);
        let at = self.used_ring() + 4 + 8 * u64::from(self.used_seen % QUEUE_SIZE);
        self.used_seen = self.used_seen.wrapping_add(1);
        let head: u32 = self.memory.read_obj(GuestAddress(at)).unwrap();
        let written: u32 = self.memory.read_obj(GuestAddress(at + 4)).unwrap();
        (head as u16, written)
    }

    /// Adds, kicks and waits.
    pub(crate) fn round_trip(&mut self, pieces: &[Piece]) -> u32 {
        let head = self.add(pieces);
        self.kick();
        let (used, written) = self.used();
        assert_eq!(used, head);
        written
    }
}

/// Waits for something that other threads do.
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// A disk in memory.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) bytes: Mutex<Vec<u8>>,
    /// How often each method was called.
    pub(crate) calls: Mutex<BTreeMap<&'static str, u32>>,
    pub(crate) writes: Mutex<Vec<(u64, usize)>>,
    pub(crate) last_zero: Mutex<Option<Zero>>,
    /// Reads and writes that touch this offset fail.
    pub(crate) bad: Option<u64>,
    /// When set, so many writes may still pass; the others wait.
    pub(crate) passes: Mutex<Option<u32>>,
    pub(crate) released: Condvar,
}

impl Disk {
    pub(crate) fn new(size: usize) -> Self {
        Disk { bytes: Mutex::new((0..size).map(|at| (at / 512) as u8).collect()), ..Disk::default() }
    }

    pub(crate) fn called(&self, method: &str) -> u32 {
        self.calls.lock().unwrap().get(method).copied().unwrap_or(0)
    }

    /// Lets `passes` more writes through, or all of them.
    pub(crate) fn let_pass(&self, passes: Option<u32>) {
        *self.passes.lock().unwrap() = passes;
        self.released.notify_all();
    }

    fn enter(&self, method: &'static str, range: Range<u64>) -> Result<Range<usize>> {
        *self.calls.lock().unwrap().entry(method).or_default() += 1;
        libimage::block::check_range(self, range.start, range.end - range.start)?;
        if self.bad.is_some_and(|bad| range.contains(&bad)) {
            return Err(Error::io_at("read", "disk", range.start, io::ErrorKind::Other.into()));
        }
        Ok(range.start as usize..range.end as usize)
    }
}

impl Block for Disk {
    fn size(&self) -> u64 {
        self.bytes.lock().unwrap().len() as u64
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        let range = self.enter("read", offset..offset + buf.len() as u64)?;
        buf.copy_from_slice(&self.bytes.lock().unwrap()[range]);
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let range = self.enter("write", offset..offset + buf.len() as u64)?;
        let mut passes = self.passes.lock().unwrap();
        while *passes == Some(0) {
            passes = self.released.wait(passes).unwrap();
        }
        *passes = passes.map(|left| left - 1);
        self.writes.lock().unwrap().push((offset, buf.len()));
        self.bytes.lock().unwrap()[range].copy_from_slice(buf);
        Ok(())
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> Result<()> {
        let range = self.enter("write_zeroes", range)?;
        *self.last_zero.lock().unwrap() = Some(how);
        self.bytes.lock().unwrap()[range].fill(0);
        Ok(())
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        let range = self.enter("discard", range)?;
        self.bytes.lock().unwrap()[range].fill(0);
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.enter("flush", 0..0)?;
        Ok(())
    }

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        Ok(Extent::data(range.end - range.start, range.start))
    }

    fn limits(&self) -> Limits {
        Limits::default()
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn name(&self) -> &str {
        "disk"
    }
}
