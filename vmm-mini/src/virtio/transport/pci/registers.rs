//! The common configuration structure (virtio 1.2, section 4.1.4.3): device status, features, queue set-up.
//!
//! Pure state: a write says what follows from it as an [`Action`], and the function carries that out. What a
//! driver may not change any more (queues that run, features that were settled) does not change.

use std::ops::Range;

use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_NEEDS_RESET, VIRTIO_F_VERSION_1,
};
use virtio_queue::QueueState;

/// Bytes of the structure.
pub const LEN: usize = 0x38;

const DEVICE_FEATURE_SELECT: usize = 0x00;
const DRIVER_FEATURE_SELECT: usize = 0x08;
const DRIVER_FEATURE: usize = 0x0c;
const CONFIG_VECTOR: usize = 0x10;
const DEVICE_STATUS: usize = 0x14;
const QUEUE_SELECT: usize = 0x16;
const QUEUE_SIZE: usize = 0x18;
const QUEUE_VECTOR: usize = 0x1a;
const QUEUE_ENABLE: usize = 0x1c;
const QUEUE_ADDRESSES: Range<usize> = 0x20..0x38;

/// What the function has to do after a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// Reset the device.
    Reset,
    /// The driver is ready: start the enabled queues.
    Start,
    /// The driver chose a vector for configuration changes.
    ConfigVector(u16),
    /// The driver chose a vector for a queue.
    QueueVector(u16, u16),
}

/// What the registers show that is kept elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Vector for configuration changes.
    pub config_vector: u16,
    /// Vector of the selected queue.
    pub queue_vector: u16,
    /// Configuration generation.
    pub generation: u8,
}

#[derive(Clone, Copy, Debug, Default)]
struct Queue {
    max_size: u16,
    size: u16,
    enabled: bool,
    /// Descriptor table, available ring, used ring.
    addresses: [u64; 3],
}

/// The registers of one function.
#[derive(Debug)]
pub struct Registers {
    offered: u64,
    accepted: u64,
    status: u8,
    device_feature_select: u32,
    driver_feature_select: u32,
    queue_select: u16,
    queues: Vec<Queue>,
}

impl Registers {
    /// Registers of a device that offers `features` and has queues of these largest sizes.
    #[must_use]
    pub fn new(features: u64, queue_sizes: &[u16]) -> Registers {
        let queue = |max_size: &u16| Queue { max_size: *max_size, size: *max_size, ..Queue::default() };
        Registers {
            offered: features,
            accepted: 0,
            status: 0,
            device_feature_select: 0,
            driver_feature_select: 0,
            queue_select: 0,
            queues: queue_sizes.iter().map(queue).collect(),
        }
    }

    /// Features that the driver accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// The queue that the driver has selected.
    #[must_use]
    pub fn selected(&self) -> u16 {
        self.queue_select
    }

    /// The driver has said that it is ready.
    #[must_use]
    pub fn driver_ready(&self) -> bool {
        u32::from(self.status) & VIRTIO_CONFIG_S_DRIVER_OK != 0
    }

    /// Asks the driver for a reset after something that cannot be served.
    pub fn need_reset(&mut self) {
        self.status |= u8::try_from(VIRTIO_CONFIG_S_NEEDS_RESET).unwrap_or(0);
    }

    /// Enabled queues as their addresses and sizes stand.
    pub fn enabled_queues(&self, event_idx: bool) -> impl Iterator<Item = (u16, QueueState)> {
        (0_u16..).zip(&self.queues).filter(|(_, queue)| queue.enabled).map(move |(index, queue)| {
            let [desc_table, avail_ring, used_ring] = queue.addresses;
            let state = QueueState {
                max_size: queue.max_size,
                next_avail: 0,
                next_used: 0,
                event_idx_enabled: event_idx,
                size: queue.size,
                ready: true,
                desc_table,
                avail_ring,
                used_ring,
            };
            (index, state)
        })
    }

    /// Back to the state after creation.
    pub fn reset(&mut self) {
        let sizes: Vec<u16> = self.queues.iter().map(|queue| queue.max_size).collect();
        *self = Registers::new(self.offered, &sizes);
    }

    fn selected_queue(&self) -> Queue {
        self.queues.get(usize::from(self.queue_select)).copied().unwrap_or_default()
    }

    fn image(&self, view: View) -> [u8; LEN] {
        let queue = self.selected_queue();
        let half = |features: u64, select: u32| match select {
            0 => features & 0xffff_ffff,
            1 => features >> 32,
            _ => 0,
        };
        let fields: [(u64, usize); 16] = [
            (self.device_feature_select.into(), 4),
            (half(self.offered, self.device_feature_select), 4),
            (self.driver_feature_select.into(), 4),
            (half(self.accepted, self.driver_feature_select), 4),
            (view.config_vector.into(), 2),
            (self.queues.len() as u64, 2),
            (self.status.into(), 1),
            (view.generation.into(), 1),
            (self.queue_select.into(), 2),
            (queue.size.into(), 2),
            (view.queue_vector.into(), 2),
            (queue.enabled.into(), 2),
            (self.queue_select.into(), 2), // notify offset: a doorbell per queue
            (queue.addresses[0], 8),
            (queue.addresses[1], 8),
            (queue.addresses[2], 8),
        ];
        let mut image = [0; LEN];
        let mut rest = &mut image[..];
        for (value, length) in fields {
            if let Some((field, tail)) = std::mem::take(&mut rest).split_at_mut_checked(length) {
                field.copy_from_slice(value.to_le_bytes().get(..length).unwrap_or_default());
                rest = tail;
            }
        }
        image
    }

    /// Reads any bytes of the structure; zero past its end.
    pub fn read(&self, offset: usize, data: &mut [u8], view: View) {
        let image = self.image(view);
        for (at, byte) in (offset..).zip(data) {
            *byte = image.get(at).copied().unwrap_or(0);
        }
    }

    /// Writes one field, in the width that the specification demands (64-bit fields also by halves). Other
    /// writes are ignored.
    pub fn write(&mut self, offset: usize, data: &[u8]) -> Action {
        let value = data.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        let word = u16::try_from(value).unwrap_or(0);
        let long = u32::try_from(value).unwrap_or(0);
        match (offset, data.len()) {
            (DEVICE_FEATURE_SELECT, 4) => self.device_feature_select = long,
            (DRIVER_FEATURE_SELECT, 4) => self.driver_feature_select = long,
            (DRIVER_FEATURE, 4) => self.accept(long),
            (CONFIG_VECTOR, 2) => return Action::ConfigVector(word),
            (DEVICE_STATUS, 1) => return self.set_status(word.to_le_bytes()[0]),
            (QUEUE_SELECT, 2) => self.queue_select = word,
            (QUEUE_VECTOR, 2) => return Action::QueueVector(self.queue_select, word),
            (QUEUE_SIZE, 2) => {
                self.change_queue(|queue| {
                    if word.is_power_of_two() && word <= queue.max_size {
                        queue.size = word;
                    }
                });
            }
            (QUEUE_ENABLE, 2) if word == 1 => self.change_queue(|queue| queue.enabled = queue.max_size > 0),
            (offset, 4 | 8) if QUEUE_ADDRESSES.contains(&offset) => {
                self.change_queue(|queue| {
                    let field = offset - QUEUE_ADDRESSES.start;
                    if let Some(address) = queue.addresses.get_mut(field / 8) {
                        match (field % 8, data.len()) {
                            (0, 8) => *address = value,
                            (0, 4) => *address = (*address & !0xffff_ffff) | value,
                            (4, 4) => *address = (*address & 0xffff_ffff) | (value << 32),
                            _ => {}
                        }
                    }
                });
            }
            _ => {}
        }
        Action::None
    }

    fn change_queue(&mut self, change: impl FnOnce(&mut Queue)) {
        let running = self.driver_ready();
        if let Some(queue) = self.queues.get_mut(usize::from(self.queue_select))
            && !running
            && !queue.enabled
        {
            change(queue);
        }
    }

    fn accept(&mut self, half: u32) {
        if u32::from(self.status) & VIRTIO_CONFIG_S_FEATURES_OK == 0 {
            match self.driver_feature_select {
                0 => self.accepted = (self.accepted & !0xffff_ffff) | u64::from(half),
                1 => self.accepted = (self.accepted & 0xffff_ffff) | (u64::from(half) << 32),
                _ => {}
            }
        }
    }

    fn set_status(&mut self, status: u8) -> Action {
        if status == 0 {
            return Action::Reset;
        }
        let bit = |bit: u32| u8::try_from(bit).unwrap_or(0);
        let features_ok = bit(VIRTIO_CONFIG_S_FEATURES_OK);
        let driver_ok = bit(VIRTIO_CONFIG_S_DRIVER_OK);
        let was_ready = self.driver_ready();
        // Bits are only added; the device's own bit is not the driver's to set.
        let mut wanted = self.status | (status & !bit(VIRTIO_CONFIG_S_NEEDS_RESET));
        let modern = self.accepted & (1 << VIRTIO_F_VERSION_1) != 0;
        let subset = self.accepted & !self.offered == 0;
        if wanted & features_ok != 0 && !(modern && subset) {
            wanted &= !features_ok;
        }
        if wanted & features_ok == 0 {
            wanted &= !driver_ok;
        }
        self.status = wanted;
        if self.driver_ready() && !was_ready { Action::Start } else { Action::None }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const VIEW: View = View { config_vector: 0xffff, queue_vector: 3, generation: 9 };
    const VERSION_1: u64 = 1 << VIRTIO_F_VERSION_1;

    fn get(registers: &Registers, offset: usize, length: usize) -> u64 {
        let mut data = [0; 8];
        registers.read(offset, &mut data[..length], VIEW);
        u64::from_le_bytes(data)
    }

    fn status(registers: &mut Registers, value: u8) -> Action {
        registers.write(DEVICE_STATUS, &[value])
    }

    fn accept(registers: &mut Registers, features: u64) {
        for half in 0..2_u32 {
            registers.write(DRIVER_FEATURE_SELECT, &half.to_le_bytes());
            registers.write(DRIVER_FEATURE, &((features >> (half * 32)) as u32).to_le_bytes());
        }
    }

    #[test]
    fn a_driver_sets_the_device_up() {
        let mut registers = Registers::new(VERSION_1 | 5, &[256, 64]);
        registers.write(DEVICE_FEATURE_SELECT, &1_u32.to_le_bytes());
        assert_eq!(get(&registers, 4, 4), 1);
        assert_eq!(get(&registers, 0x12, 2), 2, "queues");
        assert_eq!(get(&registers, 0x15, 1), 9, "generation");
        accept(&mut registers, VERSION_1 | 4);
        assert_eq!(status(&mut registers, 1 | 2 | 8), Action::None);
        assert_eq!(get(&registers, 0x14, 1), 11);
        registers.write(QUEUE_SELECT, &1_u16.to_le_bytes());
        assert_eq!(get(&registers, 0x18, 2), 64);
        registers.write(QUEUE_SIZE, &48_u16.to_le_bytes());
        assert_eq!(get(&registers, 0x18, 2), 64, "no power of two");
        registers.write(QUEUE_SIZE, &32_u16.to_le_bytes());
        registers.write(0x20, &0x1000_u32.to_le_bytes());
        registers.write(0x24, &1_u32.to_le_bytes());
        registers.write(0x28, &0x2000_u64.to_le_bytes());
        registers.write(0x30, &0x3000_u32.to_le_bytes());
        assert_eq!(get(&registers, 0x1e, 2), 1, "notify offset");
        registers.write(QUEUE_ENABLE, &1_u16.to_le_bytes());
        assert_eq!(status(&mut registers, 15), Action::Start);
        assert_eq!(status(&mut registers, 15), Action::None, "only once");
        registers.write(0x30, &0x4000_u32.to_le_bytes());
        let queues: Vec<_> = registers.enabled_queues(true).collect();
        let [(1, state)] = queues[..] else { panic!("{queues:?}") };
        assert_eq!((state.size, state.max_size, state.ready), (32, 64, true));
        assert_eq!((state.desc_table, state.avail_ring, state.used_ring), (0x1_0000_1000, 0x2000, 0x3000));
        assert_eq!(registers.accepted(), VERSION_1 | 4);
        assert_eq!(status(&mut registers, 0), Action::Reset);
    }

    #[test]
    fn features_that_were_not_offered_are_not_ok() {
        for wrong in [VERSION_1 | 8, 4, 0] {
            let mut registers = Registers::new(VERSION_1 | 5, &[2]);
            accept(&mut registers, wrong);
            status(&mut registers, 11);
            assert_eq!(get(&registers, 0x14, 1), 3);
            assert_eq!(status(&mut registers, 15), Action::None, "{wrong:#x} must not start");
        }
    }

    #[test]
    fn any_access_is_harmless() {
        let mut registers = Registers::new(VERSION_1, &[2]);
        for select in [0_u16, 1, 0xffff] {
            registers.write(QUEUE_SELECT, &select.to_le_bytes());
            for offset in 0..LEN + 8 {
                for length in [1, 2, 3, 4, 8] {
                    registers.write(offset, &[0xff; 8][..length]);
                    let mut data = [0; 8];
                    registers.read(offset, &mut data[..length], VIEW);
                }
            }
        }
    }
}
