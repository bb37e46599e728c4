//! Interrupts and doorbells of PCI functions, in KVM's terms: routes, irqfds and ioeventfds.
//!
//! KVM knows interrupts by number. The first 24 are the pins of the legacy controllers and the I/O APIC; every
//! message-signalled vector gets a number of its own above them, whose route is the message. The routing
//! table is replaced as a whole at every change, so it is kept here.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use kvm_bindings::{
    KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI, KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER,
    KVM_IRQCHIP_PIC_SLAVE, KvmIrqRouting, kvm_irq_routing_entry,
};
use kvm_ioctls::{IoEventAddress, NoDatamatch, VmFd};
use vmm_sys_util::eventfd::EventFd;

use crate::virtio::transport::pci::platform::{Message, Platform};

const PINS: u32 = 24;
const PIC_PINS: u32 = 8;

fn errno(error: kvm_ioctls::Error) -> io::Error {
    io::Error::from_raw_os_error(error.errno())
}

fn pin_route(gsi: u32, irqchip: u32, pin: u32) -> kvm_irq_routing_entry {
    let mut entry = kvm_irq_routing_entry { gsi, type_: KVM_IRQ_ROUTING_IRQCHIP, ..Default::default() };
    entry.u.irqchip.irqchip = irqchip;
    entry.u.irqchip.pin = pin;
    entry
}

/// The routes that exist before any message: each pin to the legacy controllers and the I/O APIC.
fn pin_routes() -> Vec<kvm_irq_routing_entry> {
    let legacy = (0..2 * PIC_PINS).map(|gsi| {
        let chip = if gsi < PIC_PINS { KVM_IRQCHIP_PIC_MASTER } else { KVM_IRQCHIP_PIC_SLAVE };
        pin_route(gsi, chip, gsi % PIC_PINS)
    });
    legacy.chain((0..PINS).map(|gsi| pin_route(gsi, KVM_IRQCHIP_IOAPIC, gsi))).collect()
}

#[derive(Default)]
struct State {
    next_vector: u32,
    messages: HashMap<u32, Message>,
    /// For each line, how many functions hold it.
    holders: HashMap<u32, u32>,
}

/// The interrupt side of one KVM machine.
pub struct Interrupts {
    vm: Arc<VmFd>,
    state: Mutex<State>,
}

impl Interrupts {
    /// Interrupts of `vm`, which has its controllers already.
    #[must_use]
    pub fn new(vm: Arc<VmFd>) -> Interrupts {
        Interrupts { vm, state: Mutex::default() }
    }

    fn publish(&self, state: &State) -> io::Result<()> {
        let mut routes = pin_routes();
        for (gsi, message) in &state.messages {
            let mut entry =
                kvm_irq_routing_entry { gsi: *gsi, type_: KVM_IRQ_ROUTING_MSI, ..Default::default() };
            entry.u.msi.address_lo = message.address_low;
            entry.u.msi.address_hi = message.address_high;
            entry.u.msi.data = message.data;
            routes.push(entry);
        }
        let table = KvmIrqRouting::from_entries(&routes)
            .map_err(|error| io::Error::other(format!("too many interrupt routes ({error:?})")))?;
        self.vm.set_gsi_routing(&table).map_err(errno)
    }
}

impl Platform for Interrupts {
    fn new_vector(&self, event: &EventFd) -> io::Result<u32> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let vector = PINS + state.next_vector;
        self.vm.register_irqfd(event, vector).map_err(errno)?;
        state.next_vector += 1;
        Ok(vector)
    }

    fn route_vector(&self, vector: u32, message: Message) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.messages.insert(vector, message) == Some(message) { Ok(()) } else { self.publish(&state) }
    }

    fn set_line(&self, line: u32, asserted: bool) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let holders = state.holders.entry(line).or_default();
        let before = *holders;
        *holders = if asserted { before.saturating_add(1) } else { before.saturating_sub(1) };
        let after = *holders;
        if (before == 0) != (after == 0) {
            self.vm.set_irq_line(line, after > 0).map_err(errno)
        } else {
            Ok(())
        }
    }

    fn attach_doorbell(&self, address: u64, event: &EventFd) -> io::Result<()> {
        self.vm.register_ioevent(event, &IoEventAddress::Mmio(address), NoDatamatch).map_err(errno)
    }

    fn detach_doorbell(&self, address: u64, event: &EventFd) -> io::Result<()> {
        self.vm.unregister_ioevent(event, &IoEventAddress::Mmio(address), NoDatamatch).map_err(errno)
    }
}
