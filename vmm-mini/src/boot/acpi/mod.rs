//! ACPI tables: how a kernel learns of processors, interrupt controllers, the PCI bus and the power switch.
//!
//! The machine is a hardware-reduced one (ACPI 6.5, section 4.1): no fixed power registers, only sleep and
//! reset registers. All tables lie in [`layout::ACPI`], which every memory map marks reserved, the root
//! pointer first.

use acpi_tables::sdt::{GenericAddress, Sdt};

use super::layout;

mod dsdt;

const OEM: [u8; 6] = *b"DSKWRT";
const OEM_TABLE: [u8; 8] = *b"DWVMMINI";
const OEM_REVISION: u32 = 1;

/// Value for the reset register that resets the machine.
pub const RESET_VALUE: u8 = 0x06;
/// Sleep type of the powered-off state, as `\_S5` tells it.
pub const SLEEP_TYPE_OFF: u8 = 5;

/// Most processors for which the tables have room and 8-bit APIC ids.
pub const MAX_PROCESSORS: u8 = 254;

/// Every table for a machine of `processors` processors, to be placed at the start of [`layout::ACPI`].
#[must_use]
pub fn tables(processors: u8) -> Vec<u8> {
    const RSDP_ROOM: usize = 64;
    let mut out = vec![0; RSDP_ROOM];
    let mut place = |table: &[u8]| {
        let address = layout::ACPI.start + out.len() as u64;
        out.extend_from_slice(table);
        out.resize(out.len().next_multiple_of(16), 0);
        address
    };
    let dsdt = place(&dsdt::dsdt());
    let fadt = place(&fadt(dsdt));
    let madt = place(&madt(processors));
    let xsdt = place(&xsdt(&[fadt, madt]));
    let rsdp = rsdp(xsdt);
    out.splice(..rsdp.len(), rsdp);
    out
}

fn table(signature: &[u8; 4], length: u32, revision: u8) -> Sdt {
    Sdt::new(*signature, length, revision, OEM, OEM_TABLE, OEM_REVISION)
}

/// Root pointer, section 5.2.5.3, revision 2.
fn rsdp(xsdt: u64) -> Vec<u8> {
    let mut bytes = b"RSD PTR \0".to_vec();
    bytes.extend_from_slice(&OEM);
    bytes.push(2); // revision
    bytes.extend_from_slice(&0_u32.to_le_bytes()); // no RSDT
    bytes.extend_from_slice(&36_u32.to_le_bytes());
    bytes.extend_from_slice(&xsdt.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]); // extended checksum, reserved
    let sum = |bytes: &[u8]| bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
    bytes[8] = sum(&bytes[..20]);
    bytes[32] = sum(&bytes);
    bytes
}

fn xsdt(entries: &[u64]) -> Vec<u8> {
    let mut table = table(b"XSDT", 36, 1);
    for entry in entries {
        table.append_slice(&entry.to_le_bytes());
    }
    table.as_slice().to_vec()
}

/// Fixed description table, section 5.2.9.
fn fadt(dsdt: u64) -> Vec<u8> {
    const LENGTH: u32 = 276;
    const NO_VGA: u16 = 1 << 2;
    const NO_CMOS_RTC: u16 = 1 << 5;
    const WBINVD: u32 = 1;
    const NO_FIXED_POWER_BUTTON: u32 = 1 << 4;
    const NO_FIXED_SLEEP_BUTTON: u32 = 1 << 5;
    const RESET_REGISTER: u32 = 1 << 10;
    const HARDWARE_REDUCED: u32 = 1 << 20;
    let mut table = table(b"FACP", LENGTH, 6);
    table.write_u16(109, NO_VGA | NO_CMOS_RTC); // IAPC_BOOT_ARCH
    table.write_u32(
        112,
        WBINVD | NO_FIXED_POWER_BUTTON | NO_FIXED_SLEEP_BUTTON | RESET_REGISTER | HARDWARE_REDUCED,
    );
    table.write(116, GenericAddress::io_port_address::<u8>(layout::RESET_PORT));
    table.write_u8(128, RESET_VALUE);
    table.write_u8(131, 5); // minor version: 6.5
    table.write_u64(140, dsdt); // X_DSDT
    table.write(244, GenericAddress::io_port_address::<u8>(layout::SLEEP_PORT));
    table.write(256, GenericAddress::io_port_address::<u8>(layout::SLEEP_PORT + 1));
    table.as_slice().to_vec()
}

/// Multiple APIC description table, section 5.2.12.
fn madt(processors: u8) -> Vec<u8> {
    const DUAL_8259: u32 = 1;
    const ENABLED: u32 = 1;
    // As `_PRT` means them: a kernel refuses lines that two tables describe differently.
    const ACTIVE_LOW_LEVEL: u16 = 0xf;
    let mut table = table(b"APIC", 44, 5);
    table.write_u32(36, u32::try_from(layout::LOCAL_APIC).unwrap_or(0));
    table.write_u32(40, DUAL_8259);
    for id in 0..processors.min(MAX_PROCESSORS) {
        table.append_slice(&[0, 8, id, id]); // local APIC: uid, APIC id
        table.append_slice(&ENABLED.to_le_bytes());
    }
    table.append_slice(&[1, 12, 0, 0]); // I/O APIC, id 0
    table.append_slice(&u32::try_from(layout::IO_APIC).unwrap_or(0).to_le_bytes());
    table.append_slice(&0_u32.to_le_bytes()); // first global interrupt
    for line in layout::PCI_IRQS {
        table.append_slice(&[2, 10, 0, u8::try_from(line).unwrap_or(0)]); // source override, ISA bus
        table.append_slice(&line.to_le_bytes());
        table.append_slice(&ACTIVE_LOW_LEVEL.to_le_bytes());
    }
    table.append_slice(&[4, 6, 0xff, 0, 0, 1]); // NMI on LINT1 of every local APIC
    table.as_slice().to_vec()
}

#[cfg(test)]
#[path = "acpi_test.rs"]
mod tests;
