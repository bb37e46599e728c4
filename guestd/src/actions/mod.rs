//! The actions, one file per file of declarations.

mod archive;
mod augeas;
mod available;
mod block;
mod boot;
mod btrfs;
mod btrfs_quota;
mod btrfs_volume;
mod checksum;
mod command;
mod compress;
mod copy;
mod copy_bytes;
mod debug;
mod devices;
mod dirs;
mod ext;
mod files;
mod hivex;
mod initrd;
mod inotify;
mod iso;
mod journal;
mod labels;
mod ldm;
mod links;
mod luks;
mod lvm;
mod lvm_report;
mod md;
mod mkfs;
mod mount;
mod ntfs;
mod options;
mod parts;
mod read;
mod regular;
mod rsync;
mod search;
mod selinux;
mod sfdisk;
mod sleuthkit;
mod stat;
mod swap;
mod system;
mod transfer;
mod wipe;
mod write;
mod xattr;
mod xfs;
mod yara;

use guestd_api::GuestString;

pub(crate) use hivex::Open as OpenHive;
pub(crate) use mount::{raid6_refused, skips_raid6};

/// The lines of a program's output, without an empty one at the end.
fn lines(text: &[u8]) -> Vec<GuestString> {
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    lines.into_iter().map(|line| GuestString::from(line.strip_suffix(b"\r").unwrap_or(line))).collect()
}

/// The lines of a tool's output without the blanks around them, empty ones left out.
fn trimmed_lines(text: &[u8]) -> Vec<GuestString> {
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty()).map(GuestString::from).collect()
}
