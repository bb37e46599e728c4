//! The declarations, one file per group; their implementations lie in files of the same names in guestd.

use crate::table::groups;

pub mod archive;
pub mod augeas;
pub mod available;
pub mod block;
pub mod btrfs;
pub mod checksum;
pub mod command;
pub mod copy;
pub mod debug;
pub mod devices;
pub mod dirs;
pub mod files;
pub mod handle;
pub mod hivex;
pub mod host_disk;
pub mod inotify;
pub mod inspect;
pub mod journal;
pub mod labels;
pub mod launch;
pub mod ldm;
pub mod links;
pub mod luks;
pub mod lvm;
pub mod md;
pub mod mkfs;
pub mod mount;
pub mod parts;
pub mod read;
pub mod rsync;
pub mod search;
pub mod selinux;
pub mod sfdisk;
pub mod sleuthkit;
pub mod stat;
pub mod system;
pub mod transfer;
pub mod write;
pub mod xattr;
pub mod yara;

groups! {
    Archive: archive,
    Augeas: augeas,
    Available: available,
    Block: block,
    Btrfs: btrfs,
    Checksum: checksum,
    Command: command,
    Copy: copy,
    Debug: debug,
    Devices: devices,
    Dirs: dirs,
    Files: files,
    Hivex: hivex,
    Inotify: inotify,
    Journal: journal,
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
    Rsync: rsync,
    Search: search,
    Selinux: selinux,
    Sfdisk: sfdisk,
    Sleuthkit: sleuthkit,
    Stat: stat,
    System: system,
    Transfer: transfer,
    Write: write,
    Xattr: xattr,
    Yara: yara,
    ;
    Handle: handle,
    HostDisk: host_disk,
    Inspect: inspect,
    Launch: launch,
}
