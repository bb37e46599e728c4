//! Archives in and out.

use crate::task::{Input, Output};
use crate::worker::{GuestPath, Worker};
use guestd_api::actions::archive::{Server, TarInOptions, TarOutOptions};
use guestd_api::{Failure, GuestString, Worker as _};
use std::ffi::OsString;
use std::path::PathBuf;

/// The option of tar for a kind of compression.
fn filter(compress: Option<&GuestString>) -> Result<Option<&'static str>, Failure> {
    let Some(kind) = compress else { return Ok(None) };
    match kind.to_str() {
        Some("compress") => Ok(Some("--compress")),
        Some("gzip") => Ok(Some("--gzip")),
        Some("bzip2") => Ok(Some("--bzip2")),
        Some("xz") => Ok(Some("--xz")),
        Some("lzop") => Ok(Some("--lzop")),
        Some("lzma") => Ok(Some("--lzma")),
        Some("zstd") => Ok(Some("--zstd")),
        _ => Err(Failure::new(format!("unknown compression type: {kind}"))),
    }
}

/// The options of tar for what is not in every archive.
fn extras(
    xattrs: Option<bool>,
    selinux: Option<bool>,
    acls: Option<bool>,
) -> impl Iterator<Item = &'static str> {
    let choices =
        [(xattrs, "--xattrs"), (xattrs, "--xattrs-include=*"), (selinux, "--selinux"), (acls, "--acls")];
    choices.into_iter().filter(|(wanted, _)| wanted.unwrap_or(false)).map(|(_, option)| option)
}

impl Worker {
    /// The place of a directory of the guest, for tar to work in.
    fn directory(&self, directory: &GuestPath) -> Result<PathBuf, Failure> {
        let place = self.outside(directory)?;
        let _guest = self.guest()?;
        if !directory.path().metadata().map_err(|e| directory.failure(e))?.is_dir() {
            return Err(Failure::new(format!("{}: not a directory", GuestString::from(directory.as_ref()))));
        }
        Ok(place)
    }
}

impl Server for Worker {
    fn tar_in(&self, mut tarfile: Input, directory: GuestPath, opts: TarInOptions) -> Result<(), Failure> {
        let place = self.directory(&directory)?;
        let tar = self.tool("tar")?.arg("-x").arg("-f").arg("-").arg("-C").arg(place);
        let tar =
            tar.args(filter(opts.compress.as_ref())?).args(extras(opts.xattrs, opts.selinux, opts.acls));
        // A stock tar keeps the owners it is given by name; the guest's names are not known to it.
        let done = tar.arg("--numeric-owner").finish_with(Some(&mut tarfile), None)?;
        done.success().map_err(|failure| Failure::new(format!("error in tar: {}", failure.message)))
    }

    fn tar_out(
        &self,
        directory: GuestString,
        mut tarfile: Output,
        opts: TarOutOptions,
    ) -> Result<(), Failure> {
        let directory = self.path("directory", directory)?;
        let place = self.directory(&directory)?;
        let mut tar = self.tool("tar")?.arg("-c").arg("-f").arg("-").arg("-C").arg(place);
        tar = tar.args(filter(opts.compress.as_ref())?).args(extras(opts.xattrs, opts.selinux, opts.acls));
        if opts.numericowner.unwrap_or(false) {
            tar = tar.arg("--numeric-owner");
        }
        for pattern in opts.excludes.unwrap_or_default() {
            let mut option = OsString::from("--exclude=");
            option.push(pattern.as_os_str());
            tar = tar.arg(option);
        }
        let done = tar.arg("--").arg(".").finish_with(None, Some(&mut tarfile))?;
        done.success().map_err(|failure| Failure::new(format!("error in tar: {}", failure.message)))
    }
}
