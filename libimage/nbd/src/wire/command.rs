//! Requests of the transmission phase.

use super::{Flags, be16, be32, be64, cmd};

/// Bytes of a request.
pub const COMPACT_REQUEST: usize = 28;
/// Bytes of a request when extended headers were agreed upon.
pub const EXTENDED_REQUEST: usize = 32;

const COMPACT_MAGIC: u32 = 0x2560_9513;
const EXTENDED_MAGIC: u32 = 0x21e4_1c71;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Bytes.
    Read,
    /// Bytes are given.
    Write,
    /// The end. Not answered.
    Disconnect,
    /// What was answered is to be durable.
    Flush,
    /// A range is not needed any more.
    Trim,
    /// A range will be read soon.
    Cache,
    /// A range shall read as zeroes.
    WriteZeroes,
    /// What is known of a range.
    BlockStatus,
    /// Another size (experimental).
    Resize,
    /// Something that the protocol does not know.
    Unknown(u16),
}

impl Command {
    /// The number on the wire.
    pub fn number(self) -> u16 {
        match self {
            Command::Read => 0,
            Command::Write => 1,
            Command::Disconnect => 2,
            Command::Flush => 3,
            Command::Trim => 4,
            Command::Cache => 5,
            Command::WriteZeroes => 6,
            Command::BlockStatus => 7,
            Command::Resize => 8,
            Command::Unknown(number) => number,
        }
    }

    /// The command with this number.
    pub fn received(number: u16) -> Self {
        match number {
            0 => Command::Read,
            1 => Command::Write,
            2 => Command::Disconnect,
            3 => Command::Flush,
            4 => Command::Trim,
            5 => Command::Cache,
            6 => Command::WriteZeroes,
            7 => Command::BlockStatus,
            8 => Command::Resize,
            other => Command::Unknown(other),
        }
    }

    /// The flags that it may carry on an export with these flags. FUA is harmless wherever the export knows it.
    pub fn flags_allowed(self, export: Flags, extended: bool) -> u16 {
        let fua = if export.has(Flags::FUA) { cmd::FUA } else { 0 };
        let payload = if extended { cmd::PAYLOAD_LEN } else { 0 };
        fua | match self {
            Command::Read if export.has(Flags::DF) => cmd::DF,
            Command::Write => payload,
            Command::WriteZeroes if export.has(Flags::FAST_ZERO) => cmd::NO_HOLE | cmd::FAST_ZERO,
            Command::WriteZeroes => cmd::NO_HOLE,
            Command::BlockStatus if export.has(Flags::BLOCK_STATUS_PAYLOAD) => cmd::REQ_ONE | payload,
            Command::BlockStatus => cmd::REQ_ONE,
            _ => 0,
        }
    }
}

/// The header of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Flags of the command: see [`cmd`].
    pub flags: u16,
    /// What is asked for.
    pub command: Command,
    /// Comes back with the answer.
    pub cookie: u64,
    /// First byte of the range.
    pub offset: u64,
    /// Bytes of the range, or of the payload.
    pub length: u64,
}

/// Bytes that are no request: the connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid magic (got 0x{0:x})")]
pub struct RequestError(pub u32);

impl Request {
    /// Appends it to `out`. Without extended headers the length has to fit into 32 bits.
    pub fn encode(&self, extended: bool, out: &mut Vec<u8>) {
        let magic = if extended { EXTENDED_MAGIC } else { COMPACT_MAGIC };
        out.extend_from_slice(&magic.to_be_bytes());
        out.extend_from_slice(&self.flags.to_be_bytes());
        out.extend_from_slice(&self.command.number().to_be_bytes());
        out.extend_from_slice(&self.cookie.to_be_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
        if extended {
            out.extend_from_slice(&self.length.to_be_bytes());
        } else {
            out.extend_from_slice(&u32::try_from(self.length).unwrap_or(u32::MAX).to_be_bytes());
        }
    }

    /// Reads the header at the start of `bytes`, which has to be whole.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(bytes: &[u8], extended: bool) -> Result<Self, RequestError> {
        let magic = be32(bytes, 0);
        if magic != if extended { EXTENDED_MAGIC } else { COMPACT_MAGIC } {
            return Err(RequestError(magic));
        }
        Ok(Request {
            flags: be16(bytes, 4),
            command: Command::received(be16(bytes, 6)),
            cookie: be64(bytes, 8),
            offset: be64(bytes, 16),
            length: if extended { be64(bytes, 24) } else { u64::from(be32(bytes, 24)) },
        })
    }

    /// Bytes of payload that follow the header.
    pub fn payload(&self, extended: bool) -> u64 {
        let announced = extended && self.flags & cmd::PAYLOAD_LEN != 0;
        if announced || self.command == Command::Write { self.length } else { 0 }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;

    #[test]
    fn headers_as_the_document_has_them() {
        let request =
            Request { flags: cmd::FUA, command: Command::Write, cookie: 7, offset: 1 << 40, length: 512 };
        let mut bytes = Vec::new();
        request.encode(false, &mut bytes);
        assert_eq!(bytes.len(), COMPACT_REQUEST);
        assert_eq!(&bytes[..8], [0x25, 0x60, 0x95, 0x13, 0, 1, 0, 1]);
        assert_eq!(&bytes[16..], [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0]);
        assert_eq!(Request::decode(&bytes, false), Ok(request));
        assert_eq!(Request::decode(&bytes, true), Err(RequestError(0x2560_9513)));
        bytes.clear();
        request.encode(true, &mut bytes);
        assert_eq!(bytes.len(), EXTENDED_REQUEST);
        assert_eq!(Request::decode(&bytes, true), Ok(request));
        for number in 0..20 {
            assert_eq!(Command::received(number).number(), number);
        }
    }
}
