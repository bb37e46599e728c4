//! The state in which a processor begins: segments, control registers, a few model-specific registers and
//! the local APIC's interrupt pins.

use kvm_bindings::{Msrs, kvm_msr_entry, kvm_regs, kvm_segment, kvm_sregs};
use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, GuestAddress};

use crate::boot::{Entry, layout};
use crate::error::{Error, Result};
use crate::virtio::device::GuestMemory;

const CR0_PE: u64 = 1;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
/// Bit 1 of the flags is always set.
const RFLAGS_FIXED: u64 = 2;

const MSR_MISC_ENABLE: u32 = 0x1a0;
const MSR_MTRR_DEFAULT_TYPE: u32 = 0x2ff;
const FAST_STRINGS: u64 = 1;
const MTRR_ENABLED_WRITE_BACK: u64 = 1 << 11 | 6;

/// Selectors of both boot protocols: code 0x10, data 0x18, task state 0x20.
const CODE: u16 = 0x10;
const DATA: u16 = 0x18;
const TASK: u16 = 0x20;

fn segment(selector: u16, type_: u8) -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: 0xffff_ffff,
        selector,
        type_,
        present: 1,
        s: 1,
        db: 1,
        g: 1,
        ..Default::default()
    }
}

/// A segment as an entry of the descriptor table.
fn descriptor(segment: &kvm_segment) -> u64 {
    let limit = u64::from(if segment.g == 1 { segment.limit >> 12 } else { segment.limit });
    let flag = |value: u8, bit: u32| u64::from(value) << bit;
    (limit & 0xffff)
        | (segment.base & 0xff_ffff) << 16
        | flag(segment.type_, 40)
        | flag(segment.s, 44)
        | flag(segment.dpl, 45)
        | flag(segment.present, 47)
        | (limit >> 16 & 0xf) << 48
        | flag(segment.l, 53)
        | flag(segment.db, 54)
        | flag(segment.g, 55)
        | (segment.base >> 24 & 0xff) << 56
}

/// Segments and control registers for an entry point; also the descriptor table that matches them.
fn system(entry: Entry, sregs: &mut kvm_sregs) -> [u64; 5] {
    let mut code = segment(CODE, 0xb);
    let data = segment(DATA, 0x3);
    let task = kvm_segment { limit: 0x67, s: 0, g: 0, db: 0, ..segment(TASK, 0xb) };
    sregs.cr0 = CR0_PE | CR0_ET;
    sregs.cr4 = 0;
    sregs.efer = 0;
    if let Entry::Linux64 { .. } = entry {
        code.l = 1;
        code.db = 0;
        sregs.cr0 |= CR0_PG;
        sregs.cr3 = layout::PAGE_TABLES;
        sregs.cr4 = CR4_PAE;
        sregs.efer = EFER_LME | EFER_LMA;
    }
    sregs.cs = code;
    for register in [&mut sregs.ds, &mut sregs.es, &mut sregs.fs, &mut sregs.gs, &mut sregs.ss] {
        *register = data;
    }
    sregs.tr = task;
    sregs.gdt.base = layout::GDT;
    sregs.gdt.limit = 5 * 8 - 1;
    sregs.idt.base = 0;
    sregs.idt.limit = 0;
    [0, 0, descriptor(&code), descriptor(&data), descriptor(&task)]
}

/// Puts the boot processor at the kernel's entry point.
///
/// # Errors
/// When KVM refuses the state.
pub fn enter(vcpu: &VcpuFd, memory: &GuestMemory, entry: Entry) -> Result<()> {
    let mut sregs = vcpu.get_sregs().map_err(Error::kvm("read a vCPU's segments"))?;
    let table = system(entry, &mut sregs);
    memory
        .write_slice(&table.map(u64::to_le_bytes).concat(), GuestAddress(layout::GDT))
        .map_err(Error::place("the boot descriptor table"))?;
    vcpu.set_sregs(&sregs).map_err(Error::kvm("set a vCPU's segments"))?;
    let mut regs = kvm_regs { rflags: RFLAGS_FIXED, rsp: layout::BOOT_STACK, ..Default::default() };
    match entry {
        Entry::Pvh { address } => {
            regs.rip = address;
            regs.rbx = layout::START_INFO;
        }
        Entry::Linux64 { address } => {
            regs.rip = address;
            regs.rsi = layout::ZERO_PAGE;
        }
    }
    vcpu.set_regs(&regs).map_err(Error::kvm("set a vCPU's registers"))
}

/// Moves the descriptor table to `address`; segments keep what they hold.
///
/// # Errors
/// When KVM refuses the state.
pub(super) fn set_descriptor_table(vcpu: &VcpuFd, address: u64) -> Result<()> {
    let mut sregs = vcpu.get_sregs().map_err(Error::kvm("read a vCPU's segments"))?;
    sregs.gdt.base = address;
    vcpu.set_sregs(&sregs).map_err(Error::kvm("set a vCPU's segments"))
}

/// What firmware would have left in every processor: fast strings, write-back memory, and on the boot
/// processor the legacy interrupt pin routed through the local APIC.
///
/// # Errors
/// When KVM refuses the state.
pub fn firmware_state(vcpu: &VcpuFd, boot_processor: bool) -> Result<()> {
    for (index, data) in [(MSR_MISC_ENABLE, FAST_STRINGS), (MSR_MTRR_DEFAULT_TYPE, MTRR_ENABLED_WRITE_BACK)] {
        let entry = kvm_msr_entry { index, data, ..Default::default() };
        let msrs = Msrs::from_entries(&[entry])
            .map_err(|error| Error::Config(format!("too many model-specific registers ({error:?})")))?;
        // A KVM without the register sets none of one and is right to: the guest does not see it either.
        vcpu.set_msrs(&msrs).map_err(Error::kvm("set a model-specific register"))?;
    }
    const LVT_LINT0: usize = 0x350;
    const LVT_LINT1: usize = 0x360;
    const DELIVER_EXTINT: u8 = 7;
    const DELIVER_NMI: u8 = 4;
    let mut apic = vcpu.get_lapic().map_err(Error::kvm("read a local APIC"))?;
    let mut pin = |register: usize, delivery: u8| {
        // Bits 8-10 of the register are the delivery mode, bit 16 masks it.
        if let Some([_, mode, mask, _]) = apic.regs.get_mut(register..register + 4) {
            *mode = (*mode & !7_i8) | i8::try_from(delivery).unwrap_or(0);
            *mask &= !1;
        }
    };
    if boot_processor {
        pin(LVT_LINT0, DELIVER_EXTINT);
    }
    pin(LVT_LINT1, DELIVER_NMI);
    vcpu.set_lapic(&apic).map_err(Error::kvm("set a local APIC"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_have_the_known_encoding() {
        let mut sregs = kvm_sregs::default();
        let flat = system(Entry::Pvh { address: 0 }, &mut sregs);
        assert_eq!(flat, [0, 0, 0x00cf_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0x0000_8b00_0000_0067]);
        assert_eq!(sregs.cr0 & CR0_PG, 0);
        let long = system(Entry::Linux64 { address: 0 }, &mut sregs);
        assert_eq!(long[2], 0x00af_9b00_0000_ffff);
        assert_eq!(sregs.efer, EFER_LME | EFER_LMA);
    }
}
