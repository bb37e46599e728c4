//! What a server tells about an export.

use crate::wire::{BlockSizes, Flags, MAX_PAYLOAD};

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
