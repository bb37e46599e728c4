//! The kernel's protocol for file systems in user space, as far as mounts of guests speak it.
//!
//! The kernel of the host asks, the agent answers with what the kernel of the appliance says, and the program
//! between them passes requests and answers on as they are, except that much data goes through the exchange
//! ([`crate::exchange`]) and not over the port. Numbers have the byte order of the machine. Names follow
//! `include/uapi/linux/fuse.h`.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// The port that requests and answers pass through, one after the other, each with its length in front.
pub const PORT: &str = "org.diskwright.fuse";

/// Version of the protocol that the answers follow.
pub const MAJOR: u32 = 7;
/// Its minor version; a kernel with an older one gets that.
pub const MINOR: u32 = 39;
/// Most bytes that one request reads or writes.
pub const MAX_WRITE: u32 = 1 << 20;
/// Pages of one request.
pub const MAX_PAGES: u16 = 256;
/// Longest request or answer: the data, and room for what goes with it.
pub const MAX_MESSAGE: usize = MAX_WRITE as usize + (64 << 10);
/// Requests in the background that the kernel may have under way, and from how many on it holds back.
const BACKGROUND: u16 = 64;
const CONGESTED: u16 = 48;
/// The node at the top.
pub const ROOT: u64 = 1;

/// What is asked for.
pub mod op {
    #![allow(missing_docs, reason = "each is the request of that name")]
    pub const LOOKUP: u32 = 1;
    pub const FORGET: u32 = 2;
    pub const GETATTR: u32 = 3;
    pub const SETATTR: u32 = 4;
    pub const READLINK: u32 = 5;
    pub const SYMLINK: u32 = 6;
    pub const MKNOD: u32 = 8;
    pub const MKDIR: u32 = 9;
    pub const UNLINK: u32 = 10;
    pub const RMDIR: u32 = 11;
    pub const RENAME: u32 = 12;
    pub const LINK: u32 = 13;
    pub const OPEN: u32 = 14;
    pub const READ: u32 = 15;
    pub const WRITE: u32 = 16;
    pub const STATFS: u32 = 17;
    pub const RELEASE: u32 = 18;
    pub const FSYNC: u32 = 20;
    pub const SETXATTR: u32 = 21;
    pub const GETXATTR: u32 = 22;
    pub const LISTXATTR: u32 = 23;
    pub const REMOVEXATTR: u32 = 24;
    pub const FLUSH: u32 = 25;
    pub const INIT: u32 = 26;
    pub const READDIR: u32 = 28;
    pub const FSYNCDIR: u32 = 30;
    pub const CREATE: u32 = 35;
    pub const INTERRUPT: u32 = 36;
    pub const DESTROY: u32 = 38;
    pub const IOCTL: u32 = 39;
    pub const BATCH_FORGET: u32 = 42;
    pub const FALLOCATE: u32 = 43;
    pub const READDIRPLUS: u32 = 44;
    pub const RENAME2: u32 = 45;
    pub const LSEEK: u32 = 46;
    pub const COPY_FILE_RANGE: u32 = 47;
    pub const SYNCFS: u32 = 50;
    pub const TMPFILE: u32 = 51;
    pub const STATX: u32 = 52;

    /// A read whose data goes through a slot of the exchange: [`super::ReadIn`], then [`super::SlotIn`]. Its answer
    /// is [`super::SlotOut`]. The kernel knows nothing of this one and the next.
    pub const READ_SLOT: u32 = 0x4457_0001;
    /// A write whose data lies in a slot of the exchange: [`super::WriteIn`], then [`super::SlotIn`].
    pub const WRITE_SLOT: u32 = 0x4457_0002;
}

/// What the two ends agree on in the beginning; from bit 32 on in the second word.
pub mod init {
    #![allow(missing_docs, reason = "each is the flag of that name")]
    pub const ASYNC_READ: u64 = 1 << 0;
    pub const ATOMIC_O_TRUNC: u64 = 1 << 3;
    pub const BIG_WRITES: u64 = 1 << 5;
    pub const DONT_MASK: u64 = 1 << 6;
    pub const HAS_IOCTL_DIR: u64 = 1 << 11;
    pub const DO_READDIRPLUS: u64 = 1 << 13;
    pub const READDIRPLUS_AUTO: u64 = 1 << 14;
    pub const ASYNC_DIO: u64 = 1 << 15;
    pub const WRITEBACK_CACHE: u64 = 1 << 16;
    pub const NO_OPEN_SUPPORT: u64 = 1 << 17;
    pub const PARALLEL_DIROPS: u64 = 1 << 18;
    pub const POSIX_ACL: u64 = 1 << 20;
    pub const MAX_PAGES: u64 = 1 << 22;
    pub const CACHE_SYMLINKS: u64 = 1 << 23;
    pub const NO_OPENDIR_SUPPORT: u64 = 1 << 24;
    pub const HANDLE_KILLPRIV_V2: u64 = 1 << 28;
    pub const SETXATTR_EXT: u64 = 1 << 29;
    pub const INIT_EXT: u64 = 1 << 30;
}

/// Which attributes [`SetattrIn`] sets.
pub mod fattr {
    #![allow(missing_docs, reason = "each is the flag of that name")]
    pub const MODE: u32 = 1 << 0;
    pub const UID: u32 = 1 << 1;
    pub const GID: u32 = 1 << 2;
    pub const SIZE: u32 = 1 << 3;
    pub const ATIME: u32 = 1 << 4;
    pub const MTIME: u32 = 1 << 5;
    pub const FH: u32 = 1 << 6;
    pub const ATIME_NOW: u32 = 1 << 7;
    pub const MTIME_NOW: u32 = 1 << 8;
    pub const KILL_SUIDGID: u32 = 1 << 11;
}

/// In the answer to an open: nothing is cached, every call is passed on as it is.
pub const FOPEN_DIRECT_IO: u32 = 1;
/// In the answer to an open: what is cached of the file stays valid.
pub const FOPEN_KEEP_CACHE: u32 = 1 << 1;
/// Nothing is asked for when the file is closed.
pub const FOPEN_NOFLUSH: u32 = 1 << 5;
/// Only data and what is needed to find it.
pub const FSYNC_FDATASYNC: u32 = 1;
/// The attributes of an open file are wanted.
pub const GETATTR_FH: u32 = 1;
/// A write by somebody without privileges: set-user-ID and such go.
pub const WRITE_KILL_SUIDGID: u32 = 1 << 2;
/// The same for an open that truncates.
pub const OPEN_KILL_SUIDGID: u32 = 1;
/// The same for a new ACL.
pub const SETXATTR_ACL_KILL_SGID: u32 = 1;

macro_rules! messages {
    ($($(#[doc = $doc:literal])+ struct $name:ident { $($field:ident: $type:ty),+ $(,)? })+) => { $(
        $(#[doc = $doc])+
        #[allow(missing_docs, reason = "fields are called as in the kernel's header")]
        #[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        pub struct $name { $(pub $field: $type),+ }

        impl Default for $name {
            fn default() -> Self {
                Self::new_zeroed()
            }
        }
    )+ };
}

messages! {
    /// In front of every request.
    struct InHeader {
        len: u32, opcode: u32, unique: u64, nodeid: u64, uid: u32, gid: u32, pid: u32, total_extlen: u16,
        padding: u16,
    }

    /// In front of every answer: `error` is zero or a negative number of an error.
    struct OutHeader { len: u32, error: i32, unique: u64 }

    /// What `stat` says.
    struct Attr {
        ino: u64, size: u64, blocks: u64, atime: u64, mtime: u64, ctime: u64, atimensec: u32, mtimensec: u32,
        ctimensec: u32, mode: u32, nlink: u32, uid: u32, gid: u32, rdev: u32, blksize: u32, flags: u32,
    }

    /// A name that was found, or made.
    struct EntryOut {
        nodeid: u64, generation: u64, entry_valid: u64, attr_valid: u64, entry_valid_nsec: u32,
        attr_valid_nsec: u32, attr: Attr,
    }

    /// A node is known to the kernel `nlookup` times less.
    struct ForgetIn { nlookup: u64 }

    /// One of many of those.
    struct ForgetOne { nodeid: u64, nlookup: u64 }

    /// How many.
    struct BatchForgetIn { count: u32, dummy: u32 }

    /// Whose attributes.
    struct GetattrIn { getattr_flags: u32, dummy: u32, fh: u64 }

    /// Attributes.
    struct AttrOut { attr_valid: u64, attr_valid_nsec: u32, dummy: u32, attr: Attr }

    /// Attributes to be set.
    struct SetattrIn {
        valid: u32, padding: u32, fh: u64, size: u64, lock_owner: u64, atime: u64, mtime: u64, ctime: u64,
        atimensec: u32, mtimensec: u32, ctimensec: u32, mode: u32, unused4: u32, uid: u32, gid: u32,
        unused5: u32,
    }

    /// A node to be made.
    struct MknodIn { mode: u32, rdev: u32, umask: u32, padding: u32 }

    /// A directory to be made.
    struct MkdirIn { mode: u32, umask: u32 }

    /// Where a name goes.
    struct RenameIn { newdir: u64 }

    /// Where a name goes, and how.
    struct Rename2In { newdir: u64, flags: u32, padding: u32 }

    /// What gets one more name.
    struct LinkIn { oldnodeid: u64 }

    /// How a file is opened.
    struct OpenIn { flags: u32, open_flags: u32 }

    /// How a file is made and opened.
    struct CreateIn { flags: u32, mode: u32, umask: u32, open_flags: u32 }

    /// An open file.
    struct OpenOut { fh: u64, open_flags: u32, padding: u32 }

    /// A file is not open any more.
    struct ReleaseIn { fh: u64, flags: u32, release_flags: u32, lock_owner: u64 }

    /// What to read, of a file or a directory.
    struct ReadIn {
        fh: u64, offset: u64, size: u32, read_flags: u32, lock_owner: u64, flags: u32, padding: u32,
    }

    /// Where to write what follows.
    struct WriteIn {
        fh: u64, offset: u64, size: u32, write_flags: u32, lock_owner: u64, flags: u32, padding: u32,
    }

    /// How much was written.
    struct WriteOut { size: u32, padding: u32 }

    /// The slot of the exchange that is lent with a request.
    struct SlotIn { slot: u32, padding: u32 }

    /// How many bytes were put into it.
    struct SlotOut { size: u32, padding: u32 }

    /// What `statfs` says.
    struct StatfsOut {
        blocks: u64, bfree: u64, bavail: u64, files: u64, ffree: u64, bsize: u32, namelen: u32, frsize: u32,
        padding: u32, spare: [u32; 6],
    }

    /// What is to be durable.
    struct FsyncIn { fh: u64, fsync_flags: u32, padding: u32 }

    /// An extended attribute to be set; its name and value follow.
    struct SetxattrIn { size: u32, flags: u32, setxattr_flags: u32, padding: u32 }

    /// Room for an extended attribute, or none: then its size is wanted.
    struct GetxattrIn { size: u32, padding: u32 }

    /// The size.
    struct GetxattrOut { size: u32, padding: u32 }

    /// What the kernel can.
    struct InitIn { major: u32, minor: u32, max_readahead: u32, flags: u32, flags2: u32, unused: [u32; 11] }

    /// What is used of it.
    struct InitOut {
        major: u32, minor: u32, max_readahead: u32, flags: u32, max_background: u16,
        congestion_threshold: u16, max_write: u32, time_gran: u32, max_pages: u16, map_alignment: u16,
        flags2: u32, unused: [u32; 7],
    }

    /// Which request is not waited for any more.
    struct InterruptIn { unique: u64 }

    /// A call of a file's own.
    struct IoctlIn { fh: u64, flags: u32, cmd: u32, arg: u64, in_size: u32, out_size: u32 }

    /// What it returned.
    struct IoctlOut { result: i32, flags: u32, in_iovs: u32, out_iovs: u32 }

    /// Room to be had or given back.
    struct FallocateIn { fh: u64, offset: u64, length: u64, mode: u32, padding: u32 }

    /// A name in a directory, which follows; the whole is filled up to a multiple of eight bytes.
    struct Dirent { ino: u64, off: u64, namelen: u32, kind: u32 }

    /// Where to look for data or a hole.
    struct LseekIn { fh: u64, offset: u64, whence: u32, padding: u32 }

    /// Where it is.
    struct LseekOut { offset: u64 }

    /// Bytes to be copied from file to file.
    struct CopyFileRangeIn {
        fh_in: u64, off_in: u64, nodeid_out: u64, fh_out: u64, off_out: u64, len: u64, flags: u64,
    }

    /// Whose attributes, and which.
    struct StatxIn { getattr_flags: u32, reserved: u32, fh: u64, sx_flags: u32, sx_mask: u32 }

    /// A point in time.
    struct SxTime { tv_sec: i64, tv_nsec: u32, reserved: i32 }

    /// What `statx` says.
    struct Statx {
        mask: u32, blksize: u32, attributes: u64, nlink: u32, uid: u32, gid: u32, mode: u16, spare0: u16,
        ino: u64, size: u64, blocks: u64, attributes_mask: u64, atime: SxTime, btime: SxTime, ctime: SxTime,
        mtime: SxTime, rdev_major: u32, rdev_minor: u32, dev_major: u32, dev_minor: u32, spare2: [u64; 14],
    }

    /// Those attributes.
    struct StatxOut { attr_valid: u64, attr_valid_nsec: u32, flags: u32, spare: [u64; 2], stat: Statx }
}

/// Bytes of the header of a request.
pub const IN_HEADER: usize = size_of::<InHeader>();
/// Bytes of the header of an answer.
pub const OUT_HEADER: usize = size_of::<OutHeader>();

impl InitIn {
    /// Reads the first request, which is shorter from kernels before Linux 5.17.
    pub fn of(bytes: &[u8]) -> Self {
        let mut all = [0; size_of::<InitIn>()];
        let count = bytes.len().min(all.len());
        if let (Some(place), Some(given)) = (all.get_mut(..count), bytes.get(..count)) {
            place.copy_from_slice(given);
        }
        zerocopy::transmute!(all)
    }

    /// The flags of both words.
    pub fn all_flags(&self) -> u64 {
        u64::from(self.flags) | u64::from(self.flags2) << 32
    }
}

impl InitOut {
    /// The answer to an offer: `flags` are used of what it has.
    pub fn to(offered: &InitIn, flags: u64) -> Self {
        let flags = flags & offered.all_flags();
        InitOut {
            major: MAJOR,
            minor: MINOR.min(offered.minor),
            max_readahead: offered.max_readahead.max(MAX_WRITE),
            flags: (flags & u64::from(u32::MAX)) as u32,
            flags2: (flags >> 32) as u32,
            max_background: BACKGROUND,
            congestion_threshold: CONGESTED,
            max_write: MAX_WRITE,
            time_gran: 1,
            max_pages: MAX_PAGES,
            ..InitOut::default()
        }
    }
}

/// An answer without contents.
pub fn answer(unique: u64, error: i32) -> OutHeader {
    OutHeader { len: OUT_HEADER as u32, error, unique }
}

/// True for requests that nobody answers.
pub fn is_one_way(opcode: u32) -> bool {
    matches!(opcode, op::FORGET | op::BATCH_FORGET | op::INTERRUPT)
}

/// Adds a name of a directory to a listing, unless it would get longer than `room`; with `entry`, what the
/// name leads to. False if it does not fit.
pub fn push_dirent(
    list: &mut Vec<u8>,
    room: usize,
    entry: Option<&EntryOut>,
    mut dirent: Dirent,
    name: &[u8],
) -> bool {
    let head = entry.map_or(0, |_| size_of::<EntryOut>()) + size_of::<Dirent>();
    let length = (head + name.len()).next_multiple_of(8);
    if list.len() + length > room {
        return false;
    }
    let end = list.len() + length;
    if let Some(entry) = entry {
        list.extend_from_slice(entry.as_bytes());
    }
    dirent.namelen = name.len() as u32;
    list.extend_from_slice(dirent.as_bytes());
    list.extend_from_slice(name);
    list.resize(end, 0);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_sizes_of_the_kernel_s() {
        // Of 7.39, as the kernel's header gives them.
        let sizes = [
            (size_of::<InHeader>(), 40),
            (size_of::<OutHeader>(), 16),
            (size_of::<Attr>(), 88),
            (size_of::<EntryOut>(), 128),
            (size_of::<AttrOut>(), 104),
            (size_of::<SetattrIn>(), 88),
            (size_of::<ReadIn>(), 40),
            (size_of::<WriteIn>(), 40),
            (size_of::<StatfsOut>(), 80),
            (size_of::<InitIn>(), 64),
            (size_of::<InitOut>(), 64),
            (size_of::<CopyFileRangeIn>(), 56),
            (size_of::<Statx>(), 256),
            (size_of::<StatxOut>(), 288),
        ];
        for (number, (ours, theirs)) in sizes.into_iter().enumerate() {
            assert_eq!(ours, theirs, "message {number}");
        }
    }

    #[test]
    fn names_fill_up_to_eight_bytes_and_no_more_than_the_room() {
        let mut list = Vec::new();
        assert!(push_dirent(&mut list, 64, None, Dirent::default(), b"abc"));
        assert_eq!(list.len(), 32);
        assert!(push_dirent(&mut list, 64, None, Dirent::default(), b"12345678"));
        assert!(!push_dirent(&mut list, 64, None, Dirent::default(), b"x"));
        assert_eq!(list.len(), 64);
    }
}
