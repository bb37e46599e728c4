//! The 64-bit Linux boot protocol, for a bzImage that has to unpack itself.
//!
//! The guest starts in long mode with the first four gigabytes identity-mapped; RSI points to the zero page
//! (`boot_params`), which carries the setup header, the memory map, the initrd and the ACPI root pointer.

use vm_memory::{Bytes, GuestAddress};

use super::bzimage::Header;
use super::{BootError, Image, Loaded, Request, Start, layout};
use crate::error::{Error, Result};
use crate::virtio::device::GuestMemory;

/// The initrd must end below this address: what every kernel of this protocol accepts.
pub(crate) const INITRD_MAX: u64 = 0x8000_0000;
const ENTRY_OFFSET: u64 = 0x200;
/// Loader type "undefined", loader version 15.
const LOADER_TYPE: u8 = 0xff;

/// What the zero page needs of a loaded bzImage.
pub(crate) struct Setup {
    /// Physical address of the 64-bit entry point.
    pub(crate) entry: u64,
    header: Vec<u8>,
}

/// Loads the protected-mode code at the address that the kernel prefers.
pub(crate) fn load(
    memory: &GuestMemory,
    image: &[u8],
    header: &Header,
) -> std::result::Result<Loaded, BootError> {
    let start = header.pref_address;
    let end = start.saturating_add(header.init_size);
    if start < layout::HIGH_RAM_START || end > layout::LOW_RAM_MAX {
        return Err(BootError::OutsideMemory { start, end });
    }
    let length = image.len().saturating_sub(header.code) as u64;
    Image::Bytes(image).load(memory, start, header.code as u64, length)?;
    let setup = Setup { entry: start + ENTRY_OFFSET, header: header.raw.clone() };
    Ok(Loaded { start: Start::Linux64(setup), end: end.max(start + length) })
}

fn boot_params(request: &Request<'_>, initrd: Option<(u64, u64)>, setup: &Setup) -> Vec<u8> {
    let mut page = vec![0; 0x1000];
    let mut put = |offset: usize, bytes: &[u8]| {
        if let Some(field) = page.get_mut(offset..).and_then(|rest| rest.get_mut(..bytes.len())) {
            field.copy_from_slice(bytes);
        }
    };
    let low = |value: u64| u32::try_from(value & 0xffff_ffff).unwrap_or(0).to_le_bytes();
    put(0x1f1, &setup.header);
    put(0x070, &request.rsdp.unwrap_or(0).to_le_bytes()); // acpi_rsdp_addr
    put(0x210, &[LOADER_TYPE]);
    put(0x228, &low(layout::CMDLINE));
    if let Some((address, length)) = initrd {
        put(0x218, &low(address));
        put(0x21c, &low(length));
    }
    let map = layout::memory_map(request.memory_bytes);
    put(0x1e8, &[u8::try_from(map.len()).unwrap_or(0)]);
    for (index, (range, kind)) in map.iter().enumerate() {
        let at = 0x2d0 + index * 20;
        put(at, &range.start.to_le_bytes());
        put(at + 8, &(range.end - range.start).to_le_bytes());
        put(at + 16, &(*kind as u32).to_le_bytes());
    }
    page
}

/// Identity page tables for the first four gigabytes, in pages of two megabytes.
fn page_tables() -> Vec<u8> {
    const PRESENT_WRITABLE: u64 = 3;
    const LARGE: u64 = 1 << 7;
    let mut tables = Vec::with_capacity(6 * 0x1000);
    let mut page = |entries: &[u64]| {
        for index in 0..512 {
            tables.extend_from_slice(&entries.get(index).copied().unwrap_or(0).to_le_bytes());
        }
    };
    page(&[(layout::PAGE_TABLES + 0x1000) | PRESENT_WRITABLE]);
    let directories: Vec<u64> =
        (0..4).map(|n| (layout::PAGE_TABLES + 0x2000 + n * 0x1000) | PRESENT_WRITABLE).collect();
    page(&directories);
    for gigabyte in 0..4_u64 {
        let entries: Vec<u64> =
            (0..512).map(|n| (gigabyte << 30) | (n << 21) | LARGE | PRESENT_WRITABLE).collect();
        page(&entries);
    }
    tables
}

/// Writes zero page and page tables into guest memory.
pub(crate) fn write_boot_params(
    memory: &GuestMemory,
    request: &Request<'_>,
    initrd: Option<(u64, u64)>,
    setup: &Setup,
) -> Result<()> {
    let params = boot_params(request, initrd, setup);
    memory
        .write_slice(&params, GuestAddress(layout::ZERO_PAGE))
        .map_err(Error::place("the Linux boot parameters"))?;
    memory
        .write_slice(&page_tables(), GuestAddress(layout::PAGE_TABLES))
        .map_err(Error::place("the boot page tables"))
}

#[cfg(test)]
mod tests {
    use super::super::le;
    use super::*;
    use std::path::Path;

    #[test]
    fn page_tables_map_every_address_to_itself() {
        let tables = page_tables();
        assert_eq!(tables.len() as u64, layout::PAGE_TABLES_LEN);
        let entry = |table: u64, index: u64| {
            let at = usize::try_from(table - layout::PAGE_TABLES + index * 8).unwrap_or(usize::MAX);
            le::<8>(&tables, at).unwrap_or(0)
        };
        for address in [0_u64, 0x10_0000, 0x3fff_f000, 0x4000_0000, 0xfee0_0000, 0xffff_ffff] {
            let pdpt = entry(layout::PAGE_TABLES, 0) & !0xfff;
            let directory = entry(pdpt, address >> 30) & !0xfff;
            let leaf = entry(directory, (address >> 21) & 511);
            assert_eq!(leaf & 0x83, 0x83);
            assert_eq!((leaf & !0x1f_ffff) | (address & 0x1f_ffff), address);
        }
    }

    #[test]
    fn zero_page_carries_header_map_and_initrd() {
        let mut header = vec![0; 0x77];
        header[0x202 - 0x1f1..0x206 - 0x1f1].copy_from_slice(b"HdrS");
        let request = Request {
            kernel: Path::new("k"),
            initrd: None,
            cmdline: "",
            rsdp: Some(7),
            memory_bytes: 1 << 30,
        };
        let page = boot_params(&request, Some((0x3000_0000, 99)), &Setup { entry: 0, header });
        assert_eq!(page.get(0x202..0x206), Some(&b"HdrS"[..]));
        assert_eq!(le::<8>(&page, 0x70), Some(7));
        assert_eq!((le::<4>(&page, 0x218), le::<4>(&page, 0x21c)), (Some(0x3000_0000), Some(99)));
        assert_eq!(le::<4>(&page, 0x228), Some(layout::CMDLINE));
        let entries = le::<1>(&page, 0x1e8).unwrap_or(0);
        assert_eq!(entries, layout::memory_map(1 << 30).len() as u64);
        assert_eq!(le::<4>(&page, 0x2d0 + 16), Some(1), "the first entry is RAM");
    }
}
