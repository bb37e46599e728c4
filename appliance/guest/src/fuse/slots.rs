//! The data of large requests goes through the exchange: a port moves it in pages, a disk in hundreds of kilobytes.
//!
//! A slot is lent to the agent with a request and comes back with its answer, whatever that is. What the agent has put
//! into it is copied out before anybody looks at it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use guestd_api::exchange::{SLOT, SLOTS, slot_offset};
use guestd_api::fuse::{self, InHeader, OUT_HEADER, OutHeader, ReadIn, SlotIn, SlotOut, WriteIn, op};
use libimage::Block;
use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes from which on a slot is faster than the port, which is slow to the agent only.
const MANY_TO_WRITE: u32 = 16 << 10;
const MANY_TO_READ: u32 = 64 << 10;

/// The slots of a mount.
pub(super) struct Slots {
    memory: Arc<dyn Block>,
    free: Mutex<Vec<u32>>,
}

/// A slot that the agent has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lent {
    slot: u32,
    /// Bytes that are to be read into it, if they are.
    wanted: Option<u32>,
}

/// A request whose data goes through a slot. [`ReadIn`] and [`WriteIn`] have the same fields.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Shortened {
    header: InHeader,
    wanted: ReadIn,
    slot: SlotIn,
}

const _: () = assert!(size_of::<ReadIn>() == size_of::<WriteIn>());

impl Slots {
    pub(super) fn new(memory: Arc<dyn Block>) -> Self {
        Slots { memory, free: Mutex::new((0..SLOTS).collect()) }
    }

    fn free(&self) -> MutexGuard<'_, Vec<u32>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be sent in place of a request, with the slot that it lends. `None` if it is to be sent as it is:
    /// it has little data, or none, or all slots are lent.
    pub(super) fn lend(&self, message: &[u8]) -> Option<(Lent, Shortened)> {
        let (mut header, rest) = InHeader::read_from_prefix(message).ok()?;
        if !matches!(header.opcode, op::READ | op::WRITE) {
            return None;
        }
        let (wanted, data) = ReadIn::read_from_prefix(rest).ok()?;
        let (is_read, size) = (header.opcode == op::READ, wanted.size);
        let many = if is_read { MANY_TO_READ } else { MANY_TO_WRITE };
        if size <= many || size as usize > SLOT {
            return None;
        }
        let data = if is_read { None } else { Some(data.get(..size as usize)?) };
        let slot = self.free().pop()?;
        if let Some(data) = data
            && self.memory.write_at(data, slot_offset(slot)).is_err()
        {
            self.free().push(slot);
            return None;
        }
        header.opcode = if is_read { op::READ_SLOT } else { op::WRITE_SLOT };
        header.len = size_of::<Shortened>() as u32;
        let slot_in = SlotIn { slot, padding: 0 };
        let lent = Lent { slot, wanted: is_read.then_some(size) };
        Some((lent, Shortened { header, wanted, slot: slot_in }))
    }

    /// A slot comes back with an answer: the answer for the kernel, which may be put into `whole`.
    pub(super) fn take_back<'a>(&self, lent: Lent, message: &'a [u8], whole: &'a mut Vec<u8>) -> &'a [u8] {
        let taken = self.take(lent, message, whole);
        self.free().push(lent.slot);
        match (taken, OutHeader::read_from_prefix(message)) {
            (Some(true), _) => whole,
            // The agent does not keep to what was agreed on.
            (None, Ok((header, _))) => {
                whole.clear();
                let refusal = fuse::answer(header.unique, Errno::IO.raw_os_error().saturating_neg());
                whole.extend_from_slice(refusal.as_bytes());
                whole
            }
            _ => message,
        }
    }

    /// Puts an answer together with what was read; false if it has none of that. `None` if it makes no sense.
    fn take(&self, lent: Lent, message: &[u8], whole: &mut Vec<u8>) -> Option<bool> {
        let (mut header, rest) = OutHeader::read_from_prefix(message).ok()?;
        let Some(wanted) = lent.wanted.filter(|_| header.error == 0) else { return Some(false) };
        let (SlotOut { size, .. }, _) = SlotOut::read_from_prefix(rest).ok()?;
        if size > wanted {
            return None;
        }
        whole.resize(OUT_HEADER.saturating_add(size as usize), 0);
        header.len = u32::try_from(whole.len()).ok()?;
        let (head, data) = whole.split_at_mut_checked(OUT_HEADER)?;
        head.copy_from_slice(header.as_bytes());
        self.memory.read_at(data, slot_offset(lent.slot)).ok()?;
        Some(true)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;
    use guestd_api::exchange::SIZE;
    use libimage::storage::Memory;

    fn request(opcode: u32, size: u32, data: &[u8]) -> Vec<u8> {
        let header = InHeader { opcode, unique: 8, ..InHeader::default() };
        let wanted = ReadIn { fh: 5, offset: 6, size, ..ReadIn::default() };
        [header.as_bytes(), wanted.as_bytes(), data].concat()
    }

    #[test]
    fn much_data_goes_through_a_slot_and_each_slot_comes_back() {
        let memory: Arc<dyn Block> = Arc::new(Memory::new(SIZE));
        let slots = Slots::new(Arc::clone(&memory));
        let data: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
        let write = request(op::WRITE, 100_000, &data);
        let (lent, sent) = slots.lend(&write).unwrap();
        assert_eq!(sent.header.len as usize, sent.as_bytes().len());
        let seen = (sent.header.opcode, sent.header.unique, sent.wanted.fh, sent.wanted.size);
        assert_eq!(seen, (op::WRITE_SLOT, 8, 5, 100_000));
        let mut there = vec![0; 100_000];
        memory.read_at(&mut there, slot_offset(sent.slot.slot)).unwrap();
        assert_eq!(there, data);
        let (answer, mut whole) = (fuse::answer(8, 0), Vec::new());
        assert_eq!(slots.take_back(lent, answer.as_bytes(), &mut whole), answer.as_bytes());

        let read = request(op::READ, 100_000, &[]);
        let lent: Vec<Lent> = std::iter::from_fn(|| slots.lend(&read)).map(|(lent, _)| lent).collect();
        assert_eq!(lent.len(), SLOTS as usize);
        memory.write_at(&data, slot_offset(lent[0].slot)).unwrap();
        let answer = |size: u32| {
            let header = OutHeader { len: 24, ..fuse::answer(8, 0) };
            [header.as_bytes(), SlotOut { size, padding: 0 }.as_bytes()].concat()
        };
        let got = slots.take_back(lent[0], &answer(99_999), &mut whole).to_vec();
        let (header, got) = OutHeader::read_from_prefix(&got).unwrap();
        assert_eq!((header.len as usize, header.error, got), (16 + 99_999, 0, &data[..99_999]));
        // More than was wanted, nothing at all, an error.
        let cases = [
            answer(100_001),
            fuse::answer(8, 0).as_bytes().to_vec(),
            fuse::answer(8, -2).as_bytes().to_vec(),
        ];
        for ((message, lent), error) in cases.iter().zip(&lent[1..]).zip([-5, -5, -2]) {
            let got = slots.take_back(*lent, message, &mut whole);
            assert_eq!(got, fuse::answer(8, error).as_bytes());
        }
        assert_eq!(slots.free().len(), 4);
    }

    #[test]
    fn what_is_small_or_broken_goes_as_it_is() {
        let slots = Slots::new(Arc::new(Memory::new(SIZE)));
        let cases = [
            request(op::WRITE, 16 << 10, &[0; 16 << 10]),
            request(op::WRITE, 20_000, &[0; 19_999]),
            request(op::READ, 64 << 10, &[]),
            request(op::READ, SLOT as u32 + 1, &[]),
            request(op::READDIR, 100_000, &[]),
            InHeader { opcode: op::READ, ..InHeader::default() }.as_bytes().to_vec(),
            Vec::new(),
        ];
        for message in &cases {
            assert!(slots.lend(message).is_none());
        }
        assert_eq!(slots.free().len(), SLOTS as usize);
    }
}
