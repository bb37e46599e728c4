//! Configuration space of one PCI function: 256 bytes, of which the guest may change some bits.
//!
//! A byte changes only where the write mask allows. The first base address register is a 32-bit memory range
//! whose size is a power of two; its read-only low bits are what answers a sizing probe.

/// Offset of the command register.
pub const COMMAND: usize = 0x04;
/// Command bit: the function answers at its base address.
pub const COMMAND_MEMORY: u16 = 1 << 1;
/// Command bit: the interrupt line must stay silent.
pub const COMMAND_INTX_DISABLE: u16 = 1 << 10;
/// Offset of the status register's low byte.
const STATUS: usize = 0x06;
/// Status bit: the interrupt line is held.
const STATUS_INTERRUPT: u8 = 1 << 3;
/// Status bit: there is a capability list.
const STATUS_CAPABILITIES: u8 = 1 << 4;
const HEADER_TYPE: usize = 0x0e;
const HEADER_MULTI_FUNCTION: u8 = 0x80;
/// Offset of the first base address register.
pub const BAR0: usize = 0x10;
const CAPABILITY_POINTER: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;
const INTERRUPT_PIN: usize = 0x3d;
/// Capabilities begin behind the standard header.
const FIRST_CAPABILITY: usize = 0x40;

/// What a function is.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Vendor.
    pub vendor: u16,
    /// Device.
    pub device: u16,
    /// Class, subclass and programming interface, from the high byte down.
    pub class: u32,
    /// Revision.
    pub revision: u8,
    /// Subsystem vendor.
    pub subsystem_vendor: u16,
    /// Subsystem.
    pub subsystem: u16,
}

/// The space of one function.
pub struct ConfigSpace {
    bytes: [u8; 256],
    writable: [u8; 256],
    end: usize,
    last_link: usize,
}

impl ConfigSpace {
    /// A function without base addresses, interrupts or capabilities.
    #[must_use]
    pub fn new(id: Identity) -> ConfigSpace {
        let mut space = ConfigSpace {
            bytes: [0; 256],
            writable: [0; 256],
            end: FIRST_CAPABILITY,
            last_link: CAPABILITY_POINTER,
        };
        space.put(0x00, &id.vendor.to_le_bytes());
        space.put(0x02, &id.device.to_le_bytes());
        let [interface, subclass, class, _] = id.class.to_le_bytes();
        space.put(0x08, &[id.revision, interface, subclass, class]);
        space.put(0x2c, &id.subsystem_vendor.to_le_bytes());
        space.put(0x2e, &id.subsystem.to_le_bytes());
        // I/O, memory, bus master, interrupt disable.
        space.allow(COMMAND, &[0x07, 0x04]);
        space.allow(0x0c, &[0xff]); // cache line size
        space
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        if let Some(field) = self.bytes.get_mut(offset..).and_then(|rest| rest.get_mut(..bytes.len())) {
            field.copy_from_slice(bytes);
        }
    }

    fn allow(&mut self, offset: usize, mask: &[u8]) {
        if let Some(field) = self.writable.get_mut(offset..).and_then(|rest| rest.get_mut(..mask.len())) {
            field.copy_from_slice(mask);
        }
    }

    /// Makes base address 0 a memory range of `size` bytes, a power of two, at `address`.
    pub fn set_bar(&mut self, address: u32, size: u32) {
        self.put(BAR0, &address.to_le_bytes());
        self.allow(BAR0, &(!size.wrapping_sub(1)).to_le_bytes());
    }

    /// Gives the function the interrupt pin `INTA#`, wired to `line`.
    pub fn set_interrupt(&mut self, line: u8) {
        self.put(INTERRUPT_LINE, &[line]);
        self.allow(INTERRUPT_LINE, &[0xff]);
        self.put(INTERRUPT_PIN, &[1]);
    }

    /// Says that the slot has more functions than this one.
    pub fn set_multi_function(&mut self) {
        self.put(HEADER_TYPE, &[HEADER_MULTI_FUNCTION]);
    }

    /// Appends a capability and returns its offset; `None` when the space is full. `body` begins behind the
    /// two bytes of id and link, `writable` masks it and may be shorter.
    pub fn add_capability(&mut self, id: u8, body: &[u8], writable: &[u8]) -> Option<usize> {
        let offset = self.end;
        let end = (offset + 2 + body.len()).next_multiple_of(4);
        let link = u8::try_from(offset).ok().filter(|_| end <= self.bytes.len())?;
        self.put(offset, &[id, 0]);
        self.put(offset + 2, body);
        self.allow(offset + 2, writable);
        self.put(self.last_link, &[link]);
        self.put(STATUS, &[STATUS_CAPABILITIES]);
        self.last_link = offset + 1;
        self.end = end;
        Some(offset)
    }

    /// Reads; all bits are zero past the end.
    pub fn read(&self, offset: usize, data: &mut [u8]) {
        for (at, byte) in (offset..).zip(data) {
            *byte = self.bytes.get(at).copied().unwrap_or(0);
        }
    }

    /// Writes the bits that may change.
    pub fn write(&mut self, offset: usize, data: &[u8]) {
        for (at, value) in (offset..).zip(data) {
            if let (Some(byte), Some(mask)) = (self.bytes.get_mut(at), self.writable.get(at)) {
                *byte = (*byte & !mask) | (value & mask);
            }
        }
    }

    /// A 16-bit register.
    #[must_use]
    pub fn word(&self, offset: usize) -> u16 {
        let mut word = [0; 2];
        self.read(offset, &mut word);
        u16::from_le_bytes(word)
    }

    /// A 32-bit register.
    #[must_use]
    pub fn long(&self, offset: usize) -> u32 {
        let mut long = [0; 4];
        self.read(offset, &mut long);
        u32::from_le_bytes(long)
    }

    /// Where base address 0 is, while the function answers there.
    #[must_use]
    pub fn window(&self) -> Option<u64> {
        let address = self.long(BAR0) & !0xf;
        (self.word(COMMAND) & COMMAND_MEMORY != 0 && address != 0).then_some(address.into())
    }

    /// Shows in the status register whether the interrupt line is held.
    pub fn show_interrupt(&mut self, held: bool) {
        if let Some(status) = self.bytes.get_mut(STATUS) {
            *status = if held { *status | STATUS_INTERRUPT } else { *status & !STATUS_INTERRUPT };
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn space() -> ConfigSpace {
        ConfigSpace::new(Identity {
            vendor: 0x1af4,
            device: 0x1042,
            class: 0x01_8000,
            revision: 1,
            subsystem_vendor: 0x1af4,
            subsystem: 0x1100,
        })
    }

    #[test]
    fn identity_is_read_only() {
        let mut space = space();
        space.write(0, &[0; 16]);
        assert_eq!((space.long(0), space.long(8)), (0x1042_1af4, 0x0180_0001));
        assert_eq!(space.long(0x2c), 0x1100_1af4);
    }

    #[test]
    fn base_address_answers_a_sizing_probe() {
        let mut space = space();
        space.set_bar(0xc000_8000, 0x8000);
        assert_eq!(space.window(), None, "not before memory decoding is on");
        space.write(COMMAND, &COMMAND_MEMORY.to_le_bytes());
        assert_eq!(space.window(), Some(0xc000_8000));
        space.write(BAR0, &[0xff; 4]);
        assert_eq!(space.long(BAR0), 0xffff_8000);
        space.write(BAR0, &0xd123_4567_u32.to_le_bytes());
        assert_eq!(space.window(), Some(0xd123_0000));
        space.write(BAR0 + 4, &[0xff; 4]);
        assert_eq!(space.long(BAR0 + 4), 0, "there is no second one");
    }

    #[test]
    fn capabilities_form_a_list_until_the_space_is_full() {
        let mut space = space();
        let mut expected = Vec::new();
        while let Some(offset) = space.add_capability(9, &[0; 14], &[]) {
            expected.push(offset);
        }
        assert_eq!(expected.len(), (256 - 64) / 16);
        let mut found = Vec::new();
        let mut next = usize::from(space.word(0x34) & 0xff);
        while next != 0 {
            found.push(next);
            next = usize::from(space.word(next) >> 8);
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn accesses_beyond_the_end_are_harmless() {
        let mut space = space();
        space.write(254, &[0xff; 8]);
        let mut data = [1; 8];
        space.read(254, &mut data);
        assert_eq!(data, [0; 8]);
    }
}
