//! Copying and moving inside the guest.

use super::copy_bytes::{Amount, Job};
use crate::disks::Device;
use crate::worker::{DevOrPath, GuestPath, Worker};
use guestd_api::Failure;
use guestd_api::actions::copy::{
    CopyDeviceToDeviceOptions, CopyDeviceToFileOptions, CopyFileToDeviceOptions, CopyFileToFileOptions,
    Server,
};
use std::ffi::OsStr;
use std::path::PathBuf;

/// The same options of four actions.
macro_rules! job {
    ($opts:ident) => {
        Job::new($opts.srcoffset, $opts.destoffset, $opts.size, $opts.sparse, $opts.append)?
    };
}

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
        self.two_paths("cp", None, self.outside_plain(&src)?, self.outside_plain(&dest)?)
    }

    fn cp_a(&self, src: GuestPath, dest: GuestPath) -> Result<(), Failure> {
        self.two_paths("cp", Some("-a"), self.outside_entry(&src)?, self.outside_plain(&dest)?)
    }

    fn cp_r(&self, src: GuestPath, dest: GuestPath) -> Result<(), Failure> {
        self.two_paths("cp", Some("-r"), self.outside_entry(&src)?, self.outside_plain(&dest)?)
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
                self.two_paths("mv", None, self.outside_entry(&src)?, self.outside_plain(&dest)?)
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

    fn copy_device_to_device(
        &self,
        src: Device,
        dest: Device,
        opts: CopyDeviceToDeviceOptions,
    ) -> Result<(), Failure> {
        self.copy_bytes(&DevOrPath::Device(src), &DevOrPath::Device(dest), &job!(opts))
    }

    fn copy_device_to_file(
        &self,
        src: Device,
        dest: GuestPath,
        opts: CopyDeviceToFileOptions,
    ) -> Result<(), Failure> {
        self.copy_bytes(&DevOrPath::Device(src), &DevOrPath::Path(dest), &job!(opts))
    }

    fn copy_file_to_device(
        &self,
        src: GuestPath,
        dest: Device,
        opts: CopyFileToDeviceOptions,
    ) -> Result<(), Failure> {
        self.copy_bytes(&DevOrPath::Path(src), &DevOrPath::Device(dest), &job!(opts))
    }

    fn copy_file_to_file(
        &self,
        src: GuestPath,
        dest: GuestPath,
        opts: CopyFileToFileOptions,
    ) -> Result<(), Failure> {
        self.copy_bytes(&DevOrPath::Path(src), &DevOrPath::Path(dest), &job!(opts))
    }

    fn copy_size(&self, src: DevOrPath, dest: DevOrPath, size: i64) -> Result<(), Failure> {
        let size = u64::try_from(size).map_err(|_| Failure::new("size is negative"))?;
        let job =
            Job { amount: Amount::Exactly { bytes: size, short: "input file too short" }, ..Job::default() };
        self.copy_bytes(&src, &dest, &job)
    }

    fn dd(&self, src: DevOrPath, dest: DevOrPath) -> Result<(), Failure> {
        self.copy_bytes(&src, &dest, &Job { words_of_dd: true, ..Job::default() })
    }
}
