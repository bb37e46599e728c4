//! The descriptors of ISO 9660 file systems.

use crate::table::actions;

actions! {
    group "iso";

    /// Show what the primary volume descriptor of an ISO image says.
    ///
    /// The image is a file of the guest. Times are in seconds since 1970, -1 if not given.
    ///
    ///     isoinfo /images/debian.iso
    fn isoinfo(isofile: Pathname) -> Struct<Isoinfo>;

    /// Show what the primary volume descriptor of a CD says.
    ///
    ///     isoinfo-device /dev/sda
    fn isoinfo_device(device: Device) -> Struct<Isoinfo>;
}
