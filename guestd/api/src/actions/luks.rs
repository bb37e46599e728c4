//! Encrypted devices: LUKS, and what else cryptsetup opens.

use crate::table::actions;

actions! {
    group "luks";

    /// Make a device an encrypted one.
    ///
    /// What was on it is lost. `keyslot` is where the key is kept, 0 for the first.
    ///
    ///     luks-format /dev/sda1 0
    fn luks_format(device: Device, key: Key, keyslot: Int) -> Void { feature: Some("luks") };

    /// Make a device an encrypted one, with a cipher of choice.
    ///
    /// `cipher` as cryptsetup names them.
    ///
    ///     luks-format-cipher /dev/sda1 0 aes-xts-plain64
    fn luks_format_cipher(device: Device, key: Key, keyslot: Int, cipher: String) -> Void
        { feature: Some("luks") };

    /// Open an encrypted device.
    ///
    /// What is in it is then `/dev/mapper/MAPNAME`. `crypttype` is one of `luks`, `bitlk`, `plain` and others that
    /// cryptsetup knows; LUKS and BitLocker are recognised without it. After opening a device that holds
    /// volumes, `lvm-scan true` finds them.
    ///
    ///     cryptsetup-open /dev/sda1 data
    ///     cryptsetup-open /dev/sda1 data readonly:true
    fn cryptsetup_open(device: Device, key: Key, mapname: String)
        opt CryptsetupOpenOptions { readonly: Bool, crypttype: String, cipher: String } -> Void
        { feature: Some("luks") };

    /// Close a device that was opened with `cryptsetup-open`.
    ///
    /// Nothing in it may be in use.
    ///
    ///     cryptsetup-close /dev/mapper/data
    fn cryptsetup_close(device: Device) -> Void { feature: Some("luks") };

    /// Open a device encrypted with LUKS.
    ///
    ///     luks-open /dev/sda1 data
    fn luks_open(device: Device, key: Key, mapname: String) -> Void
        { feature: Some("luks"), deprecated_by: Some("cryptsetup_open") };

    /// Open a device encrypted with LUKS for reading.
    ///
    ///     luks-open-ro /dev/sda1 data
    fn luks_open_ro(device: Device, key: Key, mapname: String) -> Void
        { feature: Some("luks"), deprecated_by: Some("cryptsetup_open") };

    /// Close a device that was opened with `luks-open`.
    ///
    ///     luks-close /dev/mapper/data
    fn luks_close(device: Device) -> Void
        { feature: Some("luks"), deprecated_by: Some("cryptsetup_close") };

    /// Add a key to a device encrypted with LUKS.
    ///
    /// Asks for a key that it has and then for the new one, which is kept in `keyslot`.
    ///
    ///     luks-add-key /dev/sda1 1
    fn luks_add_key(device: Device, key: Key, newkey: Key, keyslot: Int) -> Void { feature: Some("luks") };

    /// Remove a key from a device encrypted with LUKS.
    ///
    /// Asks for a key of another slot.
    ///
    ///     luks-kill-slot /dev/sda1 1
    fn luks_kill_slot(device: Device, key: Key, keyslot: Int) -> Void { feature: Some("luks") };

    /// Show the UUID of a device encrypted with LUKS.
    ///
    ///     luks-uuid /dev/sda1
    fn luks_uuid(device: Device) -> String { feature: Some("luks") };

    /// Open a device encrypted with LUKS with a key that Clevis finds.
    ///
    /// Clevis asks a server of the network or the like, as was set up in the device.
    ///
    ///     clevis-luks-unlock /dev/sda1 data
    fn clevis_luks_unlock(device: Device, mapname: String) -> Void { feature: Some("clevisluks") };
}
