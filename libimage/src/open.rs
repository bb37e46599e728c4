//! From a file name to an image: probing its format and opening the chain of its backing files.
//!
//! Only what is needed is opened, and nothing that a name in an image could reach by a trick: a backing
//! file is a local file, found relative to the image that names it, and a chain never meets itself.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::block::Block;
use crate::error::{Error, Result};
use crate::format::qcow2::{self, Qcow2};
use crate::format::raw::Raw;
use crate::format::{Format, probe};
use crate::storage::{FileOptions, FileStorage};

/// Chains longer than this are a mistake or an attack.
const MAX_CHAIN: usize = 200;

/// How an image is opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenOptions {
    /// Its format; guessed if not given.
    pub format: Option<Format>,
    /// Refuse writes.
    pub read_only: bool,
    /// Tolerate that others write to it meanwhile; implies reading only.
    pub force_share: bool,
    /// Leave the backing files alone. What they would supply then reads as zeroes, so this is for looking
    /// at the image itself.
    pub no_backing: bool,
    /// Accept damage that a check wants to see.
    pub check: bool,
}

/// An open image, with those that it builds upon.
pub struct Image {
    storage: Arc<FileStorage>,
    node: Node,
    guessed: bool,
    backing: Option<Box<Image>>,
}

enum Node {
    Raw(Arc<Raw>),
    Qcow2(Arc<Qcow2>),
}

impl Image {
    /// Opens `path` and, unless told otherwise, all its backing files (for reading).
    ///
    /// # Errors
    /// When one of the files cannot be opened or is no image of its format, or the chain is a loop.
    pub fn open(path: impl AsRef<Path>, options: OpenOptions) -> Result<Self> {
        let path = path.as_ref();
        Self::open_chain(path, options).map_err(|e| e.context(format!("Could not open '{}'", path.display())))
    }

    fn open_chain(path: &Path, options: OpenOptions) -> Result<Self> {
        let top = Self::open_one(path, options)?;
        if options.no_backing {
            return Ok(top);
        }
        let below = OpenOptions { format: None, read_only: true, check: false, ..options };
        let mut chain = vec![top];
        while let Some(last) = chain.last() {
            // Each image says that it was its backing file that could not be opened.
            let depth = chain.len();
            let wrap = |e: Error| (0..depth).fold(e, |e, _| e.context("Could not open backing file"));
            let Some((next, format)) = last.backing_reference().map_err(wrap)? else { break };
            if depth >= MAX_CHAIN {
                return Err(Error::Invalid(format!("It has more than {MAX_CHAIN} backing files")));
            }
            // Asked first: an image that is open for writing could not be opened again.
            let identity = std::fs::metadata(&next).ok().map(|m| (m.dev(), m.ino()));
            if identity.is_some() && chain.iter().any(|image| image.storage.identity() == identity) {
                let shown = next.display();
                return Err(Error::Invalid(format!("Backing file '{shown}' creates an infinite loop.")));
            }
            let opened = Self::open_one(&next, OpenOptions { format, ..below }).map_err(wrap)?;
            chain.push(opened);
        }
        let mut lower: Option<Box<Image>> = None;
        while let Some(mut image) = chain.pop() {
            if let (Node::Qcow2(qcow2), Some(below)) = (&image.node, &lower) {
                qcow2.set_backing(Some(below.block()));
            }
            image.backing = lower.take();
            lower = Some(Box::new(image));
        }
        lower.map(|top| *top).ok_or_else(|| Error::Invalid("There is no image to open".to_owned()))
    }

    fn open_one(path: &Path, options: OpenOptions) -> Result<Self> {
        let file = FileOptions { read_only: options.read_only, force_share: options.force_share };
        let storage = Arc::new(FileStorage::open(path, file)?);
        Self::over(storage, options)
    }

    /// An image in a file that is open already, without its backing files.
    fn over(storage: Arc<FileStorage>, options: OpenOptions) -> Result<Self> {
        let (format, guessed) = match options.format {
            Some(format) => (format, false),
            None => (probe::probe(&*storage)?, true),
        };
        let read_only = options.read_only || options.force_share;
        let block: Arc<dyn Block> = storage.clone();
        let node = match format {
            Format::Raw if guessed => Node::Raw(Arc::new(Raw::guessed(block))),
            Format::Raw => Node::Raw(Arc::new(Raw::new(block))),
            Format::Qcow2 => {
                let options = qcow2::OpenOptions { read_only, check: options.check, ..Default::default() };
                Node::Qcow2(Arc::new(Qcow2::open(block, options).map_err(unnamed)?))
            }
        };
        Ok(Image { storage, node, guessed, backing: None })
    }

    /// The image's contents, its backing files included.
    pub fn block(&self) -> Arc<dyn Block> {
        match &self.node {
            Node::Raw(raw) => raw.clone(),
            Node::Qcow2(qcow2) => qcow2.clone(),
        }
    }

    /// The image as qcow2, if it is that.
    pub fn qcow2(&self) -> Option<&Arc<Qcow2>> {
        match &self.node {
            Node::Qcow2(qcow2) => Some(qcow2),
            Node::Raw(_) => None,
        }
    }

    /// Its format.
    pub fn format(&self) -> Format {
        match &self.node {
            Node::Raw(_) => Format::Raw,
            Node::Qcow2(_) => Format::Qcow2,
        }
    }

    /// The format is a guess.
    pub fn is_guessed(&self) -> bool {
        self.guessed
    }

    /// The file that the image itself is in.
    pub fn storage(&self) -> &Arc<FileStorage> {
        &self.storage
    }

    /// The name it was opened by.
    pub fn name(&self) -> &str {
        self.storage.name()
    }

    /// The image that supplies what this one does not hold.
    pub fn backing(&self) -> Option<&Image> {
        self.backing.as_deref()
    }

    /// The backing file's path and format, as this image's header has them.
    ///
    /// # Errors
    /// When the header names something that is not a local file, or a format that is not known.
    pub fn backing_reference(&self) -> Result<Option<(PathBuf, Option<Format>)>> {
        let Node::Qcow2(qcow2) = &self.node else { return Ok(None) };
        let Some(name) = qcow2.backing_file()? else { return Ok(None) };
        let format = match qcow2.backing_format()? {
            Some(format) => Some(
                Format::by_name(&format)
                    .map_err(|_| Error::NotFound(format!("Unknown driver '{format}'")))?,
            ),
            None => None,
        };
        Ok(Some((resolve(self.storage.path(), &name)?, format)))
    }
}

/// The same error without the file's name: what is wrong is said after "Could not open NAME".
fn unnamed(error: Error) -> Error {
    match error {
        Error::Corrupt { what, offset: None, .. } | Error::Unsupported { what, .. } => Error::Invalid(what),
        other => other,
    }
}

/// The protocols that a backing file's name may begin with elsewhere.
const PROTOCOLS: [&str; 13] = [
    "json", "nbd", "nbd+unix", "nbds", "http", "https", "ftp", "ftps", "ssh", "rbd", "iscsi", "nfs", "vvfat",
];

/// Where the backing file `name` of the image at `image` lies.
///
/// # Errors
/// When the name is not that of a local file.
pub fn resolve(image: &Path, name: &str) -> Result<PathBuf> {
    if let Some(scheme) = scheme(name) {
        if scheme == "file" {
            let path = &name["file:".len()..];
            return resolve_path(image, path.strip_prefix("//").unwrap_or(path));
        }
        if !PROTOCOLS.contains(&scheme) {
            return Err(Error::Invalid(format!("Unknown protocol '{scheme}'")));
        }
        return Err(Error::Invalid(format!(
            "The backing file '{name}' is not a local file (a file whose name has a colon is written ./NAME)"
        )));
    }
    resolve_path(image, name)
}

fn resolve_path(image: &Path, name: &str) -> Result<PathBuf> {
    let directory = image.parent().unwrap_or(Path::new(""));
    Ok(directory.join(name))
}

/// The part before a colon that comes before any slash: `json`, `nbd`, `http`.
fn scheme(name: &str) -> Option<&str> {
    let (scheme, _) = name.split_once(':')?;
    (!scheme.contains('/')).then_some(scheme)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn backing_names_are_relative_to_the_image() {
        let from = |name| resolve(Path::new("/images/top.qcow2"), name).unwrap();
        assert_eq!(from("base.raw"), Path::new("/images/base.raw"));
        assert_eq!(from("/x/base.raw"), Path::new("/x/base.raw"));
        assert_eq!(from("file:base.raw"), Path::new("/images/base.raw"));
        assert_eq!(from("./a:b"), Path::new("/images/./a:b"));
        for refused in ["json:{}", "nbd://host", "http://host/x"] {
            assert!(resolve(Path::new("top"), refused).is_err());
        }
        assert_eq!(resolve(Path::new("top"), "base").unwrap(), Path::new("base"));
    }
}
