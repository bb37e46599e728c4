//! A virtio console device with several ports (specification, section 5.3).
//!
//! Port 0 can be a console for the guest's kernel; the others are byte channels that the guest finds by
//! name. The host's end of each is one half of a Unix socket pair whose other half lives here. A port
//! never loses a byte while both sides have it open: what does not fit waits in the socket or in the
//! guest's ring, and the sender with it.

mod control;
mod port;
#[cfg(test)]
mod tests;

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ids::VIRTIO_ID_CONSOLE;
use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
use virtio_queue::QueueState;

use super::device::{QueueResources, VirtioDevice, has_feature, read_space};
use super::worker::Worker;
use control::{Control, FromGuest, ToGuest};
use port::{Port, Receive, Transmit};

/// Feature bit: the device has more than one port, and control queues.
const VIRTIO_CONSOLE_F_MULTIPORT: u32 = 1;
const QUEUE_SIZE: u16 = 256;
/// Ports of one device, port 0 included: each has two queues, and Linux takes 64 of those over vhost-user.
const MAX_PORTS: usize = 31;
/// Queues of the control channel.
const CONTROL_TO_GUEST: u16 = 2;
const CONTROL_FROM_GUEST: u16 = 3;

/// A channel that the guest finds by its name.
pub struct NamedPort {
    /// As in `/sys/class/virtio-ports/*/name`.
    pub name: String,
    /// The device's half of a socket pair.
    pub stream: UnixStream,
    /// When the guest closes the port, the host reads the end of the stream, for good. Otherwise it does
    /// not notice, and the guest may open the port again.
    pub hang_up: bool,
}

/// The console device.
pub struct Console {
    shared: Arc<Shared>,
    workers: Mutex<Vec<Option<Worker>>>,
}

/// What the queues' threads share.
struct Shared {
    /// Indexed by port number.
    ports: Vec<Option<Port>>,
    control: Control,
}

impl Console {
    /// Creates a device whose port 0 is `console`, and whose other ports are `named`, from 1 on.
    ///
    /// # Errors
    /// Refuses more than 30 named ports.
    pub fn new(console: Option<UnixStream>, named: Vec<NamedPort>) -> io::Result<Self> {
        if named.len() >= MAX_PORTS {
            let text = format!("A console device has at most {} named ports", MAX_PORTS - 1);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let console = console.map(|stream| Port::new(None, stream, false)).transpose()?;
        let mut ports = vec![console];
        for port in named {
            ports.push(Some(Port::new(Some(port.name), port.stream, port.hang_up)?));
        }
        let queues = 2 + 2 * ports.len();
        Ok(Console {
            shared: Arc::new(Shared { ports, control: Control::new()? }),
            workers: Mutex::new((0..queues).map(|_| None).collect()),
        })
    }

    fn start(&self, index: u16, resources: QueueResources) -> io::Result<Worker> {
        let shared = Arc::clone(&self.shared);
        match index {
            CONTROL_TO_GUEST => {
                Worker::start("console-ctl-rx".into(), index, resources, ToGuest::new(shared))
            }
            CONTROL_FROM_GUEST => {
                Worker::start("console-ctl-tx".into(), index, resources, FromGuest::new(shared))
            }
            _ => {
                // Queues 0 and 1 are port 0; those after the control queues belong to ports 1, 2, ...
                let pair = usize::from(index / 2);
                let port = if pair == 0 { 0 } else { pair - 1 };
                if index.is_multiple_of(2) {
                    Worker::start(format!("console-{port}-rx"), index, resources, Receive::new(shared, port))
                } else {
                    Worker::start(format!("console-{port}-tx"), index, resources, Transmit::new(shared, port))
                }
            }
        }
    }
}

impl Shared {
    fn port(&self, number: usize) -> Option<&Port> {
        self.ports.get(number)?.as_ref()
    }

    /// The host's end of a port is gone: the guest is told once.
    fn host_closed(&self, number: usize) {
        if let Some(port) = self.port(number)
            && port.host_open.swap(false, Ordering::AcqRel)
        {
            self.control.port_open(number, false);
        }
    }
}

impl VirtioDevice for Console {
    fn device_id(&self) -> u32 {
        VIRTIO_ID_CONSOLE
    }

    fn features(&self) -> u64 {
        1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_RING_F_EVENT_IDX | 1 << VIRTIO_CONSOLE_F_MULTIPORT
    }

    fn set_features(&self, accepted: u64) {
        // A driver without ports drives port 0 and never says that it opened it.
        if !has_feature(accepted, VIRTIO_CONSOLE_F_MULTIPORT)
            && let Some(port) = self.shared.port(0)
        {
            port.guest_opened(true);
        }
    }

    fn queue_sizes(&self) -> Vec<u16> {
        vec![QUEUE_SIZE; 2 + 2 * self.shared.ports.len()]
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        // cols u16, rows u16, max_nr_ports u32, emerg_wr u32
        let mut space = [0; 12];
        space[4..8].copy_from_slice(&(self.shared.ports.len() as u32).to_le_bytes());
        read_space(&space, offset, data);
    }

    fn write_config(&self, _offset: u64, _data: &[u8]) {}

    fn start_queue(&self, index: u16, resources: QueueResources) -> io::Result<()> {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = workers.get_mut(usize::from(index)) else {
            let text = format!("The console has no queue {index}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        *slot = Some(self.start(index, resources)?);
        Ok(())
    }

    fn stop_queue(&self, index: u16) -> Option<QueueState> {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.get_mut(usize::from(index))?.take()?.stop()
    }

    fn reset(&self) {
        for index in 0..self.queue_sizes().len() as u16 {
            self.stop_queue(index);
        }
        self.shared.control.clear();
        for port in self.shared.ports.iter().flatten() {
            port.guest_opened(false);
        }
    }
}
