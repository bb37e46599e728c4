//! Boot loaders.

use super::options::Options;
use super::regular::{about, shown};
use crate::disks::Device;
use crate::worker::{GuestPath, Worker};
use guestd_api::Failure;
use guestd_api::actions::boot::{Server, SyslinuxOptions};
use std::ffi::OsString;

impl Server for Worker {
    fn extlinux(&self, directory: GuestPath) -> Result<(), Failure> {
        let place = self.outside(&directory)?;
        let program = self.tool("extlinux")?.arg("--install").arg(place);
        program.run().map(|_| ()).map_err(about(shown(&directory)))
    }

    fn syslinux(&self, device: Device, opts: SyslinuxOptions) -> Result<(), Failure> {
        let mut words = Options::default();
        words.add(["--install", "--force"]);
        words.text(opts.directory.as_ref(), "--directory");
        self.tool("syslinux")?.args(words).arg(&device.node).run().map(|_| ())
    }

    fn grub_install(&self, root: GuestPath, device: Device) -> Result<(), Failure> {
        let mut option = OsString::from("--root-directory=");
        option.push(self.outside(&root)?);
        self.tool("grub-install")?.arg(option).arg(&device.node).run().map(|_| ())
    }
}
