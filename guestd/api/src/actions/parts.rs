//! Partition tables.

use crate::IntStyle;
use crate::table::actions;

actions! {
    group "parts";

    /// Make an empty partition table.
    ///
    /// `parttype` is `gpt` (or `efi`) or `mbr` (or `msdos`). Partitions that were there are lost.
    ///
    ///     part-init /dev/sda gpt
    fn part_init(device: Device, parttype: String) -> Void;

    /// Add a partition.
    ///
    /// `prlogex` is `primary` (or `p`), `logical` (`l`) or `extended` (`e`); the last two only for MBR. The
    /// sectors are those of the first and the last sector that belong to it. A negative last one counts from
    /// the end of the disk: -1 is the disk's last sector, which a GPT needs for itself, as it does the 33 before.
    ///
    ///     part-add /dev/sda p 2048 -34
    fn part_add(device: Device, prlogex: String, startsect: Int64, endsect: Int64) -> Void;

    /// Remove a partition.
    ///
    ///     part-del /dev/sda 1
    fn part_del(device: Device, partnum: Int) -> Void;

    /// Make a partition table with one partition over the whole disk.
    ///
    /// It starts at sector 128 and ends at sector -128. Types as for `part-init`.
    ///
    ///     part-disk /dev/sda mbr
    fn part_disk(device: Device, parttype: String) -> Void;

    /// Change the end of a partition.
    ///
    /// The data in it is not touched; growing the file system is another step, and so is making it smaller,
    /// which must come first. A negative sector counts as for `part-add`.
    ///
    ///     part-resize /dev/sda 1 -128
    fn part_resize(device: Device, partnum: Int, endsect: Int64) -> Void;

    /// List the partitions of a disk.
    ///
    /// Start, end (the last byte) and size are in bytes.
    ///
    ///     part-list /dev/sda
    fn part_list(device: Device) -> StructList<Partition>;

    /// Show the type of the partition table.
    ///
    /// `gpt` or `msdos`; other types by the name the tool has for them.
    ///
    ///     part-get-parttype /dev/sda
    fn part_get_parttype(device: Device) -> String;

    /// Test whether a partition is marked as bootable.
    ///
    ///     part-get-bootable /dev/sda 1
    fn part_get_bootable(device: Device, partnum: Int) -> Bool;

    /// Mark a partition as bootable or not.
    ///
    ///     part-set-bootable /dev/sda 1 true
    fn part_set_bootable(device: Device, partnum: Int, bootable: Bool) -> Void;

    /// Set the name of a GPT partition.
    ///
    /// Up to 36 UTF-16 units.
    ///
    ///     part-set-name /dev/sda 1 "EFI System"
    fn part_set_name(device: Device, partnum: Int, name: String) -> Void;

    /// Show the name of a GPT partition.
    ///
    ///     part-get-name /dev/sda 1
    fn part_get_name(device: Device, partnum: Int) -> String;

    /// Set the type of a GPT partition.
    ///
    ///     part-set-gpt-type /dev/sda 1 C12A7328-F81F-11D2-BA4B-00A0C93EC93B
    fn part_set_gpt_type(device: Device, partnum: Int, guid: Guid) -> Void;

    /// Show the type of a GPT partition.
    ///
    ///     part-get-gpt-type /dev/sda 1
    fn part_get_gpt_type(device: Device, partnum: Int) -> String;

    /// Set the GUID of a GPT partition.
    ///
    ///     part-set-gpt-guid /dev/sda 1 01234567-89AB-CDEF-0123-456789ABCDEF
    fn part_set_gpt_guid(device: Device, partnum: Int, guid: Guid) -> Void;

    /// Show the GUID of a GPT partition.
    ///
    ///     part-get-gpt-guid /dev/sda 1
    fn part_get_gpt_guid(device: Device, partnum: Int) -> String;

    /// Set the type byte of an MBR partition.
    ///
    ///     part-set-mbr-id /dev/sda 1 0x7
    fn part_set_mbr_id(device: Device, partnum: Int, idbyte: Int) -> Void;

    /// Show the type byte of an MBR partition.
    ///
    ///     part-get-mbr-id /dev/sda 1
    fn part_get_mbr_id(device: Device, partnum: Int) -> Int { style: IntStyle::Hexadecimal };

    /// Show whether an MBR partition is `primary`, `logical` or `extended`.
    ///
    /// Partitions of a GPT are all `primary`.
    ///
    ///     part-get-mbr-part-type /dev/sda 1
    fn part_get_mbr_part_type(device: Device, partnum: Int) -> String;

    /// Show the GUID of a disk with a GPT.
    ///
    ///     part-get-disk-guid /dev/sda
    fn part_get_disk_guid(device: Device) -> String;

    /// Set the GUID of a disk with a GPT.
    ///
    ///     part-set-disk-guid /dev/sda 01234567-89AB-CDEF-0123-456789ABCDEF
    fn part_set_disk_guid(device: Device, guid: Guid) -> Void;

    /// Move the second header of a GPT to the end of a disk that has grown.
    ///
    ///     part-expand-gpt /dev/sda
    fn part_expand_gpt(device: Device) -> Void { feature: Some("gdisk") };

    /// Show the disk that a partition lies on.
    ///
    ///     part-to-dev /dev/sda1
    fn part_to_dev(partition: Device) -> Device;

    /// Show the number of a partition.
    ///
    ///     part-to-partnum /dev/sda1
    fn part_to_partnum(partition: Device) -> Int;

    /// Show the attributes of a GPT partition.
    ///
    /// The 64 bits as one number.
    ///
    ///     part-get-gpt-attributes /dev/sda 1
    fn part_get_gpt_attributes(device: Device, partnum: Int) -> Int64;

    /// Set the attributes of a GPT partition.
    ///
    /// The 64 bits as one number: 4 is "bootable by a legacy BIOS".
    ///
    ///     part-set-gpt-attributes /dev/sda 1 4
    fn part_set_gpt_attributes(device: Device, partnum: Int, attributes: Int64) -> Void { feature: Some("gdisk") };

    /// Give a disk with a GPT a new random GUID.
    ///
    ///     part-set-disk-guid-random /dev/sda
    fn part_set_disk_guid_random(device: Device) -> Void { feature: Some("gdisk") };
}
