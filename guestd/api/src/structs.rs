//! The structs that actions return, each declared once.
//!
//! A declaration makes the Rust type, its table of fields for printing, and both conversions. Names and
//! order of the fields are those that users of libguestfs know, because shells print them.

use crate::GuestString;
use serde::{Deserialize, Serialize};

/// A field's value on the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Field {
    /// A signed number.
    Int(i64),
    /// An unsigned number.
    Uint(u64),
    /// Text or bytes.
    Text(GuestString),
    /// One character.
    Char(u8),
    /// A percentage that may be unknown.
    Percent(Option<f32>),
}

/// How a field is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldKind {
    /// A signed 32-bit number.
    Int32,
    /// A signed 64-bit number.
    Int64,
    /// An unsigned 32-bit number.
    UInt32,
    /// An unsigned 64-bit number.
    UInt64,
    /// A size in bytes.
    Bytes,
    /// Text.
    String,
    /// Bytes: printable ones as they are, others as `\x..`.
    Buffer,
    /// A UUID of LVM, 32 characters without hyphens.
    Uuid,
    /// A device.
    Device,
    /// One character.
    Char,
    /// `12.5 %`, or nothing when unknown.
    OptPercent,
}

/// A struct as data.
#[derive(Debug)]
pub struct StructSpec {
    /// Its name.
    pub name: &'static str,
    /// Its fields in order.
    pub fields: &'static [FieldSpec],
}

/// One field of a struct.
#[derive(Debug)]
pub struct FieldSpec {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: FieldKind,
}

/// A declared struct.
pub trait Struct: Sized {
    /// The struct as data.
    const SPEC: StructSpec;
    /// Its fields' values, in order.
    fn into_fields(self) -> Vec<Field>;
    /// The struct from its fields; `None` if their number or kinds are wrong.
    fn from_fields(fields: Vec<Field>) -> Option<Self>;
}

macro_rules! field_type {
    (Int32) => { i32 };
    (Int64) => { i64 };
    (UInt32) => { u32 };
    (UInt64) => { u64 };
    (Bytes) => { u64 };
    (Char) => { u8 };
    (OptPercent) => { Option<f32> };
    ($text:ident) => { GuestString };
}

macro_rules! to_field {
    (Int32, $v:expr) => {
        Field::Int($v.into())
    };
    (Int64, $v:expr) => {
        Field::Int($v)
    };
    (UInt32, $v:expr) => {
        Field::Uint($v.into())
    };
    (UInt64, $v:expr) => {
        Field::Uint($v)
    };
    (Bytes, $v:expr) => {
        Field::Uint($v)
    };
    (Char, $v:expr) => {
        Field::Char($v)
    };
    (OptPercent, $v:expr) => {
        Field::Percent($v)
    };
    ($text:ident, $v:expr) => {
        Field::Text($v)
    };
}

macro_rules! from_field {
    (Int32, $v:expr) => {
        if let Field::Int(v) = $v { v.try_into().ok()? } else { return None }
    };
    (Int64, $v:expr) => {
        if let Field::Int(v) = $v { v } else { return None }
    };
    (UInt32, $v:expr) => {
        if let Field::Uint(v) = $v { v.try_into().ok()? } else { return None }
    };
    (UInt64, $v:expr) => {
        if let Field::Uint(v) = $v { v } else { return None }
    };
    (Bytes, $v:expr) => {
        if let Field::Uint(v) = $v { v } else { return None }
    };
    (Char, $v:expr) => {
        if let Field::Char(v) = $v { v } else { return None }
    };
    (OptPercent, $v:expr) => {
        if let Field::Percent(v) = $v { v } else { return None }
    };
    ($text:ident, $v:expr) => {
        if let Field::Text(v) = $v { v } else { return None }
    };
}

macro_rules! structs {
    ($($(#[$doc:meta])+ $name:ident $shown:literal { $($field:ident: $kind:ident),+ $(,)? })+) => {$(
        $(#[$doc])+
        #[allow(missing_docs, reason = "the fields carry the names of the system call or tool they come from")]
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name { $(pub $field: field_type!($kind),)+ }

        impl Struct for $name {
            const SPEC: StructSpec = StructSpec {
                name: $shown,
                fields: &[$(FieldSpec { name: stringify!($field), kind: FieldKind::$kind },)+],
            };
            fn into_fields(self) -> Vec<Field> {
                vec![$(to_field!($kind, self.$field),)+]
            }
            fn from_fields(fields: Vec<Field>) -> Option<Self> {
                let mut fields = fields.into_iter();
                let this = $name { $($field: from_field!($kind, fields.next()?),)+ };
                fields.next().is_none().then_some(this)
            }
        }
    )+};
}

structs! {
    /// The version of the program that carries the actions out.
    Version "version" { major: Int64, minor: Int64, release: Int64, extra: String }

    /// `stat(2)` in whole seconds.
    Stat "stat" {
        dev: Int64, ino: Int64, mode: Int64, nlink: Int64, uid: Int64, gid: Int64, rdev: Int64, size: Int64,
        blksize: Int64, blocks: Int64, atime: Int64, mtime: Int64, ctime: Int64,
    }

    /// `stat(2)` with nanoseconds.
    Statns "statns" {
        st_dev: Int64, st_ino: Int64, st_mode: Int64, st_nlink: Int64, st_uid: Int64, st_gid: Int64,
        st_rdev: Int64, st_size: Int64, st_blksize: Int64, st_blocks: Int64,
        st_atime_sec: Int64, st_atime_nsec: Int64, st_mtime_sec: Int64, st_mtime_nsec: Int64,
        st_ctime_sec: Int64, st_ctime_nsec: Int64,
        st_spare1: Int64, st_spare2: Int64, st_spare3: Int64, st_spare4: Int64, st_spare5: Int64, st_spare6: Int64,
    }

    /// `statvfs(3)`.
    Statvfs "statvfs" {
        bsize: Int64, frsize: Int64, blocks: Int64, bfree: Int64, bavail: Int64, files: Int64, ffree: Int64,
        favail: Int64, fsid: Int64, flag: Int64, namemax: Int64,
    }

    /// An entry of a directory; the type is one letter of `bcdflsu?`, `r` for a regular file.
    Dirent "dirent" { ino: Int64, ftyp: Char, name: String }

    /// An entry of a partition table; the end is the last byte that belongs to it.
    Partition "partition" { part_num: Int32, part_start: Bytes, part_end: Bytes, part_size: Bytes }

    /// A subvolume of btrfs.
    Btrfssubvolume "btrfssubvolume" {
        btrfssubvolume_id: UInt64, btrfssubvolume_top_level_id: UInt64, btrfssubvolume_path: String,
    }

    /// An extended attribute, or a field of a journal's entry.
    Xattr "xattr" { attrname: String, attrval: Buffer }

    /// How many nodes an expression of Augeas matches, and whether one was made for it.
    IntBool "int_bool" { i: Int32, b: Int32 }

    /// A node of a registry hive.
    HivexNode "hivex_node" { hivex_node_h: Int64 }

    /// A value of a registry hive.
    HivexValue "hivex_value" { hivex_value_h: Int64 }

    /// Something that happened to a watched file.
    InotifyEvent "inotify_event" { in_wd: Int64, in_mask: UInt32, in_cookie: UInt32, in_name: String }

    /// `uname(2)`.
    Utsname "utsname" { uts_sysname: String, uts_release: String, uts_version: String, uts_machine: String }

    /// A file that a rule of yara matches.
    YaraDetection "yara_detection" { yara_name: String, yara_rule: String }

    /// A name in the structures of a file system, also one that was deleted.
    TskDirent "tsk_dirent" {
        tsk_inode: UInt64, tsk_type: Char, tsk_size: Int64, tsk_name: String, tsk_flags: UInt32,
        tsk_atime_sec: Int64, tsk_atime_nsec: Int64, tsk_mtime_sec: Int64, tsk_mtime_nsec: Int64,
        tsk_ctime_sec: Int64, tsk_ctime_nsec: Int64, tsk_crtime_sec: Int64, tsk_crtime_nsec: Int64,
        tsk_nlink: Int64, tsk_link: String, tsk_spare1: Int64,
    }

    /// A physical volume of LVM, with the names that `pvs` has for its fields.
    LvmPv "lvm_pv" {
        pv_name: Device, pv_uuid: Uuid, pv_fmt: String, pv_size: Bytes, dev_size: Bytes, pv_free: Bytes,
        pv_used: Bytes, pv_attr: String, pv_pe_count: Int64, pv_pe_alloc_count: Int64, pv_tags: String,
        pe_start: Bytes, pv_mda_count: Int64, pv_mda_free: Bytes,
    }

    /// A volume group of LVM, with the names that `vgs` has for its fields.
    LvmVg "lvm_vg" {
        vg_name: String, vg_uuid: Uuid, vg_fmt: String, vg_attr: String, vg_size: Bytes, vg_free: Bytes,
        vg_sysid: String, vg_extent_size: Bytes, vg_extent_count: Int64, vg_free_count: Int64, max_lv: Int64,
        max_pv: Int64, pv_count: Int64, lv_count: Int64, snap_count: Int64, vg_seqno: Int64, vg_tags: String,
        vg_mda_count: Int64, vg_mda_free: Bytes,
    }

    /// A logical volume of LVM, with the names that `lvs` has for its fields.
    LvmLv "lvm_lv" {
        lv_name: String, lv_uuid: Uuid, lv_attr: String, lv_major: Int64, lv_minor: Int64,
        lv_kernel_major: Int64, lv_kernel_minor: Int64, lv_size: Bytes, seg_count: Int64, origin: String,
        snap_percent: OptPercent, copy_percent: OptPercent, move_pv: String, lv_tags: String,
        mirror_log: String, modules: String,
    }

    /// A member of a RAID array as `/proc/mdstat` shows it.
    Mdstat "mdstat" { mdstat_device: Device, mdstat_index: Int32, mdstat_flags: String }

    /// How far the balance of a btrfs is.
    Btrfsbalance "btrfsbalance" {
        btrfsbalance_status: String, btrfsbalance_total: UInt64, btrfsbalance_balanced: UInt64,
        btrfsbalance_considered: UInt64, btrfsbalance_left: UInt64,
    }

    /// A quota group of btrfs.
    Btrfsqgroup "btrfsqgroup" { btrfsqgroup_id: String, btrfsqgroup_rfer: UInt64, btrfsqgroup_excl: UInt64 }

    /// What a scrub of a btrfs has found.
    Btrfsscrub "btrfsscrub" {
        btrfsscrub_data_extents_scrubbed: UInt64, btrfsscrub_tree_extents_scrubbed: UInt64,
        btrfsscrub_data_bytes_scrubbed: UInt64, btrfsscrub_tree_bytes_scrubbed: UInt64,
        btrfsscrub_read_errors: UInt64, btrfsscrub_csum_errors: UInt64, btrfsscrub_verify_errors: UInt64,
        btrfsscrub_no_csum: UInt64, btrfsscrub_csum_discards: UInt64, btrfsscrub_super_errors: UInt64,
        btrfsscrub_malloc_errors: UInt64, btrfsscrub_uncorrectable_errors: UInt64,
        btrfsscrub_unverified_errors: UInt64, btrfsscrub_corrected_errors: UInt64, btrfsscrub_last_physical: UInt64,
    }

    /// The primary volume descriptor of an ISO 9660 file system (ECMA-119, 8.4).
    Isoinfo "isoinfo" {
        iso_system_id: String, iso_volume_id: String, iso_volume_space_size: UInt32, iso_volume_set_size: UInt32,
        iso_volume_sequence_number: UInt32, iso_logical_block_size: UInt32, iso_volume_set_id: String,
        iso_publisher_id: String, iso_data_preparer_id: String, iso_application_id: String,
        iso_copyright_file_id: String, iso_abstract_file_id: String, iso_bibliographic_file_id: String,
        iso_volume_creation_t: Int64, iso_volume_modification_t: Int64, iso_volume_expiration_t: Int64,
        iso_volume_effective_t: Int64,
    }

    /// The geometry of an XFS.
    Xfsinfo "xfsinfo" {
        xfs_mntpoint: String, xfs_inodesize: UInt32, xfs_agcount: UInt32, xfs_agsize: UInt32, xfs_sectsize: UInt32,
        xfs_attr: UInt32, xfs_blocksize: UInt32, xfs_datablocks: UInt64, xfs_imaxpct: UInt32, xfs_sunit: UInt32,
        xfs_swidth: UInt32, xfs_dirversion: UInt32, xfs_dirblocksize: UInt32, xfs_cimode: UInt32,
        xfs_logname: String, xfs_logblocksize: UInt32, xfs_logblocks: UInt32, xfs_logversion: UInt32,
        xfs_logsectsize: UInt32, xfs_logsunit: UInt32, xfs_lazycount: UInt32, xfs_rtname: String,
        xfs_rtextsize: UInt32, xfs_rtblocks: UInt64, xfs_rtextents: UInt64,
    }

    /// An application that is installed.
    Application "application" {
        app_name: String, app_display_name: String, app_epoch: Int32, app_version: String, app_release: String,
        app_install_path: String, app_trans_path: String, app_publisher: String, app_url: String,
        app_source_package: String, app_summary: String, app_description: String,
    }

    /// An application that is installed, with its architecture.
    Application2 "application2" {
        app2_name: String, app2_display_name: String, app2_epoch: Int32, app2_version: String,
        app2_release: String, app2_arch: String, app2_install_path: String, app2_trans_path: String,
        app2_publisher: String, app2_url: String, app2_source_package: String, app2_summary: String,
        app2_description: String, app2_spare1: String, app2_spare2: String, app2_spare3: String, app2_spare4: String,
    }
}
