//! Options of the handshake, and the answers to them.

use super::{OPTION_MAGIC, OPTION_REPLY_MAGIC, be32, be64};

/// Bytes of an option's header.
pub const OPTION_HEADER: usize = 16;
/// Bytes of the header of an answer.
pub const OPTION_REPLY_HEADER: usize = 20;
/// Bytes of the answer to `EXPORT_NAME`, padding apart.
pub const EXPORT_REPLY: usize = 10;

/// Numbers of options.
pub mod opt {
    /// Choose an export and go on to transmission; cannot fail but by closing.
    pub const EXPORT_NAME: u32 = 1;
    /// The end.
    pub const ABORT: u32 = 2;
    /// Names of all exports.
    pub const LIST: u32 = 3;
    /// Go on encrypted.
    pub const STARTTLS: u32 = 5;
    /// What is known of an export.
    pub const INFO: u32 = 6;
    /// Choose an export and go on to transmission.
    pub const GO: u32 = 7;
    /// Answers in chunks.
    pub const STRUCTURED_REPLY: u32 = 8;
    /// Which metadata contexts there are.
    pub const LIST_META_CONTEXT: u32 = 9;
    /// Choose metadata contexts.
    pub const SET_META_CONTEXT: u32 = 10;
    /// Requests and answers with lengths of 64 bits.
    pub const EXTENDED_HEADERS: u32 = 11;
}

/// Types of answers.
pub mod rep {
    /// Done.
    pub const ACK: u32 = 1;
    /// One export of a list.
    pub const SERVER: u32 = 2;
    /// Something about an export.
    pub const INFO: u32 = 3;
    /// One metadata context.
    pub const META_CONTEXT: u32 = 4;
    /// The bit that all errors have.
    pub const ERROR: u32 = 1 << 31;
}

/// Types of answers that are errors.
pub mod rep_err {
    use super::rep::ERROR;
    /// The server does not know the option.
    pub const UNSUP: u32 = ERROR | 1;
    /// The server is told not to.
    pub const POLICY: u32 = ERROR | 2;
    /// The option makes no sense.
    pub const INVALID: u32 = ERROR | 3;
    /// Not on this platform.
    pub const PLATFORM: u32 = ERROR | 4;
    /// Only encrypted.
    pub const TLS_REQD: u32 = ERROR | 5;
    /// No such export.
    pub const UNKNOWN: u32 = ERROR | 6;
    /// The server is about to stop.
    pub const SHUTDOWN: u32 = ERROR | 7;
    /// The client has to ask for block sizes.
    pub const BLOCK_SIZE_REQD: u32 = ERROR | 8;
    /// Too much data.
    pub const TOO_BIG: u32 = ERROR | 9;
    /// Only with extended headers.
    pub const EXT_HEADER_REQD: u32 = ERROR | 10;
}

/// Kinds of information about an export.
pub mod info {
    /// Size and flags.
    pub const EXPORT: u16 = 0;
    /// Its name.
    pub const NAME: u16 = 1;
    /// What it is, for people.
    pub const DESCRIPTION: u16 = 2;
    /// Sizes of requests.
    pub const BLOCK_SIZE: u16 = 3;
}

/// The header of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionHeader {
    /// Its number: see [`opt`].
    pub option: u32,
    /// Bytes of data that follow.
    pub length: u32,
}

impl OptionHeader {
    /// Appends it to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&OPTION_MAGIC.to_be_bytes());
        out.extend_from_slice(&self.option.to_be_bytes());
        out.extend_from_slice(&self.length.to_be_bytes());
    }

    /// Reads the header, or nothing if the bytes are none.
    pub fn decode(bytes: &[u8; OPTION_HEADER]) -> Option<Self> {
        let header = OptionHeader { option: be32(bytes, 8), length: be32(bytes, 12) };
        (be64(bytes, 0) == OPTION_MAGIC).then_some(header)
    }
}

/// The header of an answer to an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionReply {
    /// Which option is answered.
    pub option: u32,
    /// What the answer is: see [`rep`] and [`rep_err`].
    pub kind: u32,
    /// Bytes of data that follow.
    pub length: u32,
}

impl OptionReply {
    /// Appends it to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&OPTION_REPLY_MAGIC.to_be_bytes());
        out.extend_from_slice(&self.option.to_be_bytes());
        out.extend_from_slice(&self.kind.to_be_bytes());
        out.extend_from_slice(&self.length.to_be_bytes());
    }

    /// Reads the header, or nothing if the bytes are none.
    pub fn decode(bytes: &[u8; OPTION_REPLY_HEADER]) -> Option<Self> {
        let reply = OptionReply { option: be32(bytes, 8), kind: be32(bytes, 12), length: be32(bytes, 16) };
        (be64(bytes, 0) == OPTION_REPLY_MAGIC).then_some(reply)
    }

    /// The answer is a refusal.
    pub fn is_error(&self) -> bool {
        self.kind & rep::ERROR != 0
    }
}
