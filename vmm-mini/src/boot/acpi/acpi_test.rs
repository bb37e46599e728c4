#![allow(clippy::unwrap_used)]
use super::super::le;
use super::*;

fn at(tables: &[u8], address: u64) -> &[u8] {
    let start = usize::try_from(address - layout::ACPI.start).unwrap();
    let length = usize::try_from(le::<4>(tables, start + 4).unwrap()).unwrap();
    &tables[start..start + length]
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

#[test]
fn the_chain_holds_from_the_root_pointer_on() {
    let tables = tables(3);
    assert!(tables.len() as u64 <= layout::ACPI.end - layout::ACPI.start);
    assert_eq!(&tables[..8], b"RSD PTR ");
    assert_eq!((sum(&tables[..20]), sum(&tables[..36])), (0, 0));
    let xsdt = at(&tables, le::<8>(&tables, 24).unwrap());
    assert_eq!((&xsdt[..4], sum(xsdt)), (&b"XSDT"[..], 0));
    let entries: Vec<&[u8]> =
        (36..xsdt.len()).step_by(8).map(|offset| at(&tables, le::<8>(xsdt, offset).unwrap())).collect();
    let names: Vec<&[u8]> = entries.iter().map(|table| &table[..4]).collect();
    assert_eq!(names, [b"FACP", b"APIC"]);
    assert!(entries.iter().all(|table| sum(table) == 0));
    let fadt = entries[0];
    assert_eq!(fadt.len(), 276);
    assert_eq!(le::<4>(fadt, 112).unwrap() >> 20, 1, "hardware-reduced");
    assert_eq!(le::<8>(fadt, 120), Some(u64::from(layout::RESET_PORT)));
    assert_eq!(le::<8>(fadt, 248), Some(u64::from(layout::SLEEP_PORT)));
    let dsdt = at(&tables, le::<8>(fadt, 140).unwrap());
    assert_eq!((&dsdt[..4], sum(dsdt)), (&b"DSDT"[..], 0));
}

#[test]
fn every_processor_is_listed_once() {
    let madt = madt(5);
    let mut rest = &madt[44..];
    let mut processors = Vec::new();
    while let [kind, length, ..] = *rest {
        if kind == 0 {
            processors.push((rest[2], rest[3], rest[4]));
        }
        rest = &rest[usize::from(length)..];
    }
    assert!(rest.is_empty(), "the last structure ends at the table's end");
    assert_eq!(processors, [(0, 0, 1), (1, 1, 1), (2, 2, 1), (3, 3, 1), (4, 4, 1)]);
}

#[test]
fn pci_lines_are_level_triggered_and_active_low_as_the_routing_table_means_them() {
    let madt = madt(1);
    let mut rest = &madt[44..];
    let mut overrides = Vec::new();
    while let [kind, length, ..] = *rest {
        if kind == 2 {
            overrides.push((u32::from(rest[3]), le::<4>(rest, 4).unwrap(), le::<2>(rest, 8).unwrap()));
        }
        rest = &rest[usize::from(length)..];
    }
    assert_eq!(overrides, layout::PCI_IRQS.map(|line| (line, u64::from(line), 0xf)));
}

#[test]
fn tables_for_the_largest_machine_fit() {
    assert!(tables(MAX_PROCESSORS).len() as u64 <= layout::RESET_VECTOR - layout::ACPI.start);
}
