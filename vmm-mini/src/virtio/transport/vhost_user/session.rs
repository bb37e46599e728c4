//! What a connection has agreed on so far, and what each request does to it.
//!
//! A queue runs when the front-end has given it memory, addresses and a doorbell, and enabled it; any
//! change to those stops it first and starts it again where it stood. Requests may come in any order:
//! what is not possible yet is refused, and refusing never leaves a queue running on old memory.

use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
use virtio_queue::{Queue, QueueT};
use vmm_sys_util::eventfd::EventFd;

use super::Fault;
use super::lines::{Lines, nonblocking};
use super::memory::MemoryMap;
use super::message::{Fields, Message};
use crate::virtio::device::{Interrupt, QueueResources, VirtioDevice, has_feature};

/// Virtio feature bit: protocol features exist, and queues start disabled.
const F_PROTOCOL_FEATURES: u32 = 30;
/// Protocol features: MQ (0), REPLY_ACK (3), BACKEND_REQ (5), CONFIG (9).
const PROTOCOL_FEATURES: u64 = 1 << 0 | 1 << REPLY_ACK | 1 << 5 | 1 << 9;
const REPLY_ACK: u32 = 3;
/// Largest configuration space that can be asked for.
const MAX_CONFIG: usize = 256;
/// In the body of a request about a queue's descriptor: there is none.
const NO_FD: u64 = 1 << 8;

const GET_FEATURES: u32 = 1;
const SET_FEATURES: u32 = 2;
const SET_OWNER: u32 = 3;
const RESET_OWNER: u32 = 4;
const SET_MEM_TABLE: u32 = 5;
const SET_VRING_NUM: u32 = 8;
const SET_VRING_ADDR: u32 = 9;
const SET_VRING_BASE: u32 = 10;
const GET_VRING_BASE: u32 = 11;
const SET_VRING_KICK: u32 = 12;
const SET_VRING_CALL: u32 = 13;
const SET_VRING_ERR: u32 = 14;
const GET_PROTOCOL_FEATURES: u32 = 15;
const SET_PROTOCOL_FEATURES: u32 = 16;
const GET_QUEUE_NUM: u32 = 17;
const SET_VRING_ENABLE: u32 = 18;
const SET_BACKEND_REQ_FD: u32 = 21;
const GET_CONFIG: u32 = 24;
const SET_CONFIG: u32 = 25;

/// One queue as the front-end has described it so far.
#[derive(Default)]
struct Vring {
    max_size: u16,
    size: u16,
    base: u16,
    addresses: Option<Addresses>,
    kick: Option<EventFd>,
    enabled: bool,
    running: bool,
}

/// Where a ring lies, in the front-end's virtual addresses.
#[derive(Clone, Copy)]
struct Addresses {
    descriptors: u64,
    used: u64,
    available: u64,
}

/// The state of one connection. Dropping it stops the device.
pub(super) struct Session {
    device: Arc<dyn VirtioDevice>,
    lines: Arc<Lines>,
    memory: Option<MemoryMap>,
    features: u64,
    protocol_features: u64,
    vrings: Vec<Vring>,
}

impl Session {
    pub(super) fn new(device: Arc<dyn VirtioDevice>) -> Self {
        let vrings: Vec<Vring> = device
            .queue_sizes()
            .into_iter()
            .map(|size| Vring { max_size: size, size, ..Vring::default() })
            .collect();
        let lines = Arc::new(Lines::new(vrings.len()));
        Session { device, lines, memory: None, features: 0, protocol_features: 0, vrings }
    }

    /// Does what `message` asks, and answers the body of the reply, if there shall be one.
    ///
    /// # Errors
    /// When the connection cannot go on. A refusal that the front-end wants to hear of is a reply.
    pub(super) fn handle(&mut self, message: Message) -> Result<Option<Vec<u8>>, Fault> {
        if let Some(reply) = self.question(&message)? {
            return Ok(Some(reply));
        }
        let wanted = message.need_reply;
        let outcome = self.command(message);
        // Asked afterwards: UML wants the very request acknowledged that agrees on acknowledgements.
        let acknowledge = wanted && has_feature(self.protocol_features, REPLY_ACK);
        match outcome {
            Ok(()) if acknowledge => Ok(Some(0u64.to_le_bytes().to_vec())),
            Ok(()) => Ok(None),
            Err(_) if acknowledge => Ok(Some(1u64.to_le_bytes().to_vec())),
            Err(fault) => Err(fault),
        }
    }

    /// Requests that have an answer of their own.
    fn question(&mut self, message: &Message) -> Result<Option<Vec<u8>>, Fault> {
        let number = |value: u64| Ok(Some(value.to_le_bytes().to_vec()));
        match message.request {
            GET_FEATURES => number(self.offered()),
            GET_PROTOCOL_FEATURES => number(PROTOCOL_FEATURES),
            GET_QUEUE_NUM => number(self.vrings.len() as u64),
            GET_CONFIG => self.get_config(&message.body).map(Some),
            GET_VRING_BASE => {
                let (index, _) = self.vring_state(&message.body)?;
                self.stop(index);
                let vring = &mut self.vrings[index];
                // The ring is stopped until it is given a doorbell again.
                vring.kick = None;
                let reply = [(index as u32).to_le_bytes(), u32::from(vring.base).to_le_bytes()];
                Ok(Some(reply.concat()))
            }
            _ => Ok(None),
        }
    }

    fn command(&mut self, message: Message) -> Result<(), Fault> {
        let Message { request, body, mut fds, .. } = message;
        match request {
            SET_OWNER => Ok(()),
            RESET_OWNER => {
                self.stop_all();
                Ok(())
            }
            SET_FEATURES => self.set_features(Fields(&body).u64()?),
            SET_PROTOCOL_FEATURES => {
                let wanted = Fields(&body).u64()?;
                if wanted & !PROTOCOL_FEATURES != 0 {
                    return Err(protocol(format!("protocol features {wanted:#x} that were not offered")));
                }
                self.protocol_features = wanted;
                Ok(())
            }
            SET_MEM_TABLE => {
                let memory = MemoryMap::new(&body, fds)?;
                self.stop_all();
                self.memory = Some(memory);
                self.start_ready()
            }
            SET_VRING_NUM => {
                let (index, value) = self.vring_state(&body)?;
                let vring = self.stopped(index);
                match u16::try_from(value) {
                    Ok(size) if size.is_power_of_two() && size <= vring.max_size => vring.size = size,
                    _ => return Err(protocol(format!("a queue size of {value}"))),
                }
                self.start(index)
            }
            SET_VRING_BASE => {
                let (index, value) = self.vring_state(&body)?;
                let base = u16::try_from(value).map_err(|_| protocol(format!("a queue index of {value}")))?;
                self.stopped(index).base = base;
                self.start(index)
            }
            SET_VRING_ADDR => {
                let (index, _flags) = self.vring_state(&body)?;
                let mut fields = Fields(&body[8..]);
                let (descriptors, used, available) = (fields.u64()?, fields.u64()?, fields.u64()?);
                self.stopped(index).addresses = Some(Addresses { descriptors, used, available });
                self.start(index)
            }
            SET_VRING_KICK => {
                let (index, fd) = self.vring_fd(&body, &mut fds)?;
                let fd = fd.ok_or_else(|| protocol("a queue without a doorbell".into()))?;
                let fd = nonblocking(fd).map_err(|error| Fault::Refused("use a doorbell", error))?;
                self.stopped(index).kick = Some(event(fd));
                self.start(index)
            }
            SET_VRING_CALL => {
                let (index, fd) = self.vring_fd(&body, &mut fds)?;
                self.lines.set_call(index, fd).map_err(|error| Fault::Refused("use an interrupt", error))
            }
            SET_VRING_ERR => self.vring_fd(&body, &mut fds).map(|_| ()),
            SET_VRING_ENABLE => {
                let (index, value) = self.vring_state(&body)?;
                self.stopped(index).enabled = value != 0;
                self.start(index)
            }
            SET_BACKEND_REQ_FD => {
                let fd = fds.pop().ok_or_else(|| protocol("no descriptor for requests".into()))?;
                self.lines.set_requests(fd).map_err(|error| Fault::Refused("use a request channel", error))
            }
            SET_CONFIG => self.set_config(&body),
            other => Err(protocol(format!("request {other}, which was not offered"))),
        }
    }

    fn offered(&self) -> u64 {
        self.device.features() | 1 << F_PROTOCOL_FEATURES
    }

    fn set_features(&mut self, features: u64) -> Result<(), Fault> {
        if features & !self.offered() != 0 {
            return Err(protocol(format!("features {features:#x} that were not offered")));
        }
        self.stop_all();
        self.features = features;
        self.device.set_features(features & !(1 << F_PROTOCOL_FEATURES));
        if !has_feature(features, F_PROTOCOL_FEATURES) {
            for vring in &mut self.vrings {
                vring.enabled = true;
            }
        }
        self.start_ready()
    }

    /// The answer has the size of the question; what the device does not have reads as zero.
    fn get_config(&self, body: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut fields = Fields(body);
        let (offset, size, _flags) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let mut reply = body.to_vec();
        let data = reply.get_mut(12..).unwrap_or_default();
        if size as usize != data.len() || data.len() > MAX_CONFIG {
            return Err(protocol(format!("a question for {size} bytes of configuration")));
        }
        self.device.read_config(u64::from(offset), data);
        Ok(reply)
    }

    fn set_config(&self, body: &[u8]) -> Result<(), Fault> {
        let mut fields = Fields(body);
        let (offset, size, _flags) = (fields.u32()?, fields.u32()?, fields.u32()?);
        match fields.0.get(..size as usize) {
            Some(data) if data.len() <= MAX_CONFIG => {
                self.device.write_config(u64::from(offset), data);
                Ok(())
            }
            _ => Err(protocol(format!("{size} bytes of configuration"))),
        }
    }

    /// The two numbers of a request about a queue: a checked index, and a value.
    fn vring_state(&self, body: &[u8]) -> Result<(usize, u32), Fault> {
        let mut fields = Fields(body);
        let (index, value) = (fields.u32()? as usize, fields.u32()?);
        if index >= self.vrings.len() {
            return Err(protocol(format!("a request about queue {index}")));
        }
        Ok((index, value))
    }

    /// The queue, and the descriptor, of a request that carries one.
    fn vring_fd(&self, body: &[u8], fds: &mut Vec<OwnedFd>) -> Result<(usize, Option<OwnedFd>), Fault> {
        let value = Fields(body).u64()?;
        let index = (value & 0xff) as usize;
        let fd = fds.pop();
        if index >= self.vrings.len() || fd.is_none() != (value & NO_FD != 0) || !fds.is_empty() {
            return Err(protocol(format!("a descriptor for queue {index}")));
        }
        Ok((index, fd))
    }

    /// The queue, stopped so that it can be changed. `index` has been checked.
    fn stopped(&mut self, index: usize) -> &mut Vring {
        self.stop(index);
        &mut self.vrings[index]
    }

    fn stop(&mut self, index: usize) {
        let vring = &mut self.vrings[index];
        if std::mem::take(&mut vring.running)
            && let Some(state) = self.device.stop_queue(index as u16)
        {
            vring.base = state.next_avail;
        }
    }

    fn stop_all(&mut self) {
        for index in 0..self.vrings.len() {
            self.stop(index);
        }
    }

    fn start_ready(&mut self) -> Result<(), Fault> {
        (0..self.vrings.len()).try_for_each(|index| self.start(index))
    }

    /// Starts a queue if everything it needs is there.
    fn start(&mut self, index: usize) -> Result<(), Fault> {
        let vring = &self.vrings[index];
        let (Some(memory), Some(addresses), Some(kick), true, false) =
            (&self.memory, vring.addresses, &vring.kick, vring.enabled, vring.running)
        else {
            return Ok(());
        };
        let refused = |error| Fault::Refused("start a queue", error);
        let queue = vring.queue(addresses, memory, has_feature(self.features, VIRTIO_RING_F_EVENT_IDX))?;
        let resources = QueueResources {
            queue,
            memory: memory.guest.clone(),
            doorbell: kick.try_clone().map_err(refused)?,
            interrupt: Arc::clone(&self.lines) as Arc<dyn Interrupt>,
        };
        self.device.start_queue(index as u16, resources).map_err(refused)?;
        self.vrings[index].running = true;
        Ok(())
    }
}

impl Vring {
    fn queue(&self, addresses: Addresses, memory: &MemoryMap, event_idx: bool) -> Result<Queue, Fault> {
        let translate = |address| {
            memory
                .user_to_guest(address)
                .ok_or_else(|| protocol(format!("a ring at {address:#x}, outside the memory it shares")))
        };
        let broken = |error: virtio_queue::Error| Fault::Refused("start a queue", io::Error::other(error));
        let mut queue = Queue::new(self.max_size).map_err(broken)?;
        queue.try_set_size(self.size).map_err(broken)?;
        queue.try_set_desc_table_address(translate(addresses.descriptors)?).map_err(broken)?;
        queue.try_set_avail_ring_address(translate(addresses.available)?).map_err(broken)?;
        queue.try_set_used_ring_address(translate(addresses.used)?).map_err(broken)?;
        queue.set_event_idx(event_idx);
        queue.set_next_avail(self.base);
        // The protocol hands over one index only; the other one stands in the used ring.
        let used = queue.used_idx(&memory.guest, Ordering::Acquire).map_err(broken)?;
        queue.set_next_used(used.0);
        queue.set_ready(true);
        Ok(queue)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.device.reset();
    }
}

fn protocol(what: String) -> Fault {
    Fault::Protocol(what)
}

fn event(fd: OwnedFd) -> EventFd {
    use std::os::fd::FromRawFd;
    // SAFETY: the descriptor is open and ours; `EventFd` owns it from here on. It may be something else
    // than an eventfd, which reading and polling it survive.
    unsafe { EventFd::from_raw_fd(fd.into_raw_fd()) }
}
