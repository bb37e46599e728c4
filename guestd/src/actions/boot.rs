//! Boot loaders.

use super::regular::{about, shown};
use crate::disks::Device;
use crate::worker::{GuestPath, Worker};
use guestd_api::actions::boot::{Server, SyslinuxOptions};
use guestd_api::{Failure, GuestString};
use rustix::mount::MountFlags;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// A directory of a file system without symbolic links, relative to its root; `None` if it would lead out.
fn inside(directory: &GuestString) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for part in Path::new(directory.as_os_str()).components() {
        match part {
            Component::Normal(name) => inside.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(inside)
}

impl Server for Worker {
    fn extlinux(&self, directory: GuestPath) -> Result<(), Failure> {
        let place = self.outside_directory(&directory)?;
        let program = self.tool("extlinux")?.arg("--install").arg(place);
        program.run().map(|_| ()).map_err(about(shown(&directory)))
    }

    fn syslinux(&self, device: Device, opts: SyslinuxOptions) -> Result<(), Failure> {
        if self.blkid(&device, "TYPE")? != "vfat" {
            return Err(Failure::new("syslinux: invalid media signature (not an FAT/NTFS volume?)"));
        }
        let directory = opts.directory.unwrap_or_default();
        let Some(inside) = inside(&directory) else {
            return Err(Failure::new(format!("directory: '{directory}': '..' cannot be in it")));
        };
        // extlinux installs the same loader on a mounted FAT; the program named syslinux needs two more packages to
        // write to one that is not.
        self.with_mounted(&device, "vfat", MountFlags::empty(), |place| {
            let program = self.tool("extlinux")?.arg("--install").arg(place.join(inside));
            program.run().map(|_| ()).map_err(about(&device.shown))
        })
    }

    fn grub_install(&self, root: GuestPath, device: Device) -> Result<(), Failure> {
        let mut option = OsString::from("--root-directory=");
        option.push(self.outside_directory(&root)?);
        self.tool("grub-install")?.arg(option).arg(&device.node).run().map(|_| ())
    }
}
