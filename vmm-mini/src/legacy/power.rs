//! How a guest ends its machine: ACPI sleep and reset registers, and the panic port.

use std::sync::Arc;

use crate::boot::acpi::{RESET_VALUE, SLEEP_TYPE_OFF};
use crate::bus::BusDevice;
use crate::lifecycle::{Exit, Lifecycle};

/// ACPI sleep control and status registers (ACPI 6.5, section 4.8.3.7).
pub struct SleepRegisters(pub Arc<Lifecycle>);

impl BusDevice for SleepRegisters {
    fn read(&self, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write(&self, offset: u64, data: &[u8]) {
        const SLEEP_ENABLE: u8 = 1 << 5;
        const TYPE_SHIFT: u32 = 2;
        if let (0, [value]) = (offset, data)
            && value & SLEEP_ENABLE != 0
            && (value >> TYPE_SHIFT) & 7 == SLEEP_TYPE_OFF
        {
            self.0.finish(Exit::PowerOff);
        }
    }
}

/// The reset control register.
pub struct ResetRegister(pub Arc<Lifecycle>);

impl BusDevice for ResetRegister {
    fn read(&self, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write(&self, _offset: u64, data: &[u8]) {
        const RESET_CPU: u8 = RESET_VALUE & 4;
        if let [value] = data
            && value & RESET_CPU != 0
        {
            self.0.finish(Exit::Reset);
        }
    }
}

/// The port at which a panicking kernel says so (`pvpanic`).
pub struct PanicPort(pub Arc<Lifecycle>);

impl BusDevice for PanicPort {
    fn read(&self, _offset: u64, data: &mut [u8]) {
        data.fill(PANICKED);
    }

    fn write(&self, _offset: u64, data: &[u8]) {
        if data.iter().any(|value| value & PANICKED != 0) {
            self.0.finish(Exit::Panic(None));
        }
    }
}

/// Event bit: the kernel has panicked.
const PANICKED: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_off_type_with_the_enable_bit_powers_off() {
        for (value, expected) in [(0x14, None), (0x20, None), (0x34, Some(Exit::PowerOff))] {
            let lifecycle = Arc::new(Lifecycle::default());
            SleepRegisters(lifecycle.clone()).write(0, &[value]);
            assert_eq!(lifecycle.exit(), expected, "{value:#x}");
        }
    }

    #[test]
    fn resetting_takes_the_reset_bit() {
        let lifecycle = Arc::new(Lifecycle::default());
        ResetRegister(lifecycle.clone()).write(0, &[2]);
        assert_eq!(lifecycle.exit(), None);
        ResetRegister(lifecycle.clone()).write(0, &[RESET_VALUE]);
        assert_eq!(lifecycle.exit(), Some(Exit::Reset));
    }
}
