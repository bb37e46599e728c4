//! The declarations, one file per group; their implementations lie in files of the same names in guestd.

use crate::table::groups;

pub mod archive;
pub mod available;
pub mod block;
pub mod boot;
pub mod btrfs;
pub mod btrfs_quota;
pub mod btrfs_volume;
pub mod command;
pub mod compress;
pub mod copy;
pub mod devices;
pub mod dirs;
pub mod ext;
pub mod files;
pub mod initrd;
pub mod iso;
pub mod labels;
pub mod links;
pub mod lvm;
pub mod mkfs;
pub mod mount;
pub mod ntfs;
pub mod parts;
pub mod read;
pub mod search;
pub mod stat;
pub mod swap;
pub mod system;
pub mod transfer;
pub mod wipe;
pub mod write;
pub mod xfs;

groups! {
    Archive: archive,
    Available: available,
    Block: block,
    Boot: boot,
    Btrfs: btrfs,
    BtrfsQuota: btrfs_quota,
    BtrfsVolume: btrfs_volume,
    Command: command,
    Compress: compress,
    Copy: copy,
    Devices: devices,
    Dirs: dirs,
    Ext: ext,
    Files: files,
    Initrd: initrd,
    Iso: iso,
    Labels: labels,
    Links: links,
    Lvm: lvm,
    Mkfs: mkfs,
    Mount: mount,
    Ntfs: ntfs,
    Parts: parts,
    Read: read,
    Search: search,
    Stat: stat,
    Swap: swap,
    System: system,
    Transfer: transfer,
    Wipe: wipe,
    Write: write,
    Xfs: xfs,
}
