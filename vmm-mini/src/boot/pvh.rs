//! The PVH boot protocol: what a kernel is told when it starts at its PVH entry point.
//!
//! Structures of Xen's `start_info.h`: `hvm_start_info` version 1, one module (the initrd), the memory map
//! and the ACPI root pointer. All of them lie in conventional memory, which the kernel reads before it uses.

use vm_memory::{Bytes, GuestAddress};

use super::{Request, layout};
use crate::error::{Error, Result};
use crate::virtio::device::GuestMemory;

/// `XEN_HVM_START_MAGIC_VALUE`.
const MAGIC: u32 = 0x336e_c578;
/// Bytes of `hvm_start_info` version 1; the module list follows.
const START_INFO_LEN: u64 = 56;

/// The start info, its module list (both at [`layout::START_INFO`]) and the memory map (at
/// [`layout::PVH_MEMORY_MAP`]).
fn start_info(request: &Request<'_>, initrd: Option<(u64, u64)>) -> (Vec<u8>, Vec<u8>) {
    let map = layout::memory_map(request.memory_bytes);
    let mut info = Vec::new();
    let word = |bytes: &mut Vec<u8>, value: u32| bytes.extend_from_slice(&value.to_le_bytes());
    let quad = |bytes: &mut Vec<u8>, value: u64| bytes.extend_from_slice(&value.to_le_bytes());
    word(&mut info, MAGIC);
    word(&mut info, 1); // version
    word(&mut info, 0); // flags
    word(&mut info, u32::from(initrd.is_some()));
    quad(&mut info, layout::START_INFO + START_INFO_LEN);
    quad(&mut info, layout::CMDLINE);
    quad(&mut info, request.rsdp.unwrap_or(0));
    quad(&mut info, layout::PVH_MEMORY_MAP);
    word(&mut info, u32::try_from(map.len()).unwrap_or(0));
    word(&mut info, 0); // reserved
    if let Some((address, length)) = initrd {
        quad(&mut info, address);
        quad(&mut info, length);
        quad(&mut info, 0); // module command line
        quad(&mut info, 0); // reserved
    }
    let mut entries = Vec::new();
    for (range, kind) in map {
        quad(&mut entries, range.start);
        quad(&mut entries, range.end - range.start);
        word(&mut entries, kind as u32);
        word(&mut entries, 0); // reserved
    }
    (info, entries)
}

/// Writes all of it into guest memory.
pub(crate) fn write_start_info(
    memory: &GuestMemory,
    request: &Request<'_>,
    initrd: Option<(u64, u64)>,
) -> Result<()> {
    let (info, map) = start_info(request, initrd);
    memory
        .write_slice(&info, GuestAddress(layout::START_INFO))
        .map_err(Error::place("the PVH start info"))?;
    memory.write_slice(&map, GuestAddress(layout::PVH_MEMORY_MAP)).map_err(Error::place("the PVH memory map"))
}

#[cfg(test)]
mod tests {
    use super::super::le;
    use super::*;
    use std::path::Path;

    #[test]
    fn fields_are_where_the_protocol_says() {
        let request = Request {
            kernel: Path::new("k"),
            initrd: None,
            cmdline: "",
            rsdp: Some(0xe_0000),
            memory_bytes: 256 << 20,
        };
        let (info, map) = start_info(&request, Some((0xfff_0000, 0x1234)));
        assert_eq!(info.len(), 56 + 32);
        assert_eq!(le::<4>(&info, 0), Some(0x336e_c578));
        assert_eq!(le::<4>(&info, 12), Some(1), "modules");
        assert_eq!(le::<8>(&info, 16), Some(layout::START_INFO + 56), "module list");
        assert_eq!(le::<8>(&info, 32), Some(0xe_0000), "root pointer");
        assert_eq!(le::<8>(&info, 40), Some(layout::PVH_MEMORY_MAP));
        assert_eq!(le::<4>(&info, 48).map(|n| n * 24), Some(map.len() as u64));
        assert_eq!((le::<8>(&info, 56), le::<8>(&info, 64)), (Some(0xfff_0000), Some(0x1234)));
        assert!((layout::START_INFO + info.len() as u64) <= layout::PVH_MEMORY_MAP);
        assert!(map.len() as u64 <= layout::ZERO_PAGE - layout::PVH_MEMORY_MAP);
    }
}
