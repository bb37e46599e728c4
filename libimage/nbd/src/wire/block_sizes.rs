//! The sizes of requests that a server wants (`NBD_INFO_BLOCK_SIZE`).

use super::MAX_PAYLOAD;

/// Sizes of requests, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockSizes {
    /// Offsets and lengths have to be multiples of this power of two.
    pub minimum: u32,
    /// Requests of this size, and of its multiples, cost least.
    pub preferred: u32,
    /// The most that a read or a write may carry; all ones for no limit.
    pub maximum: u32,
}

/// What is usual where a server says nothing.
impl Default for BlockSizes {
    fn default() -> Self {
        BlockSizes { minimum: 1, preferred: 4096, maximum: MAX_PAYLOAD }
    }
}

impl BlockSizes {
    /// Sizes that the document allows.
    pub fn is_valid(&self) -> bool {
        self.minimum.is_power_of_two()
            && self.minimum <= 64 * 1024
            && self.preferred.is_power_of_two()
            && self.preferred >= self.minimum
            && self.maximum >= self.minimum
            && (self.maximum == u32::MAX || self.maximum.is_multiple_of(self.minimum))
    }
}
