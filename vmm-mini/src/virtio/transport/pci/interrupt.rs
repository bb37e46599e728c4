//! How a virtio device interrupts its driver over PCI: by message, or by the shared line and the ISR register.
//!
//! Virtio 1.2, sections 4.1.4.5 and 4.1.5.1.2: with MSI-X on, a queue or configuration change raises the
//! vector that the driver chose for it, or nothing; otherwise a bit of the ISR register is set, which holds
//! the line until the driver reads the register.

use std::io;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::msix::Msix;
use super::platform::Platform;
use crate::virtio::device::Interrupt;

/// "No vector": the driver wants no interrupt.
pub const NO_VECTOR: u16 = 0xffff;
const ISR_QUEUE: u8 = 1;
const ISR_CONFIG: u8 = 2;

struct Line {
    /// What the driver has not read yet.
    isr: u8,
    /// The function was told to leave the line alone.
    disabled: bool,
    held: bool,
}

/// The interrupt of one function, shared by all its queues.
pub struct PciInterrupt {
    msix: Msix,
    platform: Arc<dyn Platform>,
    line_number: u32,
    line: Mutex<Line>,
    queue_vectors: Vec<AtomicU16>,
    config_vector: AtomicU16,
    generation: AtomicU8,
}

impl PciInterrupt {
    /// The interrupt of a function with `queues` queues.
    #[must_use]
    pub fn new(msix: Msix, platform: Arc<dyn Platform>, line_number: u32, queues: usize) -> PciInterrupt {
        PciInterrupt {
            msix,
            platform,
            line_number,
            line: Mutex::new(Line { isr: 0, disabled: false, held: false }),
            queue_vectors: (0..queues).map(|_| AtomicU16::new(NO_VECTOR)).collect(),
            config_vector: AtomicU16::new(NO_VECTOR),
            generation: AtomicU8::new(0),
        }
    }

    /// The MSI-X table.
    #[must_use]
    pub fn msix(&self) -> &Msix {
        &self.msix
    }

    /// Vector for configuration changes.
    pub fn config_vector(&self) -> &AtomicU16 {
        &self.config_vector
    }

    /// Vector of a queue.
    #[must_use]
    pub fn queue_vector(&self, index: u16) -> Option<&AtomicU16> {
        self.queue_vectors.get(usize::from(index))
    }

    /// Number that changes with the configuration space.
    #[must_use]
    pub fn generation(&self) -> u8 {
        self.generation.load(Ordering::Acquire)
    }

    fn with_line<T>(&self, change: impl FnOnce(&mut Line) -> T) -> io::Result<T> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let value = change(&mut line);
        let wanted = line.isr != 0 && !line.disabled;
        if wanted != line.held {
            self.platform.set_line(self.line_number, wanted)?;
            line.held = wanted;
        }
        Ok(value)
    }

    /// Reads and clears the ISR register, which releases the line.
    ///
    /// # Errors
    /// When the line cannot be released.
    pub fn take_isr(&self) -> io::Result<u8> {
        self.with_line(|line| std::mem::take(&mut line.isr))
    }

    /// Follows the function's interrupt-disable bit.
    ///
    /// # Errors
    /// When the line cannot be changed.
    pub fn disable_line(&self, disabled: bool) -> io::Result<()> {
        self.with_line(|line| line.disabled = disabled)
    }

    /// Whether the line is held.
    #[must_use]
    pub fn line_held(&self) -> bool {
        self.line.lock().unwrap_or_else(PoisonError::into_inner).held
    }

    /// Device reset: no vectors chosen, line released. MSI-X itself belongs to the function and stays on.
    ///
    /// # Errors
    /// When the line cannot be released.
    pub fn reset(&self) -> io::Result<()> {
        for vector in self.queue_vectors.iter().chain([&self.config_vector]) {
            vector.store(NO_VECTOR, Ordering::Release);
        }
        self.with_line(|line| line.isr = 0)
    }

    fn send(&self, vector: &AtomicU16, isr: u8) -> io::Result<()> {
        if self.msix.enabled() {
            match vector.load(Ordering::Acquire) {
                NO_VECTOR => Ok(()),
                chosen => self.msix.raise(chosen),
            }
        } else {
            self.with_line(|line| line.isr |= isr)
        }
    }
}

impl Interrupt for PciInterrupt {
    fn queue(&self, index: u16) -> io::Result<()> {
        self.queue_vector(index).map_or(Ok(()), |vector| self.send(vector, ISR_QUEUE))
    }

    fn config(&self) -> io::Result<()> {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.send(&self.config_vector, ISR_CONFIG)
    }
}
