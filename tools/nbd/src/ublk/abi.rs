//! What the ublk driver and its servers say to each other, as in `include/uapi/linux/ublk_cmd.h`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Commands to `/dev/ublk-control`.
pub(super) mod control {
    use super::{ControlCommand, read_write, write};

    pub(crate) const GET_INFO: u32 = write(0x02, size_of::<ControlCommand>());
    pub(crate) const ADD: u32 = read_write(0x04, size_of::<ControlCommand>());
    pub(crate) const DELETE: u32 = read_write(0x05, size_of::<ControlCommand>());
    pub(crate) const START: u32 = read_write(0x06, size_of::<ControlCommand>());
    pub(crate) const STOP: u32 = read_write(0x07, size_of::<ControlCommand>());
    pub(crate) const SET_PARAMETERS: u32 = read_write(0x08, size_of::<ControlCommand>());
    pub(crate) const GET_FEATURES: u32 = write(0x13, size_of::<ControlCommand>());
}

/// Commands of a queue to `/dev/ublkcN`.
pub(super) mod queue {
    use super::{QueueCommand, read_write};

    pub(crate) const FETCH: u32 = read_write(0x20, size_of::<QueueCommand>());
    pub(crate) const COMMIT_AND_FETCH: u32 = read_write(0x21, size_of::<QueueCommand>());
}

/// The kernel's way to make one number of a command's direction, length, letter and number.
const fn encode(direction: u32, number: u32, length: usize) -> u32 {
    direction << 30 | (length as u32) << 16 | (b'u' as u32) << 8 | number
}

const fn write(number: u32, length: usize) -> u32 {
    encode(2, number, length)
}

const fn read_write(number: u32, length: usize) -> u32 {
    encode(3, number, length)
}

/// The server copies data by reading and writing `/dev/ublkcN`.
pub(super) const USER_COPY: u64 = 1 << 7;
/// Commands have the numbers that are used here.
pub(super) const IOCTL_NUMBERS: u64 = 1 << 6;
/// The device can be used.
pub(super) const LIVE: u16 = 1;
/// No device, or no queue, in particular.
pub(super) const ANY_DEVICE: u32 = u32::MAX;
/// See [`ANY_DEVICE`].
pub(super) const NO_QUEUE: u16 = u16::MAX;
/// The most requests that a queue can have.
const MAX_DEPTH: usize = 4096;

/// What is asked for.
pub(super) mod op {
    pub(crate) const READ: u32 = 0;
    pub(crate) const WRITE: u32 = 1;
    pub(crate) const FLUSH: u32 = 2;
    pub(crate) const DISCARD: u32 = 3;
    pub(crate) const WRITE_ZEROES: u32 = 5;
    /// The flags are above this.
    pub(crate) const MASK: u32 = 0xff;
    /// It has to be durable.
    pub(crate) const FUA: u32 = 1 << 13;
    /// Zeroes may not be a hole.
    pub(crate) const NO_UNMAP: u32 = 1 << 15;
}

/// Attributes of a device.
pub(super) mod attribute {
    pub(crate) const READ_ONLY: u32 = 1;
    pub(crate) const VOLATILE_CACHE: u32 = 4;
    pub(crate) const FUA: u32 = 8;
}

/// Which parameters are given: the basic ones, and those of discards.
pub(super) const BASIC_AND_DISCARD: u32 = 3;

macro_rules! messages {
    ($($(#[doc = $doc:literal])+ struct $name:ident { $($field:ident: $type:ty),+ $(,)? })+) => { $(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        pub(super) struct $name { $(pub(super) $field: $type),+ }
    )+ };
}

messages! {
    /// A command to the driver.
    struct ControlCommand {
        dev_id: u32, queue_id: u16, len: u16, addr: u64, data: u64, dev_path_len: u16, pad: u16, reserved: u32,
    }

    /// What is known of a device.
    struct DeviceInfo {
        nr_hw_queues: u16, queue_depth: u16, state: u16, pad0: u16, max_io_buf_bytes: u32, dev_id: u32,
        ublksrv_pid: i32, pad1: u32, flags: u64, ublksrv_flags: u64, owner_uid: u32, owner_gid: u32,
        reserved1: u64, reserved2: u64,
    }

    /// What the device shall be.
    struct Parameters {
        len: u32, types: u32, attrs: u32, logical_bs_shift: u8, physical_bs_shift: u8, io_opt_shift: u8,
        io_min_shift: u8, max_sectors: u32, chunk_sectors: u32, dev_sectors: u64, virt_boundary_mask: u64,
        discard_alignment: u32, discard_granularity: u32, max_discard_sectors: u32,
        max_write_zeroes_sectors: u32, max_discard_segments: u16, reserved0: u16, padding: u32,
    }

    /// A request.
    struct Descriptor { op_flags: u32, nr_sectors: u32, start_sector: u64, addr: u64 }

    /// A command of a queue.
    struct QueueCommand { q_id: u16, tag: u16, result: i32, addr: u64 }
}

/// Where the data of a request is in `/dev/ublkcN`.
pub(super) fn data_offset(queue: u16, tag: u16) -> u64 {
    0x8000_0000 + (u64::from(queue) << 41 | u64::from(tag) << 25)
}

/// Where the descriptors of a queue are in `/dev/ublkcN`.
pub(super) fn descriptors_offset(queue: u16) -> u64 {
    u64::from(queue) * (MAX_DEPTH * size_of::<Descriptor>()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_sizes_are_the_kernel_s() {
        // As a C compiler has them from the kernel's header.
        assert_eq!(control::ADD, 0xc020_7504);
        assert_eq!(control::GET_FEATURES, 0x8020_7513);
        assert_eq!((queue::FETCH, queue::COMMIT_AND_FETCH), (0xc010_7520, 0xc010_7521));
        assert_eq!((size_of::<ControlCommand>(), size_of::<DeviceInfo>()), (32, 64));
        assert_eq!((size_of::<Descriptor>(), size_of::<QueueCommand>()), (24, 16));
        // Up to the parameters of discards, which end at byte 60.
        assert_eq!(std::mem::offset_of!(Parameters, padding), 60);
        assert_eq!(std::mem::offset_of!(Parameters, dev_sectors), 24);
        assert_eq!(data_offset(1, 3), 0x8000_0000 + 0x200_0000_0000 + 0x600_0000);
    }
}
