//! Message-signalled interrupts of one function: the MSI-X table and its pending bits.
//!
//! PCI 3.0, section 6.8.2. A vector that is masked, by itself or with all others, remembers that it was
//! raised and sends its message when it is unmasked. The interrupt is an event that the machine turns into
//! the message; the message's route is set before the event can be written.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::platform::{Message, Platform};

/// Bytes of a table entry.
pub const ENTRY_LEN: usize = 16;
/// Message control bit: MSI-X is on.
pub const CONTROL_ENABLE: u16 = 1 << 15;
/// Message control bit: all vectors are masked.
pub const CONTROL_MASK_ALL: u16 = 1 << 14;
const ENTRY_MASKED: u32 = 1;

struct Vector {
    /// Address low, address high, data, control: as the guest wrote them.
    entry: [u32; 4],
    pending: bool,
    event: EventFd,
    number: u32,
}

impl Vector {
    fn masked(&self) -> bool {
        self.entry[3] & ENTRY_MASKED != 0
    }

    fn message(&self) -> Message {
        let [address_low, address_high, data, _] = self.entry;
        Message { address_low, address_high, data }
    }
}

struct Table {
    enabled: bool,
    mask_all: bool,
    vectors: Vec<Vector>,
}

/// The table of one function.
pub struct Msix {
    platform: Arc<dyn Platform>,
    count: u16,
    table: Mutex<Table>,
}

impl Msix {
    /// A table of `count` masked vectors.
    ///
    /// # Errors
    /// When the machine has no more vectors.
    pub fn new(platform: Arc<dyn Platform>, count: u16) -> io::Result<Msix> {
        let mut vectors = Vec::with_capacity(count.into());
        for _ in 0..count {
            let event = EventFd::new(EFD_NONBLOCK)?;
            let number = platform.new_vector(&event)?;
            vectors.push(Vector { entry: [0, 0, 0, ENTRY_MASKED], pending: false, event, number });
        }
        Ok(Msix { platform, count, table: Mutex::new(Table { enabled: false, mask_all: false, vectors }) })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of vectors.
    #[must_use]
    pub fn count(&self) -> u16 {
        self.count
    }

    /// Whether the guest has switched MSI-X on.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.table().enabled
    }

    /// Takes the guest's message control register over.
    ///
    /// # Errors
    /// When a vector's message cannot be routed.
    pub fn set_control(&self, control: u16) -> io::Result<()> {
        let mut table = self.table();
        table.enabled = control & CONTROL_ENABLE != 0;
        table.mask_all = control & CONTROL_MASK_ALL != 0;
        (0..table.vectors.len()).try_for_each(|index| self.settle(&mut table, index))
    }

    /// Routes an open vector and sends what was pending.
    fn settle(&self, table: &mut Table, index: usize) -> io::Result<()> {
        let open = table.enabled && !table.mask_all;
        if let Some(vector) = table.vectors.get_mut(index).filter(|vector| open && !vector.masked()) {
            self.platform.route_vector(vector.number, vector.message())?;
            if std::mem::take(&mut vector.pending) {
                vector.event.write(1)?;
            }
        }
        Ok(())
    }

    /// Raises vector `index`; nothing happens when there is none.
    ///
    /// # Errors
    /// When the event cannot be written.
    pub fn raise(&self, index: u16) -> io::Result<()> {
        let mut table = self.table();
        let open = table.enabled && !table.mask_all;
        match table.vectors.get_mut(usize::from(index)) {
            Some(vector) if open && !vector.masked() => vector.event.write(1),
            Some(vector) => {
                vector.pending = true;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Back to the state after creation.
    pub fn reset(&self) {
        let mut table = self.table();
        table.enabled = false;
        table.mask_all = false;
        for vector in &mut table.vectors {
            vector.entry = [0, 0, 0, ENTRY_MASKED];
            vector.pending = false;
        }
    }

    /// Reads from the table; accesses are of whole aligned 32-bit words, one or two.
    pub fn read_table(&self, offset: usize, data: &mut [u8]) {
        let table = self.table();
        data.fill(0);
        for (at, word) in (offset / 4..).zip(data.chunks_exact_mut(4)) {
            let value = table.vectors.get(at / 4).and_then(|vector| vector.entry.get(at % 4));
            word.copy_from_slice(&value.copied().unwrap_or(0).to_le_bytes());
        }
    }

    /// Writes to the table; accesses are of whole aligned 32-bit words, one or two.
    ///
    /// # Errors
    /// When the vector's message cannot be routed.
    pub fn write_table(&self, offset: usize, data: &[u8]) -> io::Result<()> {
        let mut table = self.table();
        if !offset.is_multiple_of(4) {
            return Ok(());
        }
        for (at, word) in (offset / 4..).zip(data.chunks_exact(4)) {
            let field = table.vectors.get_mut(at / 4).and_then(|vector| vector.entry.get_mut(at % 4));
            if let (Some(field), Ok(word)) = (field, <[u8; 4]>::try_from(word)) {
                let value = u32::from_le_bytes(word);
                *field = if at % 4 == 3 { value & ENTRY_MASKED } else { value };
            }
        }
        let last = (offset + data.len()).saturating_sub(1) / ENTRY_LEN;
        (offset / ENTRY_LEN..=last).try_for_each(|index| self.settle(&mut table, index))
    }

    /// Reads pending bits.
    pub fn read_pending(&self, offset: usize, data: &mut [u8]) {
        let table = self.table();
        for (at, byte) in (offset..).zip(data) {
            *byte = (0..8)
                .filter(|bit| table.vectors.get(at * 8 + bit).is_some_and(|vector| vector.pending))
                .fold(0, |bits, bit| bits | 1 << bit);
        }
    }
}
