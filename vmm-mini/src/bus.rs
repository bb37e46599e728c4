//! From an address to the device that answers there.
//!
//! Two buses exist: ports and memory-mapped registers. Both are complete before the first vCPU runs and
//! never change afterwards, so that a lookup takes no lock.

use std::ops::Range;
use std::sync::Arc;

/// A device with registers.
///
/// Called from any vCPU thread. `offset` counts from the start of the range under which the device is
/// known; an access may reach past the end of that range, and may have any length from 1 byte up
/// (string instructions come as one long access to one port).
pub trait BusDevice: Send + Sync {
    /// Fills `data` from the registers at `offset`.
    fn read(&self, offset: u64, data: &mut [u8]);
    /// Writes `data` to the registers at `offset`.
    fn write(&self, offset: u64, data: &[u8]);
}

/// Address ranges and the devices behind them.
#[derive(Default)]
pub struct Bus {
    entries: Vec<(Range<u64>, Arc<dyn BusDevice>)>,
}

impl Bus {
    /// Adds a device; `false`, and nothing changed, when the range overlaps one that is taken or is empty.
    #[must_use]
    pub fn add(&mut self, range: Range<u64>, device: Arc<dyn BusDevice>) -> bool {
        let at = self.entries.partition_point(|(other, _)| other.start < range.start);
        let after_previous =
            at == 0 || self.entries.get(at - 1).is_none_or(|(other, _)| other.end <= range.start);
        let before_next = self.entries.get(at).is_none_or(|(other, _)| range.end <= other.start);
        let free = !range.is_empty() && after_previous && before_next;
        if free {
            self.entries.insert(at, (range, device));
        }
        free
    }

    fn find(&self, address: u64) -> Option<(u64, &dyn BusDevice)> {
        let at = self.entries.partition_point(|(range, _)| range.end <= address);
        let (range, device) = self.entries.get(at)?;
        range.contains(&address).then(|| (address - range.start, &**device))
    }

    /// Reads; where no device answers all bits are set, as on a bus that nobody drives.
    pub fn read(&self, address: u64, data: &mut [u8]) {
        match self.find(address) {
            Some((offset, device)) => device.read(offset, data),
            None => data.fill(0xff),
        }
    }

    /// Writes; ignored where no device answers.
    pub fn write(&self, address: u64, data: &[u8]) {
        if let Some((offset, device)) = self.find(address) {
            device.write(offset, data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo(u8);
    impl BusDevice for Echo {
        fn read(&self, offset: u64, data: &mut [u8]) {
            data.fill(self.0 + u8::try_from(offset).unwrap_or(0));
        }
        fn write(&self, _: u64, _: &[u8]) {}
    }

    #[test]
    fn finds_the_device_and_the_offset() {
        let mut bus = Bus::default();
        assert!(bus.add(0x20..0x24, Arc::new(Echo(10))));
        assert!(bus.add(0x10..0x20, Arc::new(Echo(100))));
        assert!(!bus.add(0x23..0x30, Arc::new(Echo(1))), "overlaps the end");
        assert!(!bus.add(0x0..0x11, Arc::new(Echo(1))), "overlaps the start");
        assert!(!bus.add(0x12..0x14, Arc::new(Echo(1))), "lies inside");
        let mut byte = [0];
        for (address, expected) in
            [(0x0f, 0xff), (0x10, 100), (0x1f, 115), (0x20, 10), (0x23, 13), (0x24, 0xff)]
        {
            bus.read(address, &mut byte);
            assert_eq!(byte[0], expected, "address {address:#x}");
        }
    }
}
