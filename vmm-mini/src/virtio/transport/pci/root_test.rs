//! A driver's way from finding a device to a served request, over the ports and the memory window.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::EventFd;

use super::super::platform::Message;
use super::*;
use crate::virtio::rng::Rng;
use crate::virtio::testing::{PATIENCE, guest_memory};

#[derive(Default)]
struct Recorded {
    vectors: Vec<EventFd>,
    routes: BTreeMap<u32, Message>,
    lines: BTreeMap<u32, bool>,
    doorbells: BTreeMap<u64, EventFd>,
}

#[derive(Default)]
struct Fake(Mutex<Recorded>);

impl Fake {
    fn get<T>(&self, look: impl FnOnce(&mut Recorded) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }
}

impl Platform for Fake {
    fn new_vector(&self, event: &EventFd) -> io::Result<u32> {
        let event = event.try_clone()?;
        self.get(|seen| {
            seen.vectors.push(event);
            Ok(u32::try_from(seen.vectors.len() - 1).unwrap())
        })
    }
    fn route_vector(&self, vector: u32, message: Message) -> io::Result<()> {
        self.get(|seen| seen.routes.insert(vector, message));
        Ok(())
    }
    fn set_line(&self, line: u32, asserted: bool) -> io::Result<()> {
        self.get(|seen| assert_ne!(seen.lines.insert(line, asserted), Some(asserted), "no change"));
        Ok(())
    }
    fn attach_doorbell(&self, address: u64, event: &EventFd) -> io::Result<()> {
        let event = event.try_clone()?;
        self.get(|seen| assert!(seen.doorbells.insert(address, event).is_none(), "taken"));
        Ok(())
    }
    fn detach_doorbell(&self, address: u64, _event: &EventFd) -> io::Result<()> {
        self.get(|seen| seen.doorbells.remove(&address)).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }
}

struct Machine {
    platform: Arc<Fake>,
    memory: GuestMemory,
    root: Arc<PciRoot>,
}

const BASE: u64 = layout::PCI_WINDOW.start;

impl Machine {
    fn new(devices: usize) -> Machine {
        let platform = Arc::new(Fake::default());
        let memory = guest_memory();
        let devices: Vec<Arc<dyn VirtioDevice>> =
            (0..devices).map(|_| Arc::new(Rng::default()) as Arc<dyn VirtioDevice>).collect();
        let dynamic: Arc<dyn Platform> = platform.clone();
        let root = Arc::new(PciRoot::new(&devices, &memory, &dynamic).unwrap());
        Machine { platform, memory, root }
    }

    fn select(&self, slot: u32, function: u32, register: u32) {
        let address = ADDRESS_ENABLE | slot << 11 | function << 8 | (register & !3);
        AddressPort(self.root.clone()).write(0, &address.to_le_bytes());
    }

    fn config(&self, slot: u32, function: u32, register: u32) -> u32 {
        self.select(slot, function, register);
        let mut data = [0; 4];
        DataPort(self.root.clone()).read(0, &mut data);
        u32::from_le_bytes(data)
    }

    fn set_config(&self, slot: u32, register: u32, data: &[u8]) {
        self.select(slot, 0, register);
        DataPort(self.root.clone()).write((register & 3).into(), data);
    }

    fn write(&self, offset: u64, data: &[u8]) {
        MemoryWindow(self.root.clone()).write(offset, data);
    }

    fn read<const N: usize>(&self, offset: u64) -> [u8; N] {
        let mut data = [0; N];
        MemoryWindow(self.root.clone()).read(offset, &mut data);
        data
    }

    /// Capabilities of slot 1: offset and id.
    fn capabilities(&self) -> Vec<(u32, u32)> {
        let mut list = Vec::new();
        let mut at = self.config(1, 0, 0x34) & 0xff;
        while at != 0 {
            let header = self.config(1, 0, at);
            list.push((at, header & 0xff));
            at = header >> 8 & 0xff;
        }
        list
    }

    /// Everything a driver does before requests: features, one queue of 16 at one megabyte, ready.
    fn start(&self) {
        self.set_config(1, 4, &6_u16.to_le_bytes());
        self.write(0x14, &[1 | 2]);
        for (half, features) in [(0_u32, 0_u32), (1, 1)] {
            self.write(0x08, &half.to_le_bytes());
            self.write(0x0c, &features.to_le_bytes());
        }
        self.write(0x14, &[1 | 2 | 8]);
        assert_eq!(self.read(0x14), [11]);
        self.write(0x16, &0_u16.to_le_bytes());
        self.write(0x18, &16_u16.to_le_bytes());
        for (register, address) in [(0x20, 0x10_0000_u32), (0x28, 0x10_1000), (0x30, 0x10_2000)] {
            self.write(register, &address.to_le_bytes());
        }
        self.write(0x1c, &1_u16.to_le_bytes());
        self.write(0x14, &[15]);
        assert_eq!(self.read(0x14), [15]);
    }

    /// One request of 8 bytes at two megabytes; waits until it was used.
    fn request(&self, number: u16, ring: impl FnOnce()) {
        let put = |at: u64, bytes: &[u8]| self.memory.write_slice(bytes, GuestAddress(at)).unwrap();
        put(0x10_0000, &0x20_0000_u64.to_le_bytes());
        put(0x10_0008, &[8, 0, 0, 0, 2, 0, 0, 0]);
        put(0x10_1002, &number.to_le_bytes());
        ring();
        let begin = std::time::Instant::now();
        while self.memory.read_obj::<u16>(GuestAddress(0x10_2002)).unwrap() != number {
            assert!(begin.elapsed() < PATIENCE, "the request was not served");
            std::thread::yield_now();
        }
    }
}

/// Waits for an event and takes it.
fn signalled(event: &EventFd) -> bool {
    let begin = std::time::Instant::now();
    loop {
        match event.read() {
            Ok(_) => return true,
            Err(_) if begin.elapsed() < PATIENCE => std::thread::yield_now(),
            Err(_) => return false,
        }
    }
}

#[test]
fn a_driver_finds_bridge_and_devices_and_nothing_else() {
    let machine = Machine::new(40);
    assert_eq!(machine.config(0, 0, 0), 0x0008_1b36);
    assert_eq!(machine.config(1, 0, 0), 0x1044_1af4);
    assert_eq!(machine.config(1, 0, 0x0c) >> 16 & 0xff, 0x80, "slot 1 has a second function");
    assert_eq!(machine.config(31, 0, 0x0c) >> 16 & 0xff, 0, "slot 31 has not");
    let found = (1..32).flat_map(|slot| (0..8).map(move |function| (slot, function)));
    let found: Vec<_> =
        found.filter(|(slot, function)| machine.config(*slot, *function, 0) != u32::MAX).collect();
    assert_eq!(found.len(), 40);
    assert_eq!(machine.config(1, 1, 0x10), 0xc000_0000 + 31 * WINDOW_LEN);
    AddressPort(machine.root.clone()).write(0, &(ADDRESS_ENABLE | 1 << 16).to_le_bytes());
    let mut data = [0; 4];
    DataPort(machine.root.clone()).read(0, &mut data);
    assert_eq!(data, [0xff; 4], "there is no second bus");
}

#[test]
fn the_window_opens_closes_and_moves() {
    let machine = Machine::new(1);
    assert_eq!(machine.read(0x12), [0xff, 0xff], "closed");
    machine.set_config(1, 4, &2_u16.to_le_bytes());
    assert_eq!(machine.read(0x12), [1, 0], "one queue");
    machine.start();
    let doorbells = || machine.platform.get(|seen| seen.doorbells.keys().copied().collect::<Vec<_>>());
    assert_eq!(doorbells(), [BASE + 0x3000]);
    machine.set_config(1, 0x10, &(0xc100_0000_u32).to_le_bytes());
    assert_eq!(doorbells(), [0xc100_3000]);
    assert_eq!(machine.read(0x12), [0xff, 0xff]);
    assert_eq!(machine.read(0x100_0012), [1, 0]);
    machine.set_config(1, 4, &0_u16.to_le_bytes());
    assert!(doorbells().is_empty(), "no doorbell behind a closed window");
}

#[test]
fn requests_are_served_and_announced_on_the_line() {
    let machine = Machine::new(1);
    machine.start();
    let line = layout::pci_irq(1);
    let held = || machine.platform.get(|seen| seen.lines.get(&line).copied().unwrap_or(false));
    machine.request(1, || machine.platform.get(|seen| seen.doorbells[&(BASE + 0x3000)].write(1).unwrap()));
    let begin = std::time::Instant::now();
    while !held() {
        assert!(begin.elapsed() < PATIENCE);
    }
    assert_eq!(machine.config(1, 0, 4) >> 16 & 8, 8, "status shows the interrupt");
    assert_eq!(machine.read(0x1000), [1], "queue interrupt");
    assert!(!held());
    assert_eq!(machine.read(0x1000), [0]);
    // A write that did not take the doorbell's short way rings too.
    machine.request(2, || machine.write(0x3000, &0_u16.to_le_bytes()));
}

#[test]
fn messages_wait_while_they_are_masked() {
    let machine = Machine::new(1);
    let msix = machine.capabilities().into_iter().find(|(_, id)| *id == 0x11).unwrap().0;
    assert_eq!(machine.config(1, 0, msix) >> 16 & 0x7ff, 1, "two vectors");
    machine.start_with_vector(msix);
    let event = machine.platform.get(|seen| seen.vectors[1].try_clone().unwrap());
    let ring = || machine.platform.get(|seen| seen.doorbells[&(BASE + 0x3000)].write(1).unwrap());
    machine.request(1, ring);
    assert!(signalled(&event));
    let route = machine.platform.get(|seen| seen.routes[&1]);
    assert_eq!(route, Message { address_low: 0xfee0_0000, address_high: 0, data: 0x41 });
    machine.write(0x4000 + 16 + 12, &1_u32.to_le_bytes());
    machine.request(2, ring);
    let begin = std::time::Instant::now();
    while machine.read(0x7000) != [2] {
        assert!(begin.elapsed() < PATIENCE, "pending");
    }
    assert!(event.read().is_err(), "masked");
    machine.write(0x4000 + 16 + 12, &0_u32.to_le_bytes());
    assert!(signalled(&event));
    assert_eq!(machine.read(0x7000), [0]);
}

impl Machine {
    fn start_with_vector(&self, msix: u32) {
        self.set_config(1, 4, &6_u16.to_le_bytes());
        self.set_config(1, msix + 2, &0x8000_u16.to_le_bytes());
        for (word, value) in [(0, 0xfee0_0000_u32), (1, 0), (2, 0x41), (3, 0)] {
            self.write(0x4000 + 16 + word * 4, &value.to_le_bytes());
        }
        self.write(0x16, &0_u16.to_le_bytes());
        self.write(0x1a, &7_u16.to_le_bytes());
        assert_eq!(self.read(0x1a), [0xff, 0xff], "there is no vector 7");
        self.write(0x1a, &1_u16.to_le_bytes());
        assert_eq!(self.read(0x1a), [1, 0]);
        self.start();
    }
}

#[test]
fn reset_stops_queues_and_takes_doorbells_away() {
    let machine = Machine::new(1);
    for round in 1..=3 {
        machine.memory.write_slice(&[0; 4], GuestAddress(0x10_2000)).unwrap();
        machine.start();
        machine.request(1, || machine.write(0x3000, &0_u16.to_le_bytes()));
        machine.write(0x14, &[0]);
        assert_eq!(machine.read(0x14), [0], "round {round}");
        assert!(machine.platform.get(|seen| seen.doorbells.is_empty()));
    }
    machine.start();
    machine.root.unplug();
    assert!(machine.platform.get(|seen| seen.doorbells.is_empty()));
}

#[test]
fn rings_outside_memory_make_the_device_ask_for_a_reset() {
    let machine = Machine::new(1);
    machine.set_config(1, 4, &6_u16.to_le_bytes());
    machine.write(0x08, &1_u32.to_le_bytes());
    machine.write(0x0c, &1_u32.to_le_bytes());
    machine.write(0x14, &[11]);
    machine.write(0x20, &0xffff_0000_u32.to_le_bytes());
    machine.write(0x1c, &1_u16.to_le_bytes());
    machine.write(0x14, &[15]);
    assert_eq!(machine.read(0x14), [0x4f]);
    assert_eq!(machine.read(0x1000), [2], "told by a configuration interrupt");
}

#[test]
fn the_access_capability_reaches_registers_through_configuration_space() {
    let machine = Machine::new(1);
    let is_access = |at: &u32| machine.config(1, 0, *at) >> 24 == 5;
    let vendor = machine.capabilities().into_iter().filter(|(_, id)| *id == 9).map(|(at, _)| at);
    let access = vendor.into_iter().find(is_access).unwrap();
    machine.set_config(1, access + 8, &0x12_u32.to_le_bytes());
    machine.set_config(1, access + 12, &2_u32.to_le_bytes());
    machine.select(1, 0, access + 16);
    let mut data = [0; 2];
    DataPort(machine.root.clone()).read(0, &mut data);
    assert_eq!(data, [1, 0], "number of queues");
    machine.set_config(1, access + 8, &0x14_u32.to_le_bytes());
    machine.set_config(1, access + 12, &1_u32.to_le_bytes());
    machine.set_config(1, access + 16, &[3]);
    machine.set_config(1, 4, &2_u16.to_le_bytes());
    assert_eq!(machine.read(0x14), [3]);
}

#[test]
fn any_access_is_harmless() {
    let machine = Machine::new(2);
    machine.set_config(1, 4, &6_u16.to_le_bytes());
    for offset in (0..u64::from(WINDOW_LEN) + 0x40).step_by(13).chain(0..0x60) {
        for length in [1, 2, 4, 8] {
            machine.write(offset, &[0xff; 8][..length]);
            let mut data = [0; 8];
            MemoryWindow(machine.root.clone()).read(offset, &mut data[..length]);
        }
    }
    for register in 0..256 {
        machine.set_config(1, register, &[0xff; 4][..4 - (register as usize & 3)]);
        machine.config(1, 0, register);
    }
}
