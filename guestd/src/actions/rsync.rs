//! Synchronising directories by rsync.

use crate::worker::{GuestPath, Worker};
use guestd_api::actions::rsync::{RsyncInOptions, RsyncOptions, RsyncOutOptions, Server};
use guestd_api::{Failure, GuestString};
use std::ffi::{OsStr, OsString};

impl Worker {
    /// The place of a directory as the tools see it; a slash at its end means something to rsync.
    fn rsync_place(&self, path: &GuestPath) -> Result<OsString, Failure> {
        let mut place = self.outside(path)?.into_os_string();
        if path.as_ref().ends_with(b"/") && !place.as_encoded_bytes().ends_with(b"/") {
            place.push("/");
        }
        Ok(place)
    }

    fn run_rsync(
        &self,
        archive: Option<bool>,
        delete: Option<bool>,
        from: &[OsString],
        to: &OsStr,
    ) -> Result<(), Failure> {
        let options = [(archive, "--archive"), (delete, "--delete")];
        let options = options.iter().filter(|(wanted, _)| wanted.unwrap_or(false)).map(|(_, option)| option);
        self.tool("rsync")?.args(options).arg("--").args(from).arg(to).finish()?.success()
    }
}

impl Server for Worker {
    fn rsync(&self, src: GuestPath, dest: GuestPath, opts: RsyncOptions) -> Result<(), Failure> {
        let (from, to) = (self.rsync_place(&src)?, self.rsync_place(&dest)?);
        self.run_rsync(opts.archive, opts.deletedest, &[from], &to)
    }

    fn rsync_in(&self, remote: GuestString, dest: GuestPath, opts: RsyncInOptions) -> Result<(), Failure> {
        let to = self.rsync_place(&dest)?;
        self.run_rsync(opts.archive, opts.deletedest, &[remote.as_os_str().to_owned()], &to)
    }

    fn rsync_out(&self, src: GuestPath, remote: GuestString, opts: RsyncOutOptions) -> Result<(), Failure> {
        let places = self.agent.clone();
        let paths = self.expand_pattern(&src)?;
        let from: Vec<OsString> = paths
            .iter()
            .map(|path| {
                let real = std::path::PathBuf::from(path.as_os_str());
                let mut place = places.tools.guest_path(&places.sysroot, &real).into_os_string();
                if src.as_ref().ends_with(b"/") && !place.as_encoded_bytes().ends_with(b"/") {
                    place.push("/");
                }
                place
            })
            .collect();
        if from.is_empty() {
            return Err(src.failure(std::io::Error::from_raw_os_error(libc::ENOENT)));
        }
        self.run_rsync(opts.archive, opts.deletedest, &from, remote.as_os_str())
    }
}
