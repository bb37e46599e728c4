//! The keyboard controller, of which kernels use one thing: its line to the reset pin.

use std::sync::Arc;

use crate::bus::BusDevice;
use crate::lifecycle::{Exit, Lifecycle};

const STATUS_COMMAND: u64 = 4;
/// "Pulse output line 0": the reset pin.
const COMMAND_RESET: u8 = 0xfe;

/// The controller.
pub struct I8042(pub Arc<Lifecycle>);

impl BusDevice for I8042 {
    fn read(&self, _offset: u64, data: &mut [u8]) {
        // Input buffer empty: ready for a command. No key was pressed.
        data.fill(0);
    }

    fn write(&self, offset: u64, data: &[u8]) {
        if offset == STATUS_COMMAND && data == [COMMAND_RESET] {
            self.0.finish(Exit::Reset);
        }
    }
}
