//! Read-only views of file systems, straight from the block device.

mod acl;
pub mod btrfs;
pub mod detect;
mod device;
pub mod erofs;
pub mod exfat;
pub mod ext4;
pub mod fat;
pub mod iso9660;
pub mod ntfs;
pub mod squashfs;
pub mod system;
pub mod xfs;

pub use detect::{Content, detect};

use std::sync::Arc;

use crate::block::Block;

/// Opens the file system on `block`, of which [`detect`] has said the kind. `others` gives further devices, of which
/// those are taken that are part of the same file system; it is called only where there must be some.
///
/// # Errors
/// [`system::FsError::Unsupported`] where there is no reader for it, and what the reader says.
pub fn open(
    kind: &str,
    block: Arc<dyn Block>,
    others: &dyn Fn() -> Vec<Arc<dyn Block>>,
) -> system::Result<Arc<dyn system::FileSystem>> {
    match kind {
        "btrfs" => Ok(Arc::new(btrfs::Btrfs::open(block, others)?)),
        "ext2" | "ext3" | "ext4" => Ok(Arc::new(ext4::Ext4::open(block)?)),
        "xfs" => Ok(Arc::new(xfs::Xfs::open(block)?)),
        "erofs" => Ok(Arc::new(erofs::Erofs::open(block)?)),
        "exfat" => Ok(Arc::new(exfat::ExFat::open(block)?)),
        "iso9660" => Ok(Arc::new(iso9660::Iso::open(block)?)),
        "ntfs" => Ok(Arc::new(ntfs::Ntfs::open(block)?)),
        "squashfs" => Ok(Arc::new(squashfs::Squashfs::open(block)?)),
        "vfat" => Ok(Arc::new(fat::Fat::open(block)?)),
        _ => Err(system::FsError::Unsupported(format!("there is no reader for {kind}"))),
    }
}
