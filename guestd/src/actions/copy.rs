//! Copying and moving inside the guest.

use crate::worker::{GuestPath, Worker};
use guestd_api::Failure;
use guestd_api::actions::copy::Server;
use std::ffi::OsStr;
use std::path::PathBuf;

impl Worker {
    /// Runs one of the tools that take a source and a destination.
    fn two_paths(
        &self,
        tool: &str,
        option: Option<&str>,
        src: PathBuf,
        dest: PathBuf,
    ) -> Result<(), Failure> {
        let done = self.tool(tool)?.args(option.map(OsStr::new)).arg("--").arg(src).arg(dest).finish()?;
        done.success()
    }
}

impl Server for Worker {
    fn cp(&self, src: GuestPath, dest: GuestPath) -> Result<(), Failure> {
        self.two_paths("cp", None, self.outside(&src)?, self.outside(&dest)?)
    }

    fn cp_a(&self, src: GuestPath, dest: GuestPath) -> Result<(), Failure> {
        self.two_paths("cp", Some("-a"), self.outside_entry(&src)?, self.outside(&dest)?)
    }

    fn cp_r(&self, src: GuestPath, dest: GuestPath) -> Result<(), Failure> {
        self.two_paths("cp", Some("-r"), self.outside_entry(&src)?, self.outside(&dest)?)
    }

    fn mv(&self, src: GuestPath, dest: GuestPath) -> Result<(), Failure> {
        let quick = {
            let _guest = self.guest()?;
            let place = match (dest.path().metadata(), src.path().file_name()) {
                (Ok(metadata), Some(name)) if metadata.is_dir() => dest.path().join(name),
                _ => dest.path().to_owned(),
            };
            std::fs::rename(src.path(), place)
        };
        match quick {
            Err(error) if error.raw_os_error() == Some(libc::EXDEV) => {
                self.two_paths("mv", None, self.outside_entry(&src)?, self.outside(&dest)?)
            }
            Err(error) => {
                let subject = [src.as_ref(), b" -> ", dest.as_ref()].concat();
                Err(Failure::io(subject, &error))
            }
            Ok(()) => Ok(()),
        }
    }

    fn rename(&self, oldpath: GuestPath, newpath: GuestPath) -> Result<(), Failure> {
        let _guest = self.guest()?;
        std::fs::rename(oldpath.path(), newpath.path())
            .map_err(|e| Failure::io([oldpath.as_ref(), b" -> ", newpath.as_ref()].concat(), &e))
    }
}
