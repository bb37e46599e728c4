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

/// Numbers inside bytes; zero where there are too few.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    fn chunk<const N: usize>(&self, offset: usize) -> [u8; N] {
        self.0.get(offset..).and_then(|rest| rest.first_chunk::<N>()).copied().unwrap_or([0; N])
    }

    pub(super) fn be32(&self, offset: usize) -> u32 {
        u32::from_be_bytes(self.chunk(offset))
    }

    pub(super) fn be64(&self, offset: usize) -> u64 {
        u64::from_be_bytes(self.chunk(offset))
    }

    pub(super) fn le32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.chunk(offset))
    }

    pub(super) fn le64(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.chunk(offset))
    }
}
