//! The guest's RAM.
//!
//! Private anonymous memory, zero until touched, in at most two ranges: below the PCI window and above
//! four gigabytes.

use std::io;

use vm_memory::GuestAddress;

use crate::boot::layout;
use crate::error::{Error, Result};
use crate::virtio::device::GuestMemory;

/// Allocates RAM for a machine of `bytes` bytes, a multiple of the page size.
///
/// # Errors
/// When the host cannot map that much.
pub fn allocate(bytes: u64) -> Result<GuestMemory> {
    let failed = |source| Error::Memory { bytes, source };
    let mut ranges = Vec::new();
    for range in layout::ram(bytes) {
        let length =
            usize::try_from(range.end - range.start).map_err(|error| failed(io::Error::other(error)))?;
        ranges.push((GuestAddress(range.start), length));
    }
    GuestMemory::from_ranges(&ranges).map_err(|error| failed(io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use vm_memory::GuestMemoryBackend;

    #[test]
    fn memory_beyond_the_pci_window_continues_at_four_gibibytes() {
        let memory = allocate(layout::LOW_RAM_MAX + (1 << 20)).unwrap();
        assert_eq!(memory.num_regions(), 2);
        assert!(memory.address_in_range(GuestAddress(layout::LOW_RAM_MAX - 1)));
        assert!(!memory.address_in_range(GuestAddress(layout::LOW_RAM_MAX)));
        assert!(memory.address_in_range(GuestAddress(layout::FOUR_GIB + (1 << 20) - 1)));
        assert!(!memory.address_in_range(GuestAddress(layout::FOUR_GIB + (1 << 20))));
    }
}
