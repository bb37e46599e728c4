//! What is on a disk: partition tables. Each partition is again a block device.

pub mod gpt;
pub mod mbr;

use std::sync::Arc;

use crate::block::Block;
use crate::error::Result;
use crate::filter::Slice;

/// The kind of a partition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKind {
    /// GUID partition table (UEFI specification, chapter 5).
    Gpt,
    /// Master boot record, with logical partitions in an extended one.
    Mbr,
}

/// A partition table as read.
#[derive(Debug, Clone)]
pub struct Table {
    /// Which kind.
    pub kind: TableKind,
    /// The partitions, by number.
    pub partitions: Vec<Partition>,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// As in `/dev/sda3`: from 1; logical partitions from 5.
    pub number: u32,
    /// First byte on the disk.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// MBR type byte.
    pub mbr_type: Option<u8>,
    /// GPT type, as upper-case text.
    pub gpt_type: Option<String>,
    /// GPT partition GUID, as upper-case text.
    pub guid: Option<String>,
    /// GPT partition name.
    pub name: Option<String>,
    /// It is an extended partition: a container of logical ones.
    pub extended: bool,
}

impl Partition {
    /// The partition as a block device of its own.
    ///
    /// # Errors
    /// When the table says that it reaches beyond the disk.
    pub fn open(&self, disk: &Arc<dyn Block>) -> Result<Slice> {
        Slice::new(Arc::clone(disk), self.start, self.size)
    }
}

/// Reads the partition table of a disk with sectors of 512 bytes; `None` if it has none.
///
/// # Errors
/// When the disk cannot be read, or has a table that is damaged beyond use.
pub fn partitions(disk: &Arc<dyn Block>) -> Result<Option<Table>> {
    if let Some(table) = gpt::read(disk)? {
        return Ok(Some(table));
    }
    mbr::read(disk)
}
