//! Names that QEMU has for drivers which are no formats of ours: they are kept in headers, refused by name, and never
//! taken for part of a file's name.
//!
//! This is the only list of them.

use super::Format;

/// What a driver of QEMU's does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Images are laid out so.
    Format,
    /// It stands between others.
    Filter,
    /// It has bytes, and is named in front of a colon.
    Protocol,
    /// Another name for a protocol, in front of a colon only.
    Prefix,
}

/// A driver of QEMU's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub role: Role,
    /// It can make new images.
    pub creates: bool,
}

const fn makes(name: &'static str, role: Role) -> Known {
    Known { name, role, creates: true }
}

const fn opens(name: &'static str, role: Role) -> Known {
    Known { name, role, creates: false }
}

const KNOWN: [Known; 41] = [
    opens("blkdebug", Role::Protocol),
    opens("blklogwrites", Role::Filter),
    opens("blkverify", Role::Protocol),
    opens("bochs", Role::Format),
    opens("cloop", Role::Format),
    opens("compress", Role::Filter),
    opens("copy-before-write", Role::Filter),
    opens("copy-on-read", Role::Filter),
    opens("dmg", Role::Format),
    opens("fat", Role::Prefix),
    makes("file", Role::Protocol),
    makes("ftp", Role::Protocol),
    makes("ftps", Role::Protocol),
    makes("gluster", Role::Protocol),
    makes("host_cdrom", Role::Protocol),
    makes("host_device", Role::Protocol),
    makes("http", Role::Protocol),
    makes("https", Role::Protocol),
    makes("iscsi", Role::Protocol),
    opens("iser", Role::Prefix),
    makes("nbd", Role::Protocol),
    opens("nbd+unix", Role::Prefix),
    makes("nfs", Role::Protocol),
    opens("null-aio", Role::Protocol),
    opens("null-co", Role::Protocol),
    makes("nvme", Role::Protocol),
    makes("parallels", Role::Format),
    opens("preallocate", Role::Filter),
    makes("qcow", Role::Format),
    makes("qed", Role::Format),
    opens("quorum", Role::Filter),
    makes("rbd", Role::Protocol),
    opens("replication", Role::Filter),
    opens("snapshot-access", Role::Filter),
    makes("ssh", Role::Protocol),
    opens("throttle", Role::Filter),
    makes("vdi", Role::Format),
    makes("vhdx", Role::Format),
    makes("vmdk", Role::Format),
    makes("vpc", Role::Format),
    // Its images are named "fat:".
    opens("vvfat", Role::Format),
];

/// The driver of QEMU's called `name` that is none of ours.
pub fn elsewhere(name: &str) -> Option<Known> {
    KNOWN.into_iter().find(|known| known.name == name && known.role != Role::Prefix)
}

/// A driver has this name, here or in QEMU.
pub fn is_driver(name: &str) -> bool {
    Format::by_name(name).is_ok() || elsewhere(name).is_some()
}

/// In front of a colon the name stands for a protocol.
pub fn is_protocol(name: &str) -> bool {
    KNOWN.iter().any(|known| known.name == name && matches!(known.role, Role::Protocol | Role::Prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_order_and_are_nobody_elses() {
        assert!(KNOWN.is_sorted_by_key(|known| known.name));
        assert!(KNOWN.iter().all(|known| Format::by_name(known.name).is_err()));
        assert!(is_driver("qcow2") && is_driver("vmdk") && !is_driver("fat") && !is_driver("nope"));
        assert!(is_protocol("nbd+unix") && !is_protocol("vmdk") && !is_protocol("vvfat"));
    }
}
