//! What goes over the wire: numbers and headers, encoded and decoded, without any state.
//!
//! All integers are big-endian. Lengths that peers declare are decoded here and judged by those who read on.

mod block_sizes;
mod command;
mod errno;
mod flags;
mod option;
mod reply;

pub use block_sizes::BlockSizes;
pub use command::{COMPACT_REQUEST, Command, EXTENDED_REQUEST, Request, RequestError};
pub use errno::Errno;
pub use flags::{Flags, cmd};
pub use option::{
    EXPORT_REPLY, OPTION_HEADER, OPTION_REPLY_HEADER, OptionHeader, OptionReply, info, opt, rep, rep_err,
};
pub use reply::{ChunkHeader, ERROR_HEADER, EXTENDED_CHUNK, SIMPLE_REPLY, STRUCTURED_CHUNK, chunk};

/// The first eight bytes that a server sends.
pub const NBD_MAGIC: u64 = 0x4e42_444d_4147_4943;
/// Newstyle negotiation; also in front of each option of the client.
pub const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
/// Oldstyle: there is no negotiation.
pub const OLDSTYLE_MAGIC: u64 = 0x0000_4202_8186_1253;
/// In front of each answer to an option.
pub const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;

/// The server speaks fixed newstyle; the client understands that.
pub const FLAG_FIXED_NEWSTYLE: u16 = 1;
/// The zeroes after the answer to `EXPORT_NAME` are left out.
pub const FLAG_NO_ZEROES: u16 = 2;

/// Bytes of zeroes after an export's size and flags, in oldstyle and in the answer to `EXPORT_NAME`.
pub const PADDING: usize = 124;

/// The longest name, description or query that the protocol allows, in bytes.
pub const MAX_STRING: usize = 4096;
/// Payloads up to this size have to be accepted, larger ones may be refused.
pub const MAX_PAYLOAD: u32 = 32 * 1024 * 1024;
/// A peer that sends an option with more data than this is not worth listening to.
pub const MAX_OPTION: u32 = 32 * 1024 * 1024;

/// Where a client looks for a server.
pub const DEFAULT_PORT: u16 = 10809;

/// Numbers at fixed places of a header whose length is known.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    if let Some(part) = bytes.get(at..).and_then(|rest| rest.get(..N)) {
        out.copy_from_slice(part);
    }
    out
}

/// The big-endian number of 16 bits at `at`; zero beyond the end.
pub fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array(bytes, at))
}

/// The big-endian number of 32 bits at `at`; zero beyond the end.
pub fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at))
}

/// The big-endian number of 64 bits at `at`; zero beyond the end.
pub fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(array(bytes, at))
}
