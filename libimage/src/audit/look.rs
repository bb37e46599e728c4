//! Reading a file that may be shorter than anything, at places that it names itself.

use std::sync::Arc;

use crate::block::Block;
use crate::error::Result;

/// Reads with bounds: past the end there are no bytes.
pub(super) struct Look {
    storage: Arc<dyn Block>,
}

impl Look {
    pub(super) fn new(storage: Arc<dyn Block>) -> Self {
        Look { storage }
    }

    pub(super) fn storage(&self) -> &Arc<dyn Block> {
        &self.storage
    }

    pub(super) fn size(&self) -> u64 {
        self.storage.size()
    }

    /// Up to `length` bytes at `offset`; fewer, or none, where the file ends before.
    pub(super) fn at(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let available = self.size().saturating_sub(offset).min(length as u64) as usize;
        let mut bytes = vec![0; available];
        self.storage.read_at(&mut bytes, if available == 0 { 0 } else { offset })?;
        Ok(bytes)
    }

    /// The bytes at `offset` are `magic`.
    pub(super) fn is(&self, offset: u64, magic: &[u8]) -> Result<bool> {
        Ok(self.at(offset, magic.len())? == magic)
    }
}
