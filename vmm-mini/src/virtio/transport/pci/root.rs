//! The PCI bus: a host bridge, the functions in its slots, and the two ways to reach them.
//!
//! One bus of 32 slots. Configuration goes through the address and data ports (PCI 3.0, section 3.2.2.3.2);
//! registers through the window of PCI memory, where each function answers at the address that its
//! configuration space says. The set of functions never changes.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::config::{ConfigSpace, Identity};
use super::function::{Socket, VirtioFunction, WINDOW_LEN};
use super::platform::Platform;
use crate::boot::layout;
use crate::bus::BusDevice;
use crate::virtio::device::{GuestMemory, VirtioDevice};

/// Slots for devices; slot 0 is the host bridge.
const SLOTS: usize = 31;
/// Functions of a slot.
const FUNCTIONS: usize = 8;
/// Most devices on the bus.
pub const MAX_DEVICES: usize = SLOTS * FUNCTIONS;

const ADDRESS_ENABLE: u32 = 1 << 31;

/// Slot and function of the device with this index: all slots first, then their further functions.
fn place(index: usize) -> (usize, usize) {
    (1 + index % SLOTS, index / SLOTS)
}

/// The bus with everything on it.
pub struct PciRoot {
    bridge: Mutex<ConfigSpace>,
    functions: Vec<VirtioFunction>,
    /// What the address port holds.
    selected: AtomicU32,
}

impl PciRoot {
    /// Puts `devices` into slots, in this order.
    ///
    /// # Errors
    /// When there are too many of them, or one does not fit.
    pub fn new(
        devices: &[Arc<dyn VirtioDevice>],
        memory: &GuestMemory,
        platform: &Arc<dyn Platform>,
    ) -> io::Result<PciRoot> {
        if devices.len() > MAX_DEVICES {
            return Err(io::Error::other(format!("{} devices; at most {MAX_DEVICES} fit", devices.len())));
        }
        let bridge = ConfigSpace::new(Identity {
            vendor: 0x1b36,
            device: 0x0008,
            class: 0x06_0000,
            revision: 0,
            subsystem_vendor: 0x1af4,
            subsystem: 0x1100,
        });
        let first = u32::try_from(layout::PCI_WINDOW.start).map_err(io::Error::other)?;
        let mut functions = Vec::with_capacity(devices.len());
        for (index, device) in devices.iter().enumerate() {
            let (slot, function) = place(index);
            let line = layout::pci_irq(u8::try_from(slot).map_err(io::Error::other)?);
            let socket = Socket {
                memory: memory.clone(),
                platform: platform.clone(),
                address: first + u32::try_from(index).map_err(io::Error::other)? * WINDOW_LEN,
                line: u8::try_from(line).map_err(io::Error::other)?,
                multi_function: function == 0 && index + SLOTS < devices.len(),
            };
            functions.push(VirtioFunction::new(device.clone(), socket)?);
        }
        Ok(PciRoot { bridge: Mutex::new(bridge), functions, selected: AtomicU32::new(0) })
    }

    /// Resets every device and detaches it from the machine.
    pub fn unplug(&self) {
        self.functions.iter().for_each(VirtioFunction::unplug);
    }

    /// What the address port selects, and the register that an access at `offset` of the data port means.
    fn selected(&self, offset: u64) -> Option<(Target<'_>, usize)> {
        let selected = self.selected.load(Ordering::Acquire);
        let field = |shift: u32, bits: u32| ((selected >> shift) & ((1 << bits) - 1)) as usize;
        if selected & ADDRESS_ENABLE == 0 || field(16, 8) != 0 {
            return None;
        }
        let register = field(2, 6) * 4 + usize::try_from(offset & 3).ok()?;
        let target = match (field(11, 5), field(8, 3)) {
            (0, 0) => Target::Bridge(self.bridge.lock().unwrap_or_else(PoisonError::into_inner)),
            (0, _) => return None,
            (slot, number) => Target::Function(self.functions.get(number * SLOTS + slot - 1)?),
        };
        Some((target, register))
    }

    fn at(&self, address: u64) -> Option<(&VirtioFunction, usize)> {
        self.functions.iter().find_map(|function| {
            let offset = address.checked_sub(function.window()?)?;
            (offset < u64::from(WINDOW_LEN)).then(|| Some((function, usize::try_from(offset).ok()?)))?
        })
    }
}

enum Target<'a> {
    Bridge(MutexGuard<'a, ConfigSpace>),
    Function(&'a VirtioFunction),
}

/// The configuration address port.
pub struct AddressPort(pub Arc<PciRoot>);

impl BusDevice for AddressPort {
    fn read(&self, _offset: u64, data: &mut [u8]) {
        match <&mut [u8; 4]>::try_from(&mut *data) {
            Ok(register) => *register = self.0.selected.load(Ordering::Acquire).to_le_bytes(),
            Err(_) => data.fill(0xff),
        }
    }

    fn write(&self, _offset: u64, data: &[u8]) {
        if let Ok(register) = <[u8; 4]>::try_from(data) {
            self.0.selected.store(u32::from_le_bytes(register) & !0x7f00_0003, Ordering::Release);
        }
    }
}

/// The configuration data port, four bytes wide.
pub struct DataPort(pub Arc<PciRoot>);

impl BusDevice for DataPort {
    fn read(&self, offset: u64, data: &mut [u8]) {
        match self.0.selected(offset) {
            Some((Target::Bridge(space), register)) => space.read(register, data),
            Some((Target::Function(function), register)) => function.read_config(register, data),
            None => data.fill(0xff),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        match self.0.selected(offset) {
            Some((Target::Bridge(mut space), register)) => space.write(register, data),
            Some((Target::Function(function), register)) => function.write_config(register, data),
            None => {}
        }
    }
}

/// The window of PCI memory.
pub struct MemoryWindow(pub Arc<PciRoot>);

impl BusDevice for MemoryWindow {
    fn read(&self, offset: u64, data: &mut [u8]) {
        match self.0.at(layout::PCI_WINDOW.start + offset) {
            Some((function, at)) => function.read_window(at, data),
            None => data.fill(0xff),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        if let Some((function, at)) = self.0.at(layout::PCI_WINDOW.start + offset) {
            function.write_window(at, data);
        }
    }
}

#[cfg(test)]
#[path = "root_test.rs"]
mod tests;
