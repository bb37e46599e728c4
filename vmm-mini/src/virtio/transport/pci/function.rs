//! One virtio device as a PCI function: configuration space, capabilities and the register window.
//!
//! All register structures lie in base address 0 at fixed offsets. Doorbells belong to the window: they are
//! attached to the machine while queues run and the window is open, and follow it when it moves.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
use virtio_queue::{Queue, QueueT};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::config::{COMMAND, COMMAND_INTX_DISABLE, ConfigSpace, Identity};
use super::interrupt::PciInterrupt;
use super::msix::{self, Msix};
use super::platform::Platform;
use super::registers::{self, Action, Registers, View};
use crate::virtio::device::{GuestMemory, Interrupt, QueueResources, VirtioDevice, has_feature};

/// Bytes of a function's register window.
pub const WINDOW_LEN: u32 = 0x8000;
const ISR: usize = 0x1000;
const DEVICE: usize = 0x2000;
const NOTIFY: usize = 0x3000;
const MSIX_TABLE: usize = 0x4000;
const MSIX_PENDING: usize = 0x7000;
const REGION_LEN: usize = 0x1000;
const TABLE_LEN: usize = MSIX_PENDING - MSIX_TABLE;
/// Distance of two doorbells.
const NOTIFY_MULTIPLIER: u32 = 4;
/// Most queues that have a doorbell and a vector.
pub const MAX_QUEUES: usize = TABLE_LEN / msix::ENTRY_LEN - 1;

const CAPABILITY_VENDOR: u8 = 0x09;
const CAPABILITY_MSIX: u8 = 0x11;
const KIND_COMMON: u8 = 1;
const KIND_NOTIFY: u8 = 2;
const KIND_ISR: u8 = 3;
const KIND_DEVICE: u8 = 4;
const KIND_PCI: u8 = 5;

struct State {
    config: ConfigSpace,
    registers: Registers,
    /// Queues that run, with their doorbells.
    running: Vec<(u16, EventFd)>,
    /// Where the doorbells are attached.
    attached: Option<u64>,
}

/// A virtio device on the PCI bus.
pub struct VirtioFunction {
    device: Arc<dyn VirtioDevice>,
    memory: GuestMemory,
    platform: Arc<dyn Platform>,
    interrupt: Arc<PciInterrupt>,
    msix_control: usize,
    pci_access: usize,
    /// Base address while the window is open, else 0: for the bus, without a lock.
    window: AtomicU64,
    state: Mutex<State>,
}

/// What a function is plugged into.
#[derive(Clone)]
pub struct Socket {
    /// The guest's memory.
    pub memory: GuestMemory,
    /// Interrupts and doorbells.
    pub platform: Arc<dyn Platform>,
    /// First address of the register window.
    pub address: u32,
    /// Interrupt line of `INTA#`.
    pub line: u8,
    /// The slot has more functions.
    pub multi_function: bool,
}

fn identity(device_id: u32) -> Identity {
    const VENDOR: u16 = 0x1af4;
    let class = match device_id {
        1 => 0x02_0000,  // network controller
        2 => 0x01_8000,  // mass storage controller, other
        3 => 0x07_8000,  // communication controller, other
        26 => 0x01_8000, // file system
        _ => 0xff_0000,
    };
    let device = 0x1040_u16.saturating_add(u16::try_from(device_id).unwrap_or(0));
    Identity { vendor: VENDOR, device, class, revision: 1, subsystem_vendor: VENDOR, subsystem: 0x1100 }
}

fn doorbell_address(window: u64, queue: u16) -> u64 {
    window + NOTIFY as u64 + u64::from(queue) * u64::from(NOTIFY_MULTIPLIER)
}

fn capability(kind: u8, offset: usize, length: usize) -> Vec<u8> {
    const HEADER_LEN: u8 = 16;
    let number = |value: usize| u32::try_from(value).unwrap_or(0).to_le_bytes();
    // Length of the whole capability, kind, base address 0, id, padding.
    let mut body = vec![HEADER_LEN, kind, 0, 0, 0, 0];
    body.extend_from_slice(&number(offset));
    body.extend_from_slice(&number(length));
    body
}

/// Adds a capability whose body has `more` bytes behind the usual ones.
fn add(config: &mut ConfigSpace, mut body: Vec<u8>, more: &[u8], writable: &[u8]) -> io::Result<usize> {
    if let Some(length) = body.first_mut() {
        *length = length.saturating_add(u8::try_from(more.len()).unwrap_or(0));
    }
    body.extend_from_slice(more);
    let full = || io::Error::other("the configuration space is full");
    config.add_capability(CAPABILITY_VENDOR, &body, writable).ok_or_else(full)
}

impl VirtioFunction {
    /// Puts `device` on the bus.
    ///
    /// # Errors
    /// When the device has more queues than fit, or the machine has no more interrupt vectors.
    pub fn new(device: Arc<dyn VirtioDevice>, socket: Socket) -> io::Result<VirtioFunction> {
        let sizes = device.queue_sizes();
        if sizes.len() > MAX_QUEUES {
            return Err(io::Error::other(format!(
                "a device of {} queues; at most {MAX_QUEUES} fit",
                sizes.len()
            )));
        }
        let vectors = u16::try_from(sizes.len() + 1).map_err(io::Error::other)?;
        let mut config = ConfigSpace::new(identity(device.device_id()));
        config.set_bar(socket.address, WINDOW_LEN);
        config.set_interrupt(socket.line);
        if socket.multi_function {
            config.set_multi_function();
        }
        let mut msix_body = (vectors - 1).to_le_bytes().to_vec();
        msix_body.extend_from_slice(&u32::try_from(MSIX_TABLE).unwrap_or(0).to_le_bytes());
        msix_body.extend_from_slice(&u32::try_from(MSIX_PENDING).unwrap_or(0).to_le_bytes());
        let full = || io::Error::other("the configuration space is full");
        let msix_at = config.add_capability(CAPABILITY_MSIX, &msix_body, &[0, 0xc0]).ok_or_else(full)?;
        add(&mut config, capability(KIND_COMMON, 0, registers::LEN), &[], &[])?;
        add(&mut config, capability(KIND_ISR, ISR, 1), &[], &[])?;
        add(&mut config, capability(KIND_DEVICE, DEVICE, REGION_LEN), &[], &[])?;
        let notify = capability(KIND_NOTIFY, NOTIFY, REGION_LEN);
        add(&mut config, notify, &NOTIFY_MULTIPLIER.to_le_bytes(), &[])?;
        // Base address, offset, length and data of this one are the driver's.
        let access_mask = [0, 0, 0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let pci_access = add(&mut config, capability(KIND_PCI, 0, 0), &[0; 4], &access_mask)?;
        let msix = Msix::new(socket.platform.clone(), vectors)?;
        let interrupt = PciInterrupt::new(msix, socket.platform.clone(), socket.line.into(), sizes.len());
        let registers = Registers::new(device.features(), &sizes);
        Ok(VirtioFunction {
            device,
            memory: socket.memory,
            platform: socket.platform,
            interrupt: Arc::new(interrupt),
            msix_control: msix_at + 2,
            pci_access,
            window: AtomicU64::new(0),
            state: Mutex::new(State { config, registers, running: Vec::new(), attached: None }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// First address of the register window, while it is open.
    #[must_use]
    pub fn window(&self) -> Option<u64> {
        Some(self.window.load(Ordering::Acquire)).filter(|address| *address != 0)
    }

    /// Reads configuration space.
    pub fn read_config(&self, offset: usize, data: &mut [u8]) {
        let mut state = self.state();
        if let Some((target, length)) = self.pci_access_target(&state, offset, data.len()) {
            let mut value = [0; 4];
            let value = value.get_mut(..length).unwrap_or_default();
            self.read(&mut state, target, value);
            data.copy_from_slice(value);
            return;
        }
        state.config.show_interrupt(self.interrupt.line_held());
        state.config.read(offset, data);
    }

    /// Writes configuration space.
    pub fn write_config(&self, offset: usize, data: &[u8]) {
        let mut state = self.state();
        state.config.write(offset, data);
        if let Some((target, _)) = self.pci_access_target(&state, offset, data.len()) {
            self.write(&mut state, target, data);
        }
        let result = self
            .interrupt
            .msix()
            .set_control(state.config.word(self.msix_control))
            .and_then(|()| {
                self.interrupt.disable_line(state.config.word(COMMAND) & COMMAND_INTX_DISABLE != 0)
            })
            .and_then(|()| {
                self.window.store(state.config.window().unwrap_or(0), Ordering::Release);
                self.place_doorbells(&mut state)
            });
        self.check(&mut state, result);
    }

    /// An access to the data field of the PCI access capability (section 4.1.4.9): where in the window it
    /// goes, and how long it is.
    fn pci_access_target(&self, state: &State, offset: usize, length: usize) -> Option<(usize, usize)> {
        if offset != self.pci_access + 16 {
            return None;
        }
        let bar = state.config.word(self.pci_access + 4) & 0xff;
        let target = usize::try_from(state.config.long(self.pci_access + 8)).ok()?;
        let wanted = usize::try_from(state.config.long(self.pci_access + 12)).ok()?;
        let valid = bar == 0 && matches!(wanted, 1 | 2 | 4) && target.is_multiple_of(wanted);
        (length == wanted && valid).then_some((target, wanted))
    }

    /// Reads from the register window.
    pub fn read_window(&self, offset: usize, data: &mut [u8]) {
        self.read(&mut self.state(), offset, data);
    }

    /// Writes to the register window.
    pub fn write_window(&self, offset: usize, data: &[u8]) {
        self.write(&mut self.state(), offset, data);
    }

    fn read(&self, state: &mut State, offset: usize, data: &mut [u8]) {
        data.fill(0);
        match offset {
            0..ISR => {
                let load = |vector: &std::sync::atomic::AtomicU16| vector.load(Ordering::Acquire);
                let view = View {
                    config_vector: load(self.interrupt.config_vector()),
                    queue_vector: self
                        .interrupt
                        .queue_vector(state.registers.selected())
                        .map_or(super::interrupt::NO_VECTOR, load),
                    generation: self.interrupt.generation(),
                };
                state.registers.read(offset, data, view);
            }
            ISR => {
                let isr = self.interrupt.take_isr();
                if let (Ok(isr), Some(byte)) = (isr, data.first_mut()) {
                    *byte = isr;
                }
            }
            DEVICE..NOTIFY => self.device.read_config((offset - DEVICE) as u64, data),
            MSIX_TABLE..MSIX_PENDING => self.interrupt.msix().read_table(offset - MSIX_TABLE, data),
            MSIX_PENDING.. => self.interrupt.msix().read_pending(offset - MSIX_PENDING, data),
            _ => {}
        }
    }

    fn write(&self, state: &mut State, offset: usize, data: &[u8]) {
        let result = match offset {
            0..ISR => {
                let action = state.registers.write(offset, data);
                self.act(state, action)
            }
            DEVICE..NOTIFY => {
                self.device.write_config((offset - DEVICE) as u64, data);
                Ok(())
            }
            NOTIFY..MSIX_TABLE => {
                let index = (offset - NOTIFY) / NOTIFY_MULTIPLIER as usize;
                let ring = state.running.iter().find(|(queue, _)| usize::from(*queue) == index);
                ring.map_or(Ok(()), |(_, doorbell)| doorbell.write(1))
            }
            MSIX_TABLE..MSIX_PENDING => self.interrupt.msix().write_table(offset - MSIX_TABLE, data),
            _ => Ok(()),
        };
        self.check(state, result);
    }

    /// A failure of the host's while the guest waits: the driver is asked to reset the device.
    fn check(&self, state: &mut State, result: io::Result<()>) {
        if result.is_err() {
            state.registers.need_reset();
            // The message may be what failed; there is no other way to tell the driver.
            let _ = self.interrupt.config();
        }
    }

    fn act(&self, state: &mut State, action: Action) -> io::Result<()> {
        match action {
            Action::None => Ok(()),
            Action::Reset => self.reset(state),
            Action::Start => self.start(state),
            Action::ConfigVector(vector) => {
                self.interrupt.config_vector().store(self.valid(vector), Ordering::Release);
                Ok(())
            }
            Action::QueueVector(queue, vector) => {
                if let Some(chosen) = self.interrupt.queue_vector(queue) {
                    chosen.store(self.valid(vector), Ordering::Release);
                }
                Ok(())
            }
        }
    }

    /// The driver reads back "no vector" for one that does not exist.
    fn valid(&self, vector: u16) -> u16 {
        if vector < self.interrupt.msix().count() { vector } else { super::interrupt::NO_VECTOR }
    }

    fn start(&self, state: &mut State) -> io::Result<()> {
        let accepted = state.registers.accepted();
        self.device.set_features(accepted);
        let event_idx = has_feature(accepted, VIRTIO_RING_F_EVENT_IDX);
        let queues: Vec<_> = state.registers.enabled_queues(event_idx).collect();
        for (index, ring) in queues {
            let queue = Queue::try_from(ring).map_err(|error| io::Error::other(error.to_string()))?;
            if !queue.is_valid(&self.memory) {
                return Err(io::Error::other("a ring lies outside guest memory"));
            }
            let doorbell = EventFd::new(EFD_NONBLOCK)?;
            let resources = QueueResources {
                queue,
                memory: self.memory.clone(),
                doorbell: doorbell.try_clone()?,
                interrupt: self.interrupt.clone(),
            };
            self.device.start_queue(index, resources)?;
            state.running.push((index, doorbell));
        }
        self.place_doorbells(state)
    }

    /// Attaches the doorbells where the window is now, after detaching them from where it was.
    fn place_doorbells(&self, state: &mut State) -> io::Result<()> {
        let wanted = state.config.window().filter(|_| !state.running.is_empty());
        if state.attached == wanted {
            return Ok(());
        }
        if let Some(base) = state.attached.take() {
            for (queue, doorbell) in &state.running {
                self.platform.detach_doorbell(doorbell_address(base, *queue), doorbell)?;
            }
        }
        if let Some(base) = wanted {
            for (queue, doorbell) in &state.running {
                self.platform.attach_doorbell(doorbell_address(base, *queue), doorbell)?;
            }
            state.attached = wanted;
        }
        Ok(())
    }

    fn reset(&self, state: &mut State) -> io::Result<()> {
        let mut result = Ok(());
        if let Some(base) = state.attached.take() {
            for (queue, doorbell) in &state.running {
                result = result.and(self.platform.detach_doorbell(doorbell_address(base, *queue), doorbell));
            }
        }
        state.running.clear();
        self.device.reset();
        state.registers.reset();
        result.and(self.interrupt.reset())
    }

    /// Resets the device and detaches everything: the guest is gone.
    pub fn unplug(&self) {
        let mut state = self.state();
        // Nobody is left who could be told of a failure.
        let _ = self.reset(&mut state);
    }
}
