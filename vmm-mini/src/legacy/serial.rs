//! The first serial port, a 16550.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use vm_superio::serial::NoEvents;
use vm_superio::{Serial, Trigger};
use vmm_sys_util::eventfd::EventFd;

use super::console::Recorder;
use crate::bus::BusDevice;

/// The port's interrupt: an event that the machine turns into one.
pub struct Line(pub EventFd);

impl Trigger for Line {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        self.0.write(1)
    }
}

/// The port on the bus.
pub struct SerialPort(Mutex<Serial<Line, NoEvents, Recorder>>);

impl SerialPort {
    /// A port whose output goes to `output`.
    #[must_use]
    pub fn new(interrupt: EventFd, output: Recorder) -> SerialPort {
        SerialPort(Mutex::new(Serial::new(Line(interrupt), output)))
    }

    fn port(&self) -> MutexGuard<'_, Serial<Line, NoEvents, Recorder>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Types `input`; returns how many bytes the port took, less than all when its FIFO is full.
    pub fn type_in(&self, input: &[u8]) -> usize {
        self.port().enqueue_raw_bytes(input).unwrap_or(0)
    }
}

impl BusDevice for SerialPort {
    fn read(&self, offset: u64, data: &mut [u8]) {
        let mut port = self.port();
        for byte in data {
            *byte = u8::try_from(offset).map_or(0xff, |register| port.read(register));
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        let mut port = self.port();
        for byte in data {
            if let Ok(register) = u8::try_from(offset) {
                // Neither a lost byte nor a lost interrupt is the guest's business.
                let _ = port.write(register, *byte);
            }
        }
    }
}
