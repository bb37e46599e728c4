//! The declarations, one file per group; their implementations lie in files of the same names in guestd.

use crate::table::groups;

pub mod archive;
pub mod augeas;
pub mod available;
pub mod block;
pub mod boot;
pub mod btrfs;
pub mod btrfs_quota;
pub mod btrfs_volume;
pub mod checksum;
pub mod command;
pub mod compress;
pub mod copy;
pub mod debug;
pub mod devices;
pub mod dirs;
pub mod ext;
pub mod files;
pub mod handle;
pub mod hivex;
pub mod host_disk;
pub mod initrd;
pub mod inotify;
pub mod inspect;
pub mod iso;
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
pub mod mount_local;
pub mod ntfs;
pub mod parts;
pub mod read;
pub mod rsync;
pub mod search;
pub mod selinux;
pub mod sfdisk;
pub mod sleuthkit;
pub mod stat;
pub mod swap;
pub mod system;
pub mod transfer;
pub mod wipe;
pub mod write;
pub mod xattr;
pub mod xfs;
pub mod yara;

groups! {
    Archive: archive,
    Augeas: augeas,
    Available: available,
    Block: block,
    Boot: boot,
    Btrfs: btrfs,
    BtrfsQuota: btrfs_quota,
    BtrfsVolume: btrfs_volume,
    Checksum: checksum,
    Command: command,
    Compress: compress,
    Copy: copy,
    Debug: debug,
    Devices: devices,
    Dirs: dirs,
    Ext: ext,
    Files: files,
    Hivex: hivex,
    Initrd: initrd,
    Inotify: inotify,
    Iso: iso,
    Journal: journal,
    Labels: labels,
    Ldm: ldm,
    Links: links,
    Luks: luks,
    Lvm: lvm,
    Md: md,
    Mkfs: mkfs,
    Mount: mount,
    Ntfs: ntfs,
    Parts: parts,
    Read: read,
    Rsync: rsync,
    Search: search,
    Selinux: selinux,
    Sfdisk: sfdisk,
    Sleuthkit: sleuthkit,
    Stat: stat,
    Swap: swap,
    System: system,
    Transfer: transfer,
    Wipe: wipe,
    Write: write,
    Xattr: xattr,
    Xfs: xfs,
    Yara: yara,
    ;
    Handle: handle,
    HostDisk: host_disk,
    Inspect: inspect,
    Launch: launch,
    MountLocal: mount_local,
}
