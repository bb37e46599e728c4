//! Swap: making it and having the appliance use it.
#![allow(
    non_snake_case,
    reason = "some actions carry the option of the tool they stand for, as in `mkswap -L`"
)]

use crate::table::actions;

actions! {
    group "swap";

    /// Make swap space with a label.
    ///
    ///     mkswap-L swap /dev/sda3
    fn mkswap_L(label: String, device: Device) -> Void { deprecated_by: Some("mkswap") };

    /// Make swap space with a UUID.
    ///
    ///     mkswap-U 7d3f2a10-64c1-4a8e-9a59-5f2d1a0c7e11 /dev/sda3
    fn mkswap_U(uuid: String, device: Device) -> Void
        { feature: Some("linuxfsuuid"), deprecated_by: Some("mkswap") };

    /// Make swap space in a file.
    ///
    /// The file must be there, with its final size, and have no holes.
    ///
    ///     fill 0 256M /swapfile
    ///     mkswap-file /swapfile
    fn mkswap_file(path: Pathname) -> Void;

    /// Have the appliance use a device as swap.
    ///
    ///     swapon-device /dev/sda3
    fn swapon_device(device: Device) -> Void;

    /// Stop using a device as swap.
    ///
    ///     swapoff-device /dev/sda3
    fn swapoff_device(device: Device) -> Void;

    /// Have the appliance use a file as swap.
    ///
    ///     swapon-file /swapfile
    fn swapon_file(file: Pathname) -> Void;

    /// Stop using a file as swap.
    ///
    ///     swapoff-file /swapfile
    fn swapoff_file(file: Pathname) -> Void;

    /// Have the appliance use the swap with a label.
    ///
    ///     swapon-label swap
    fn swapon_label(label: String) -> Void;

    /// Stop using the swap with a label.
    ///
    ///     swapoff-label swap
    fn swapoff_label(label: String) -> Void;

    /// Have the appliance use the swap with a UUID.
    ///
    ///     swapon-uuid 7d3f2a10-64c1-4a8e-9a59-5f2d1a0c7e11
    fn swapon_uuid(uuid: String) -> Void { feature: Some("linuxfsuuid") };

    /// Stop using the swap with a UUID.
    ///
    ///     swapoff-uuid 7d3f2a10-64c1-4a8e-9a59-5f2d1a0c7e11
    fn swapoff_uuid(uuid: String) -> Void { feature: Some("linuxfsuuid") };
}
