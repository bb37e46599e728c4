//! The side that carries actions out.
//!
//! A [`Worker`] is one action in progress: it knows how arguments of each kind are checked and found, where
//! the action's streams are, and how names are shown to the user. Each group of actions adds a trait
//! `Server` over it with one required method per action, so an action that was declared but not implemented
//! does not compile.

use crate::{Failure, GuestString};
use std::io::{Read, Write};

/// How the arguments of an action in progress are resolved.
pub trait Worker {
    /// A checked path of the guest.
    type Path;
    /// A device that exists.
    type Device;
    /// A device or a subvolume on one.
    type Mountable;
    /// A device or a path.
    type DevOrPath;
    /// A mountable or a path.
    type MountableOrPath;
    /// The stream from the host.
    type Input: Read;
    /// The stream to the host.
    type Output: Write;

    /// Checks a path: absolute, and something must be mounted that it can lie on.
    fn path(&self, arg: &'static str, path: GuestString) -> Result<Self::Path, Failure>;
    /// Finds a device.
    fn device(&self, arg: &'static str, device: GuestString) -> Result<Self::Device, Failure>;
    /// Finds a device and splits off the subvolume.
    fn mountable(&self, arg: &'static str, mountable: GuestString) -> Result<Self::Mountable, Failure>;
    /// What starts with `/dev/` is a device, all else a path.
    fn device_or_path(&self, arg: &'static str, text: GuestString) -> Result<Self::DevOrPath, Failure>;
    /// What is not a mountable is a path.
    fn mountable_or_path(
        &self,
        arg: &'static str,
        text: GuestString,
    ) -> Result<Self::MountableOrPath, Failure>;
    /// The stream from the host.
    fn input(&self) -> Self::Input;
    /// The stream to the host.
    fn output(&self) -> Self::Output;
    /// The name by which the user knows a device; other text stays as it is.
    fn shown_device(&self, name: GuestString) -> GuestString;
    /// The same for a mountable.
    fn shown_mountable(&self, name: GuestString) -> GuestString;
}
