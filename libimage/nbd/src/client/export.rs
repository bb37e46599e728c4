//! What a server tells about an export.

use crate::wire::{Flags, MAX_PAYLOAD};

/// An export, as its server describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExportInfo {
    /// Bytes.
    pub size: u64,
    /// What it can do.
    pub flags: Flags,
    /// The name that the server prefers, if it told one.
    pub name: Option<String>,
    /// What it is, for people.
    pub description: Option<String>,
    /// The sizes of requests that the server wants.
    pub block: Option<BlockSizes>,
}

/// Sizes of requests, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockSizes {
    /// Offsets and lengths have to be multiples of this power of two.
    pub minimum: u32,
    /// Requests of this size cost least.
    pub preferred: u32,
    /// The most that a read or a write may carry; all ones for no limit.
    pub maximum: u32,
}

impl BlockSizes {
    /// Sizes that the document allows.
    pub(super) fn is_valid(&self) -> bool {
        self.minimum.is_power_of_two()
            && self.minimum <= 64 * 1024
            && self.preferred.is_power_of_two()
            && self.preferred >= self.minimum
            && self.maximum >= self.minimum
            && (self.maximum == u32::MAX || self.maximum.is_multiple_of(self.minimum))
    }
}

/// A metadata context that the server gave a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The server's number, in the answers to `BLOCK_STATUS`.
    pub id: u32,
    /// Its name, such as `base:allocation`.
    pub name: String,
}

impl ExportInfo {
    /// Offsets and lengths of requests have to be multiples of this.
    pub fn alignment(&self) -> u32 {
        self.block.map_or(1, |block| block.minimum)
    }

    /// The most that one read or write carries: a multiple of the alignment.
    pub fn max_payload(&self) -> u32 {
        // More than this may be taken for an attack, whatever else was said.
        let maximum = self.block.map_or(MAX_PAYLOAD, |block| block.maximum.min(MAX_PAYLOAD));
        let alignment = self.alignment();
        (maximum / alignment * alignment).max(alignment)
    }
}
