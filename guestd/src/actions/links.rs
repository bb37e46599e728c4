//! Hard and symbolic links.

use crate::worker::{GuestPath, Worker};
use guestd_api::actions::links::Server;
use guestd_api::{Failure, GuestString};
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Says what a link that failed was between.
fn failure(target: &GuestString, name: &GuestPath, error: &io::Error) -> Failure {
    let mut subject = target.as_bytes().to_vec();
    subject.extend_from_slice(b": ");
    subject.extend_from_slice(name.as_ref());
    Failure::io(subject, error)
}

/// Where `ln -f` makes its link: inside of an existing directory, else at the name itself.
fn place(target: &OsStr, name: &Path) -> PathBuf {
    match (name.metadata(), Path::new(target).file_name()) {
        (Ok(metadata), Some(base)) if metadata.is_dir() => name.join(base),
        _ => name.to_owned(),
    }
}

/// Makes a link in the place of a file or link of its name; a directory in its place is an error.
fn replace(place: &Path, link: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    match link(place) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(place)?;
            link(place)
        }
        done => done,
    }
}

impl Server for Worker {
    fn ln(&self, target: GuestString, linkname: GuestPath) -> Result<(), Failure> {
        let _guest = self.guest()?;
        std::fs::hard_link(target.as_os_str(), linkname.path()).map_err(|e| failure(&target, &linkname, &e))
    }

    fn ln_f(&self, target: GuestString, linkname: GuestPath) -> Result<(), Failure> {
        let _guest = self.guest()?;
        let place = place(target.as_os_str(), linkname.path());
        let same_file = |a: &Path, b: &Path| {
            use std::os::unix::fs::MetadataExt;
            matches!((a.symlink_metadata(), b.symlink_metadata()), (Ok(a), Ok(b)) if (a.dev(), a.ino()) == (b.dev(), b.ino()))
        };
        // Replacing a name of the very file would remove what is to be linked.
        if same_file(Path::new(target.as_os_str()), &place) {
            return Ok(());
        }
        if Path::new(target.as_os_str()).symlink_metadata().is_err() {
            return Err(failure(&target, &linkname, &io::Error::from_raw_os_error(libc::ENOENT)));
        }
        replace(&place, |place| std::fs::hard_link(target.as_os_str(), place))
            .map_err(|e| failure(&target, &linkname, &e))
    }

    fn ln_s(&self, target: GuestString, linkname: GuestPath) -> Result<(), Failure> {
        let _guest = self.guest()?;
        symlink(target.as_os_str(), linkname.path()).map_err(|e| failure(&target, &linkname, &e))
    }

    fn ln_sf(&self, target: GuestString, linkname: GuestPath) -> Result<(), Failure> {
        let _guest = self.guest()?;
        let place = place(target.as_os_str(), linkname.path());
        replace(&place, |place| symlink(target.as_os_str(), place))
            .map_err(|e| failure(&target, &linkname, &e))
    }

    fn readlink(&self, path: GuestPath) -> Result<GuestString, Failure> {
        let _guest = self.guest()?;
        Ok(std::fs::read_link(path.path()).map_err(|e| path.failure(e))?.into_os_string().into())
    }

    fn readlinklist(&self, path: GuestPath, names: Vec<GuestString>) -> Result<Vec<GuestString>, Failure> {
        let _guest = self.guest()?;
        // A directory that is missing is an error, a name that is missing or no link is an empty answer.
        path.path().metadata().map_err(|e| path.failure(e))?;
        let target =
            |name| std::fs::read_link(path.join(name)).map(|t| t.into_os_string().into()).unwrap_or_default();
        Ok(names.iter().map(target).collect())
    }
}
