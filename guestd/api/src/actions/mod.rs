//! The declarations, one file per group; their implementations lie in files of the same names in guestd.

use crate::table::groups;

pub mod archive;
pub mod available;
pub mod block;
pub mod btrfs;
pub mod command;
pub mod copy;
pub mod debug;
pub mod devices;
pub mod dirs;
pub mod files;
pub mod labels;
pub mod ldm;
pub mod links;
pub mod luks;
pub mod lvm;
pub mod md;
pub mod mkfs;
pub mod mount;
pub mod parts;
pub mod read;
pub mod search;
pub mod sfdisk;
pub mod stat;
pub mod system;
pub mod transfer;
pub mod write;

groups! {
    Archive: archive,
    Available: available,
    Block: block,
    Btrfs: btrfs,
    Command: command,
    Copy: copy,
    Debug: debug,
    Devices: devices,
    Dirs: dirs,
    Files: files,
    Labels: labels,
    Ldm: ldm,
    Links: links,
    Luks: luks,
    Lvm: lvm,
    Md: md,
    Mkfs: mkfs,
    Mount: mount,
    Parts: parts,
    Read: read,
    Search: search,
    Sfdisk: sfdisk,
    Stat: stat,
    System: system,
    Transfer: transfer,
    Write: write,
}
