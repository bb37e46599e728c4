//! Where things lie in the guest's physical address space.
//!
//! One file holds every address, so that no two of them can drift into each other; a test checks that they
//! do not overlap.

use std::ops::Range;

/// Descriptor table for the boot processor's first segments.
pub const GDT: u64 = 0x500;
/// `hvm_start_info` of the PVH protocol, followed by its module list.
pub const START_INFO: u64 = 0x6000;
/// PVH memory map.
pub const PVH_MEMORY_MAP: u64 = 0x6800;
/// Linux `boot_params` ("zero page") of the 64-bit boot protocol.
pub const ZERO_PAGE: u64 = 0x7000;
/// Stack of the boot processor until the kernel sets its own.
pub const BOOT_STACK: u64 = 0x8ff0;
/// Identity page tables of the 64-bit boot protocol: PML4, PDPT and four page directories.
pub const PAGE_TABLES: u64 = 0x9000;
/// Bytes of [`PAGE_TABLES`].
pub const PAGE_TABLES_LEN: u64 = 6 * 0x1000;
/// Kernel command line, a C string.
pub const CMDLINE: u64 = 0x2_0000;
/// Longest command line with its terminator, in bytes (the kernel itself keeps 2048).
pub const CMDLINE_MAX: usize = 0x1_0000;

/// End of conventional memory.
pub const LOW_RAM_END: u64 = 0x9_fc00;
/// ACPI tables, reserved in every memory map that the guest is given; the root pointer comes first.
pub const ACPI: Range<u64> = 0xe_0000..0x10_0000;
/// Where a processor in real mode begins after a reset; the last bytes of [`ACPI`]'s range.
pub const RESET_VECTOR: u64 = 0xf_fff0;
/// Kernels load at or above this address.
pub const HIGH_RAM_START: u64 = 0x10_0000;

/// RAM below four gigabytes ends here at the latest.
pub const LOW_RAM_MAX: u64 = 0xc000_0000;
/// Window of 32-bit PCI memory.
pub const PCI_WINDOW: Range<u64> = 0xc000_0000..0xe000_0000;
/// I/O APIC, inside the in-kernel interrupt controller.
pub const IO_APIC: u64 = 0xfec0_0000;
/// Local APICs.
pub const LOCAL_APIC: u64 = 0xfee0_0000;
/// Pages that KVM on Intel processors needs for real-mode emulation: identity map, then the task segment.
pub const KVM_IDENTITY_MAP: u64 = 0xfffb_c000;
/// Three pages for the real-mode task segment.
pub const KVM_TSS: u64 = 0xfffb_d000;
/// RAM that does not fit below [`LOW_RAM_MAX`] goes on here.
pub const FOUR_GIB: u64 = 0x1_0000_0000;

/// Interrupt of the first serial port.
pub const SERIAL_IRQ: u32 = 4;
/// First serial port.
pub const SERIAL_PORT: u16 = 0x3f8;
/// Keyboard controller, kept for its reset line.
pub const I8042_PORT: u16 = 0x60;
/// ACPI sleep control register; the status register follows.
pub const SLEEP_PORT: u16 = 0x600;
/// The panic notification port that guests know by the ACPI name `QEMU0001`.
pub const PVPANIC_PORT: u16 = 0x505;
/// PCI configuration address register.
pub const PCI_ADDRESS_PORT: u16 = 0xcf8;
/// Reset control register.
pub const RESET_PORT: u16 = 0xcf9;
/// PCI configuration data register.
pub const PCI_DATA_PORT: u16 = 0xcfc;

/// Interrupt lines that PCI slots share; level triggered.
pub const PCI_IRQS: [u32; 3] = [5, 10, 11];

/// The interrupt line of a PCI slot's `INTA#`.
#[must_use]
pub fn pci_irq(slot: u8) -> u32 {
    PCI_IRQS[usize::from(slot) % PCI_IRQS.len()]
}

/// Ranges of guest RAM for a machine of `bytes` bytes.
#[must_use]
pub fn ram(bytes: u64) -> Vec<Range<u64>> {
    if bytes <= LOW_RAM_MAX {
        std::iter::once(0..bytes).collect()
    } else {
        vec![0..LOW_RAM_MAX, FOUR_GIB..FOUR_GIB.saturating_add(bytes - LOW_RAM_MAX)]
    }
}

/// What a range of the guest's memory map is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Memory the guest may use.
    Ram = 1,
    /// Memory or addresses it must leave alone.
    Reserved = 2,
}

/// The memory map a guest is told: usable RAM, and what is reserved inside or beside it.
#[must_use]
pub fn memory_map(bytes: u64) -> Vec<(Range<u64>, Kind)> {
    let mut map =
        vec![(0..LOW_RAM_END, Kind::Ram), (LOW_RAM_END..0xa_0000, Kind::Reserved), (ACPI, Kind::Reserved)];
    for range in ram(bytes) {
        let start = range.start.max(if range.start == 0 { HIGH_RAM_START } else { 0 });
        if start < range.end {
            map.push((start..range.end, Kind::Ram));
        }
    }
    map.push((KVM_IDENTITY_MAP..KVM_TSS + 0x3000, Kind::Reserved));
    map.sort_by_key(|(range, _)| range.start);
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_structures_do_not_overlap() {
        let areas = [
            GDT..GDT + 0x40,
            START_INFO..PVH_MEMORY_MAP,
            PVH_MEMORY_MAP..ZERO_PAGE,
            ZERO_PAGE..ZERO_PAGE + 0x1000,
            BOOT_STACK - 0x800..BOOT_STACK,
            PAGE_TABLES..PAGE_TABLES + PAGE_TABLES_LEN,
            CMDLINE..CMDLINE + CMDLINE_MAX as u64,
            ACPI,
            HIGH_RAM_START..LOW_RAM_MAX,
            PCI_WINDOW,
            IO_APIC..IO_APIC + 0x1000,
            LOCAL_APIC..LOCAL_APIC + 0x1000,
            KVM_IDENTITY_MAP..KVM_IDENTITY_MAP + 0x1000,
            KVM_TSS..KVM_TSS + 0x3000,
        ];
        for pair in areas.windows(2) {
            assert!(pair[0].end <= pair[1].start, "{pair:x?}");
        }
    }

    #[test]
    fn memory_map_is_sorted_and_holds_all_ram_but_the_legacy_hole() {
        for mib in [64_u64, 3072, 3073, 8192] {
            let map = memory_map(mib << 20);
            for pair in map.windows(2) {
                assert!(pair[0].0.end <= pair[1].0.start, "{pair:x?}");
            }
            let usable: u64 = map.iter().filter(|(_, k)| *k == Kind::Ram).map(|(r, _)| r.end - r.start).sum();
            assert_eq!(usable, (mib << 20) - (HIGH_RAM_START - LOW_RAM_END));
        }
    }
}
