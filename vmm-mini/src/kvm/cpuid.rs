//! What the guest's CPUID instruction answers: the host's supported features with the guest's own topology.
//!
//! One socket, one die, one thread per core; the APIC id of a processor is its number. Everything else is
//! passed through as KVM offers it, its own paravirtual leaves (0x4000_0000 and up: clock, steal time)
//! included.

use kvm_bindings::{CpuId, kvm_cpuid_entry2};

use crate::error::{Error, Result};

/// Leaf 1, ECX.
const X2APIC: u32 = 1 << 21;
const TSC_DEADLINE: u32 = 1 << 24;
const HYPERVISOR: u32 = 1 << 31;
/// Leaf 1, EDX: the logical processor count in EBX is valid.
const HTT: u32 = 1 << 28;
/// Leaf 0x8000_0001, ECX: leaf 0x8000_001e is valid.
const TOPOEXT: u32 = 1 << 22;

/// The place of one processor in the machine.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Number and APIC id.
    pub id: u8,
    /// Processors of the machine, at least 1.
    pub count: u8,
    /// The local APIC timer has the TSC-deadline mode.
    pub tsc_deadline: bool,
}

impl Place {
    /// Bits of the APIC id that number a core.
    fn core_bits(self) -> u32 {
        u32::from(self.count).next_power_of_two().trailing_zeros()
    }

    /// Levels of leaves 0xb and 0x1f: thread, core, end of list.
    fn level(self, index: u32) -> [u32; 4] {
        const THREAD: u32 = 1 << 8;
        const CORE: u32 = 2 << 8;
        let id = u32::from(self.id);
        match index {
            0 => [0, 1, THREAD, id],
            1 => [self.core_bits(), u32::from(self.count), CORE | 1, id],
            _ => [0, 0, index, id],
        }
    }
}

/// CPUID entries of one processor.
#[must_use]
pub fn entries(supported: &[kvm_cpuid_entry2], place: Place) -> Vec<kvm_cpuid_entry2> {
    let mut entries = Vec::with_capacity(supported.len() + 6);
    let mut topology_leaves = Vec::new();
    for entry in supported {
        if matches!(entry.function, 0xb | 0x1f) {
            if entry.index == 0 {
                topology_leaves.push(*entry);
            }
            continue;
        }
        let mut entry = *entry;
        adapt(&mut entry, place);
        entries.push(entry);
    }
    for leaf in topology_leaves {
        for index in 0..3 {
            let [eax, ebx, ecx, edx] = place.level(index);
            entries.push(kvm_cpuid_entry2 { index, eax, ebx, ecx, edx, ..leaf });
        }
    }
    entries
}

fn adapt(entry: &mut kvm_cpuid_entry2, place: Place) {
    let id = u32::from(place.id);
    let last = u32::from(place.count).saturating_sub(1);
    match entry.function {
        0x1 => {
            let logical = u32::from(place.count).next_power_of_two().min(128);
            entry.ebx = (entry.ebx & 0xffff) | (logical << 16) | (id << 24);
            entry.ecx |= HYPERVISOR | X2APIC;
            entry.ecx = if place.tsc_deadline { entry.ecx | TSC_DEADLINE } else { entry.ecx & !TSC_DEADLINE };
            entry.edx = if place.count > 1 { entry.edx | HTT } else { entry.edx & !HTT };
        }
        // Caches (4: Intel, 0x8000_001d: AMD): bits 14-25 say how many logical processors share one, less
        // one. The first two levels belong to a core, what lies beyond to the socket. In leaf 4 bits 26-31
        // are the number of core ids less one.
        0x4 | 0x8000_001d if entry.eax & 0x1f != 0 => {
            let level = (entry.eax >> 5) & 7;
            let sharing = if level >= 3 { (1 << place.core_bits()) - 1 } else { 0 };
            entry.eax = (entry.eax & !(0xfff << 14)) | (sharing << 14);
            if entry.function == 0x4 {
                let cores: u32 = ((1 << place.core_bits()) - 1_u32).min(63);
                entry.eax = (entry.eax & !(0x3f << 26)) | (cores << 26);
            }
        }
        // Core count and size of the core field of the APIC id (AMD).
        0x8000_0008 => entry.ecx = (entry.ecx & !0xf0ff) | (place.core_bits() << 12) | last.min(0xff),
        // Extended APIC id, core id, one node (AMD).
        0x8000_001e => {
            entry.eax = id;
            entry.ebx = id & 0xff;
            entry.ecx = 0;
        }
        0x8000_0001 if place.count == 1 => entry.ecx &= !TOPOEXT,
        _ => {}
    }
}

/// The table in the form that KVM takes.
///
/// # Errors
/// When there are more entries than KVM takes.
pub fn table(supported: &CpuId, place: Place) -> Result<CpuId> {
    CpuId::from_entries(&entries(supported.as_slice(), place))
        .map_err(|error| Error::Config(format!("this host reports too many processor features ({error:?})")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn leaf(function: u32, index: u32, regs: [u32; 4]) -> kvm_cpuid_entry2 {
        let [eax, ebx, ecx, edx] = regs;
        kvm_cpuid_entry2 { function, index, eax, ebx, ecx, edx, ..Default::default() }
    }

    fn find(entries: &[kvm_cpuid_entry2], function: u32, index: u32) -> kvm_cpuid_entry2 {
        let mut hits = entries.iter().filter(|e| e.function == function && e.index == index);
        let hit = *hits.next().unwrap();
        assert!(hits.next().is_none(), "leaf {function:#x}.{index} comes twice");
        hit
    }

    #[test]
    fn every_processor_sees_its_own_place() {
        let supported = [
            leaf(0, 0, [0x1f, 1, 2, 3]),
            leaf(1, 0, [0x806f8, 0xaa04_5566, 0x1000, HTT]),
            leaf(4, 1, [0xfc00_4121, 0, 0, 0]),
            leaf(4, 3, [0xfc1f_c163, 0, 0, 0]),
            leaf(4, 4, [0, 0, 0, 0]),
            leaf(0xb, 0, [1, 2, 0x100, 7]),
            leaf(0xb, 1, [7, 9, 0x201, 7]),
            leaf(0x8000_0008, 0, [0x3030, 0, 0x7777, 0]),
            leaf(0x8000_001e, 0, [9, 9, 9, 0]),
            leaf(0x4000_0001, 0, [0x0100_7efb, 0, 0, 0]),
        ];
        let place = Place { id: 2, count: 3, tsc_deadline: true };
        let got = entries(&supported, place);
        assert_eq!(find(&got, 0, 0), supported[0]);
        let one = find(&got, 1, 0);
        assert_eq!(one.ebx, 0x0204_5566);
        assert_eq!(one.ecx, 0x1000 | HYPERVISOR | X2APIC | TSC_DEADLINE);
        assert_ne!(one.edx & HTT, 0);
        assert_eq!(find(&got, 4, 1).eax >> 14, 3 << 12, "a core's own cache, four core ids");
        assert_eq!((find(&got, 4, 3).eax >> 14) & 0xfff, 3, "shared by the socket");
        assert_eq!(find(&got, 4, 4).eax, 0);
        assert_eq!(find(&got, 0xb, 0).ecx, 0x100);
        let core = find(&got, 0xb, 1);
        assert_eq!([core.eax, core.ebx, core.ecx, core.edx], [2, 3, 0x201, 2]);
        assert_eq!(find(&got, 0xb, 2).ecx, 2);
        assert_eq!(find(&got, 0x8000_0008, 0).ecx, 0x2702);
        assert_eq!(find(&got, 0x8000_001e, 0).eax, 2);
        assert_eq!(find(&got, 0x4000_0001, 0).eax, 0x0100_7efb);
    }

    #[test]
    fn a_single_processor_is_no_package_of_many() {
        let supported = [leaf(1, 0, [0, 0, TSC_DEADLINE, HTT]), leaf(0xb, 0, [0; 4])];
        let got = entries(&supported, Place { id: 0, count: 1, tsc_deadline: false });
        let one = find(&got, 1, 0);
        assert_eq!((one.edx & HTT, one.ecx & TSC_DEADLINE), (0, 0));
        assert_eq!(find(&got, 0xb, 1).eax, 0);
    }
}
