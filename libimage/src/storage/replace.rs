//! New files that appear whole or not at all.
//!
//! The bytes go into a file without a name in the target's directory; only when everything is there
//! does it take the target's name, in one step. Until then an existing target is untouched (and locked,
//! so that nobody starts to use it), and a process that is killed leaves nothing behind.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, linkat, openat, renameat_with};
use rustix::io::Errno;

use super::file::{FileOptions, FileStorage};
use crate::error::{Error, Result};

/// A file in the making.
#[must_use = "the file disappears unless it is committed"]
pub struct Replacement {
    storage: Arc<FileStorage>,
    /// What must still be done to give it its name; `None` when it is written in place.
    pending: Option<Pending>,
    /// The target as it was, with our lock on it.
    old: Option<FileStorage>,
    /// What is there stays when it is not committed.
    keep: bool,
}

struct Pending {
    target: PathBuf,
    /// Where the bytes are, on file systems that know no files without a name.
    named: Option<PathBuf>,
}

impl Replacement {
    /// Begins to make `path`. A block device, and a file that has several names, is written in place.
    ///
    /// # Errors
    /// When the directory is not writable, or an existing target is in use.
    pub fn new(path: impl AsRef<Path>) -> Result<Self> {
        Self::begin(path.as_ref(), None)
    }

    /// The same in a file with a name, [`Replacement::partial_name`], which stays when the work is interrupted
    /// and is taken up again the next time.
    ///
    /// # Errors
    /// As for [`Replacement::new`]; for a target that can only be written in place; and when somebody else is
    /// at it already.
    pub fn resumable(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::begin(path, Some(Self::partial_name(path)))
    }

    /// Where the bytes of a target are that is made by [`Replacement::resumable`].
    pub fn partial_name(path: &Path) -> PathBuf {
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let name = target.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        target.with_file_name(format!(".{name}.part"))
    }

    fn begin(path: &Path, partial: Option<PathBuf>) -> Result<Self> {
        // Through a symbolic link it is the file behind it that is replaced.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let name = path.display().to_string();
        let create = |source| Error::io("create", &name, source);
        if path.as_os_str().is_empty() {
            return Err(create(Errno::NOENT.into()));
        }
        let metadata = fs::metadata(&target).ok();
        if metadata.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(create(Errno::ISDIR.into()));
        }
        let in_place = metadata.as_ref().is_some_and(|m| m.file_type().is_block_device() || m.nlink() > 1);
        if in_place && partial.is_some() {
            let what = "what is written in place cannot be continued after an interruption";
            return Err(Error::unsupported(name, what));
        }
        if in_place {
            let storage = Arc::new(FileStorage::create(path)?);
            return Ok(Replacement { storage, pending: None, old: None, keep: false });
        }
        let old = match &metadata {
            Some(_) => {
                Some(FileStorage::open(path, FileOptions::default()).map_err(|error| match error {
                    Error::Io { source, .. } => create(source),
                    other => other,
                })?)
            }
            None => None,
        };
        if let Some(partial) = partial {
            let open = File::options().read(true).write(true).create(true).truncate(false).open(&partial);
            let file = open.map_err(|source| Error::io("create", partial.display().to_string(), source))?;
            let storage = Arc::new(FileStorage::adopt(file, path)?);
            let pending = Some(Pending { target, named: Some(partial) });
            return Ok(Replacement { storage, pending, old, keep: true });
        }
        let directory = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // An existing file is replaced, so its permissions are kept; a new one gets the usual ones.
        let mode = metadata.as_ref().map_or(0o666, |m| m.mode() & 0o777);
        let nameless = openat(
            CWD,
            directory,
            OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC,
            Mode::from_raw_mode(mode),
        );
        let (file, named) = match nameless {
            Ok(file) => (File::from(file), None),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let temporary = temporary_name(&target);
                let file = File::options()
                    .read(true)
                    .write(true)
                    .create_new(true)
                    .open(&temporary)
                    .map_err(create)?;
                (file, Some(temporary))
            }
            Err(errno) => return Err(create(errno.into())),
        };
        if let Some(metadata) = &metadata {
            // The owner too, where we may: an ordinary user's files are the user's own anyway.
            let owner =
                (rustix::fs::Uid::from_raw(metadata.uid()), rustix::fs::Gid::from_raw(metadata.gid()));
            let _ = rustix::fs::fchown(&file, Some(owner.0), Some(owner.1));
            let _ = rustix::fs::fchmod(&file, Mode::from_raw_mode(mode));
        }
        let storage = Arc::new(FileStorage::adopt(file, path)?);
        Ok(Replacement { storage, pending: Some(Pending { target, named }), old, keep: false })
    }

    /// The new file's bytes.
    pub fn storage(&self) -> Arc<FileStorage> {
        Arc::clone(&self.storage)
    }

    /// Gives the finished file its name.
    ///
    /// # Errors
    /// When that fails; an existing target is then still the old one.
    pub fn commit(mut self) -> Result<()> {
        let Some(pending) = self.pending.take() else { return Ok(()) };
        let io = |source: io::Error| Error::io("create", self.storage.path().display().to_string(), source);
        let named = match &pending.named {
            Some(named) => named.clone(),
            None => {
                let descriptor = format!("/proc/self/fd/{}", self.storage.raw_descriptor());
                let link = |to: &Path| linkat(CWD, &*descriptor, CWD, to, AtFlags::SYMLINK_FOLLOW);
                if self.old.is_none() && link(&pending.target).is_ok() {
                    return Ok(());
                }
                let temporary = temporary_name(&pending.target);
                link(&temporary).map_err(|e| io(e.into()))?;
                temporary
            }
        };
        // Changing places, not renaming over the old file: ext4 would write all data out at once then, which
        // is the caller's to ask for. Without an old file, or where it is not known, a rename does.
        let exchanged = self.old.is_some()
            && renameat_with(CWD, &named, CWD, &pending.target, RenameFlags::EXCHANGE).is_ok();
        let done = match exchanged {
            true => fs::remove_file(&named),
            false => fs::rename(&named, &pending.target),
        };
        done.map_err(|source| {
            let _ = fs::remove_file(&named);
            io(source)
        })
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if let Some(Pending { named: Some(named), .. }) = &self.pending
            && !self.keep
        {
            // Not committed: nobody wants it. Should this fail too, a file of obvious name remains.
            let _ = fs::remove_file(named);
        }
    }
}

fn temporary_name(target: &Path) -> PathBuf {
    let name = target.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    target.with_file_name(format!(".{name}.partial-{}", std::process::id()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::block::Block;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let abandoned = Replacement::new(&path).unwrap();
        abandoned.storage().write_at(b"half", 0).unwrap();
        drop(abandoned);
        assert!(names(dir.path()).is_empty());

        let first = Replacement::new(&path).unwrap();
        first.storage().write_at(b"one", 0).unwrap();
        assert!(names(dir.path()).is_empty());
        first.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");

        let second = Replacement::new(&path).unwrap();
        second.storage().write_at(b"second", 0).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert!(FileStorage::open(&path, FileOptions::default()).is_err(), "the old one is locked meanwhile");
        second.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(names(dir.path()), ["f"]);
    }

    #[test]
    fn links_are_followed_and_other_names_kept() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        let link = dir.path().join("link");
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        let new = Replacement::new(&link).unwrap();
        new.storage().write_at(b"new", 0).unwrap();
        new.commit().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"new");

        let other = dir.path().join("other");
        fs::hard_link(&real, &other).unwrap();
        let new = Replacement::new(&real).unwrap();
        new.storage().write_at(b"both", 0).unwrap();
        new.commit().unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"both");
    }
}
