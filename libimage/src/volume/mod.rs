//! What is on disks: partition tables, arrays and volume groups. Each partition, array and volume is again a block device.

pub mod gpt;
pub mod lvm;
pub mod mbr;
pub mod md;

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
    /// It is not as it should be: read from its backup, or with entries that were left out because they make
    /// no sense. Others may see different partitions on this disk.
    pub damaged: bool,
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
/// A GUID table counts only under a protective master boot record (UEFI 2.10, section 5.2.3), as for Linux:
/// without one it is what an older use of the disk left behind.
///
/// # Errors
/// When the disk cannot be read, or has a table that is damaged beyond use.
pub fn partitions(disk: &Arc<dyn Block>) -> Result<Option<Table>> {
    if mbr::is_protective(disk)?
        && let Some(table) = gpt::read(disk)?
    {
        return Ok(Some(table));
    }
    mbr::read(disk)
}
