//! Numbers in the tables and headers of files.

/// Numbers inside bytes; zero where there are too few.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    fn chunk<const N: usize>(&self, offset: usize) -> [u8; N] {
        self.0.get(offset..).and_then(|rest| rest.first_chunk::<N>()).copied().unwrap_or([0; N])
    }

    pub(crate) fn be16(&self, offset: usize) -> u16 {
        u16::from_be_bytes(self.chunk(offset))
    }

    pub(crate) fn be32(&self, offset: usize) -> u32 {
        u32::from_be_bytes(self.chunk(offset))
    }

    pub(crate) fn be64(&self, offset: usize) -> u64 {
        u64::from_be_bytes(self.chunk(offset))
    }

    pub(crate) fn le16(&self, offset: usize) -> u16 {
        u16::from_le_bytes(self.chunk(offset))
    }

    pub(crate) fn le32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.chunk(offset))
    }

    pub(crate) fn le64(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.chunk(offset))
    }
}
