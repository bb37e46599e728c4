//! The kernel calls that have no safe wrapper.

use rustix::ioctl::{Getter, IntegerSetter, NoArg, Setter, ioctl};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// From now on the thread's root, working directory and umask are its own.
pub(crate) fn own_root_for_this_thread() -> io::Result<()> {
    // SAFETY: unshare(CLONE_FS) gives the calling thread a copy of its root, working directory and umask.
    // It touches no memory and no descriptors.
    match unsafe { libc::unshare(libc::CLONE_FS) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Has the program start with `root` as its root directory and working directory.
pub(crate) fn set_root(command: &mut Command, root: OwnedFd) {
    let enter = move || {
        rustix::process::fchdir(&root)?;
        rustix::process::chroot(".")?;
        Ok(())
    };
    // SAFETY: between fork and exec this makes two system calls and allocates nothing.
    unsafe { command.pre_exec(enter) };
}

/// Reads the partition table of a disk again.
pub(crate) fn reread_partitions(disk: impl AsFd) -> io::Result<()> {
    // SAFETY: BLKRRPART (0x125f) takes no argument.
    Ok(unsafe { ioctl(disk, NoArg::<0x125f>::new()) }?)
}

/// Writes what is cached for a device to it.
pub(crate) fn flush_buffers(device: impl AsFd) -> io::Result<()> {
    // SAFETY: BLKFLSBUF (0x1261) takes no argument that the kernel reads.
    Ok(unsafe { ioctl(device, NoArg::<0x1261>::new()) }?)
}

/// The kernel's block size for a device, in bytes.
pub(crate) fn block_size(device: impl AsFd) -> io::Result<i32> {
    // SAFETY: BLKBSZGET writes one int, although its number was made with the size of a size_t.
    Ok(unsafe { ioctl(device, Getter::<{ opcode_bszget() }, i32>::new()) }?)
}

const fn opcode_bszget() -> rustix::ioctl::Opcode {
    rustix::ioctl::opcode::read::<usize>(0x12, 112)
}

/// Sets how far the kernel reads ahead on a device, in units of 512 bytes.
pub(crate) fn set_read_ahead(device: impl AsFd, sectors: usize) -> io::Result<()> {
    // SAFETY: BLKRASET (0x1262) takes its argument by value.
    Ok(unsafe { ioctl(device, IntegerSetter::<0x1262>::new_usize(sectors)) }?)
}

/// Discards the first `length` bytes of a device.
pub(crate) fn discard(device: impl AsFd, length: u64) -> io::Result<()> {
    // SAFETY: BLKDISCARD (0x1277) reads two 64-bit numbers, start and length.
    Ok(unsafe { ioctl(device, Setter::<0x1277, [u64; 2]>::new([0, length])) }?)
}

/// True if discarded blocks of a device are sure to read as zeroes.
pub(crate) fn discard_zeroes(device: impl AsFd) -> io::Result<bool> {
    // SAFETY: BLKDISCARDZEROES (0x127c) writes one int.
    let answer: i32 = unsafe { ioctl(device, Getter::<0x127c, i32>::new()) }?;
    Ok(answer != 0)
}

/// `struct loop_config` with the `struct loop_info64` in it.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    /// Device, inode and device number, which the kernel fills in; offset and limit of size.
    numbers: [u64; 5],
    /// Number, type and length of encryption; flags.
    words: [u32; 4],
    names: [u8; 64 + 64 + 32],
    init: [u64; 2],
    reserved: [u64; 8],
}

/// Has a loop device show a file until nobody has the device open any more.
pub(crate) fn set_loop_file(device: impl AsFd, file: impl AsFd, read_only: bool) -> io::Result<()> {
    const LO_FLAGS_READ_ONLY: u32 = 1;
    const LO_FLAGS_AUTOCLEAR: u32 = 4;
    let fd = u32::try_from(file.as_fd().as_raw_fd()).map_err(io::Error::other)?;
    let flags = LO_FLAGS_AUTOCLEAR | if read_only { LO_FLAGS_READ_ONLY } else { 0 };
    let config = LoopConfig {
        fd,
        block_size: 0,
        numbers: [0; 5],
        words: [0, 0, 0, flags],
        names: [0; 64 + 64 + 32],
        init: [0; 2],
        reserved: [0; 8],
    };
    // SAFETY: LOOP_CONFIGURE (0x4c0a) reads one `struct loop_config`, which LoopConfig is.
    Ok(unsafe { ioctl(device, Setter::<0x4c0a, LoopConfig>::new(config)) }?)
}

/// The number of a loop device that nobody uses, made if need be.
pub(crate) fn free_loop_device(control: impl AsFd) -> io::Result<u32> {
    // SAFETY: LOOP_CTL_GET_FREE (0x4c82) takes no argument and returns a number.
    match unsafe { libc::ioctl(control.as_fd().as_raw_fd(), 0x4c82) } {
        number if number >= 0 => u32::try_from(number).map_err(io::Error::other),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes a device read-only or writable.
pub(crate) fn set_read_only(device: impl AsFd, read_only: bool) -> io::Result<()> {
    // SAFETY: BLKROSET (0x125d) reads one int through its argument.
    Ok(unsafe { ioctl(device, Setter::<0x125d, i32>::new(i32::from(read_only))) }?)
}

/// `FITRIM`'s argument: a range of the file system in bytes, and the smallest extent worth it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct TrimRange {
    pub(crate) start: u64,
    pub(crate) len: u64,
    pub(crate) minlen: u64,
}

/// Gives unused space of a mounted file system back to its disk.
pub(crate) fn trim(directory: impl AsFd, mut range: TrimRange) -> io::Result<()> {
    let fd = directory.as_fd().as_raw_fd();
    // SAFETY: FITRIM reads and writes one `struct fstrim_range`, which TrimRange is, for the time of the call.
    match unsafe { libc::ioctl(fd, 0xc018_5879, &mut range) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `struct blkpg_partition`.
#[repr(C)]
struct PartitionArgument {
    start: i64,
    length: i64,
    number: i32,
    names: [u8; 128],
}

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct PartitionRequest {
    op: i32,
    flags: i32,
    length: i32,
    data: *mut PartitionArgument,
}

/// What the kernel is to do with a partition that it knows or is to know.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PartitionChange {
    /// Make it known, at a place in bytes.
    Add { start: i64, length: i64 },
    /// Forget it; fails while it is in use.
    Forget,
}

/// Tells the kernel of one partition of a disk, without it reading the disk.
pub(crate) fn change_partition(disk: impl AsFd, number: i32, change: PartitionChange) -> io::Result<()> {
    let (op, start, length) = match change {
        PartitionChange::Add { start, length } => (1, start, length),
        PartitionChange::Forget => (2, 0, 0),
    };
    let mut data = PartitionArgument { start, length, number, names: [0; 128] };
    let size = i32::try_from(std::mem::size_of::<PartitionArgument>()).map_err(io::Error::other)?;
    let mut request = PartitionRequest { op, flags: 0, length: size, data: &mut data };
    // SAFETY: BLKPG (0x1269) reads one `struct blkpg_ioctl_arg` and the `struct blkpg_partition` that it points
    // to, which the two types above are; both live until the call returns.
    match unsafe { libc::ioctl(disk.as_fd().as_raw_fd(), 0x1269, &mut request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn socket_address(address: Ipv4Addr) -> libc::sockaddr {
    let inner = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from(address).to_be() },
        sin_zero: [0; 8],
    };
    // SAFETY: both are plain data of 16 bytes, and any bytes are a `sockaddr`.
    unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(inner) }
}

/// Gives a network interface its address, and switches it on. `socket` is any socket of its family.
pub(crate) fn set_address(
    socket: impl AsFd,
    interface: &str,
    address: Ipv4Addr,
    mask: Ipv4Addr,
) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: `ifreq` is plain data, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero.
    let room = request.ifr_name.len().saturating_sub(1);
    if interface.is_empty() || interface.len() > room {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name of an interface is too long"));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    for (number, address) in [(libc::SIOCSIFADDR, address), (libc::SIOCSIFNETMASK, mask)] {
        request.ifr_ifru.ifru_addr = socket_address(address);
        // SAFETY: both calls read a `struct ifreq` with an address in it, for the time of the call.
        check(unsafe { libc::ioctl(fd, number, &raw const request) })?;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads a `struct ifreq` with flags in it, for the time of the call.
    check(unsafe { libc::ioctl(fd, libc::SIOCSIFFLAGS, &raw const request) })
}

/// A way for packets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub(crate) to: Ipv4Addr,
    pub(crate) mask: Ipv4Addr,
    /// Who takes them.
    pub(crate) by: Ipv4Addr,
}

/// Adds a way over a gateway.
pub(crate) fn add_route(socket: impl AsFd, route: Route) -> io::Result<()> {
    // SAFETY: `rtentry` is plain data, for which zero, its pointer included, is a value.
    let mut entry: libc::rtentry = unsafe { std::mem::zeroed() };
    entry.rt_dst = socket_address(route.to);
    entry.rt_genmask = socket_address(route.mask);
    entry.rt_gateway = socket_address(route.by);
    entry.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
    // SAFETY: SIOCADDRT reads a `struct rtentry`, for the time of the call.
    check(unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCADDRT, &raw const entry) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Has what is cached of a part of a file sent to its disk, without waiting.
pub(crate) fn start_writing(file: &std::fs::File, offset: u64, length: u64) {
    sync_range(file, offset, length, libc::SYNC_FILE_RANGE_WRITE);
}

/// Waits until what was sent of a part of a file is on its disk.
pub(crate) fn wait_for_writing(file: &std::fs::File, offset: u64, length: u64) {
    let all =
        libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    sync_range(file, offset, length, all);
}

fn sync_range(file: &std::fs::File, offset: u64, length: u64, flags: libc::c_uint) {
    let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) else { return };
    if length > 0 {
        // SAFETY: takes numbers only. What it does not know of a file it refuses, and nothing depends on it.
        unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, flags) };
    }
}
