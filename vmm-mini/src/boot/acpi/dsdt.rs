//! The differentiated description table: the devices that cannot be found by looking.
//!
//! The PCI root with its windows and interrupt lines, the serial port, the panic port, and the sleep type
//! that powers the machine off.

use acpi_tables::Aml;
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Device, EISAName, IO, Interrupt, Name, Package, PackageBuilder,
    ResourceTemplate, Scope,
};

use super::{SLEEP_TYPE_OFF, layout, table};

/// The whole table.
pub(super) fn dsdt() -> Vec<u8> {
    let mut body = Vec::new();
    let sleep = Package::new(vec![&SLEEP_TYPE_OFF, &0_u8, &0_u8, &0_u8]);
    Name::new("_S5_".into(), &sleep).to_aml_bytes(&mut body);
    pci_root(&mut body);
    serial(&mut body);
    panic_port(&mut body);
    let mut table = table(b"DSDT", 36, 2);
    table.append_slice(&body);
    table.as_slice().to_vec()
}

fn pci_root(out: &mut Vec<u8>) {
    let start = u32::try_from(layout::PCI_WINDOW.start).unwrap_or(0);
    let last = u32::try_from(layout::PCI_WINDOW.end - 1).unwrap_or(0);
    let buses = AddressSpace::new_bus_number(0_u16, 0);
    let config = IO::new(layout::PCI_ADDRESS_PORT, layout::PCI_ADDRESS_PORT, 1, 8);
    let ports = AddressSpace::new_io(0x1000_u16, 0xffff, None);
    let memory = AddressSpace::new_memory(AddressSpaceCacheable::NotCacheable, true, start, last, None);
    let windows = ResourceTemplate::new(vec![&buses, &config, &ports, &memory]);
    let kind = Name::new("_HID".into(), &EISAName::new("PNP0A03"));
    let id = Name::new("_UID".into(), &0_u8);
    let segment = Name::new("_SEG".into(), &0_u8);
    let bus = Name::new("_BBN".into(), &0_u8);
    let resources = Name::new("_CRS".into(), &windows);
    let routing = Name::new("_PRT".into(), &interrupt_routing());
    let root = Device::new("PCI0".into(), vec![&kind, &id, &segment, &bus, &resources, &routing]);
    Scope::new("_SB_".into(), vec![&root]).to_aml_bytes(out);
}

/// `_PRT`: the interrupt line of every slot's first pin. No function uses another pin.
fn interrupt_routing() -> PackageBuilder {
    let mut table = PackageBuilder::new();
    for slot in 0..32_u8 {
        let address = (u32::from(slot) << 16) | 0xffff;
        let line = layout::pci_irq(slot);
        table.add_element(&Package::new(vec![&address, &0_u8, &0_u8, &line]));
    }
    table
}

fn serial(out: &mut Vec<u8>) {
    let ports = IO::new(layout::SERIAL_PORT, layout::SERIAL_PORT, 1, 8);
    let interrupt = Interrupt::new(true, true, false, false, layout::SERIAL_IRQ);
    let resources = Name::new("_CRS".into(), &ResourceTemplate::new(vec![&ports, &interrupt]));
    let kind = Name::new("_HID".into(), &EISAName::new("PNP0501"));
    let id = Name::new("_UID".into(), &0_u8);
    let device = Device::new("COM1".into(), vec![&kind, &id, &resources]);
    Scope::new("_SB_".into(), vec![&device]).to_aml_bytes(out);
}

fn panic_port(out: &mut Vec<u8>) {
    const PRESENT_ENABLED_WORKING: u8 = 0xb;
    let port = IO::new(layout::PVPANIC_PORT, layout::PVPANIC_PORT, 1, 1);
    let resources = Name::new("_CRS".into(), &ResourceTemplate::new(vec![&port]));
    let kind = Name::new("_HID".into(), &"QEMU0001");
    let status = Name::new("_STA".into(), &PRESENT_ENABLED_WORKING);
    let device = Device::new("PEVT".into(), vec![&kind, &status, &resources]);
    Scope::new("_SB_".into(), vec![&device]).to_aml_bytes(out);
}
