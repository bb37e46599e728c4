//! Where a disk is shown: a file that is there, or a file in a directory that becomes the mount.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fuse::mount::Kind;

/// The file's name where none is given.
const DEFAULT_NAME: &str = "nbd";

/// Where a disk is shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// What is mounted on.
    pub(super) point: PathBuf,
    /// The file's name in the mount; none if the mount is the file.
    pub(super) name: Option<OsString>,
}

impl Place {
    /// Understands `MOUNTPOINT[/FILE]`.
    ///
    /// # Errors
    /// When there is neither such a directory nor such a file.
    pub(super) fn find(word: &OsStr) -> Result<Self> {
        let path = Path::new(word);
        let wrong =
            || format!("{}: mountpoint must be \"directory\" or \"directory/filename\"", path.display());
        let absolute = |path: &Path| std::path::absolute(path).with_context(wrong);
        if let Ok(found) = path.metadata() {
            let name = match found.file_type() {
                kind if kind.is_dir() => Some(DEFAULT_NAME.into()),
                kind if kind.is_file() => None,
                _ => bail!(wrong()),
            };
            return Ok(Place { point: absolute(path)?, name });
        }
        let name = path.file_name().filter(|name| name.len() <= 255 && !word.as_bytes().ends_with(b"/"));
        let parent = path.parent().map(|parent| if parent == "" { Path::new(".") } else { parent });
        match (parent, name) {
            (Some(parent), Some(name)) if parent.is_dir() => {
                Ok(Place { point: absolute(parent)?, name: Some(name.into()) })
            }
            _ => bail!(wrong()),
        }
    }

    /// What is mounted on.
    pub(super) fn kind(&self) -> Kind {
        if self.name.is_some() { Kind::Directory } else { Kind::File }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn directories_files_and_names_in_directories() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        std::fs::write(root.join("file"), "").unwrap();
        let find = |name: &str| {
            let found = Place::find(root.join(name).as_os_str()).ok()?;
            Some((found.point, found.name.map(|name| name.into_string().unwrap())))
        };
        assert_eq!(find(""), Some((root.join(""), Some("nbd".to_owned()))));
        assert_eq!(find("disk.raw"), Some((root.to_owned(), Some("disk.raw".to_owned()))));
        assert_eq!(find("file"), Some((root.join("file"), None)));
        assert_eq!(find("no/disk"), None);
        assert_eq!(find("file/disk"), None);
        assert_eq!(find("no/"), None);
        assert!(Place::find("/dev/null".as_ref()).is_err());
    }
}
