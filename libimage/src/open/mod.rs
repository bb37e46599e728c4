//! From a name to an image: finding the nodes that options describe, probing formats, opening chains.
//!
//! An image is a tree of nodes. A protocol node (`file`) has bytes; a format node (`qcow2`) makes a disk of the
//! bytes of its `file` child, and may have a `backing` child that supplies what it does not hold itself. Each node
//! takes from the options what it knows; an option that nobody takes is an error. Only what is needed is opened,
//! a chain never meets itself, and its length is limited.

mod cache;
mod child;
mod describe;
mod driver;
mod encrypted;
mod nbd;
mod node;
mod option;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use cache::CacheMode;
pub use driver::Driver;

use crate::block::Block;
use crate::error::{Error, Result};
use crate::format::Format;
use crate::format::luks::Luks;
use crate::format::qcow2::Qcow2;
use crate::spec::{Objects, Spec, protocol};
use crate::storage::FileStorage;
use describe::Described;
use node::{Flags, Opening};

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
    /// Nothing will be read but metadata: keys, and files that hold data, need not be there.
    pub no_data: bool,
    /// Accept damage that a check wants to see.
    pub check: bool,
    /// How written data gets to the disk.
    pub cache: CacheMode,
    /// The image that is so many backing files down is to be written too; 0 for none.
    pub writable_below: u32,
}

/// What opening may use besides the options, and whom it tells of things that are no errors.
pub struct Context<'a> {
    /// Secrets that options refer to.
    pub objects: &'a Objects,
    /// Hears what the user should know.
    pub warn: &'a dyn Fn(&str),
    /// Images come from strangers: nothing that a header names is opened, only what the options name.
    pub untrusted: bool,
}

/// An open image, with those that it builds upon.
pub struct Image {
    driver: Driver,
    contents: Contents,
    guessed: bool,
    file: Option<Box<Image>>,
    backing: Option<Box<Image>>,
    data_file: Option<Box<Image>>,
    /// The header of a volume, if not in front of its data.
    header: Option<Box<Image>>,
    /// The options say something about the backing file.
    backing_given: bool,
    described: Described,
    /// Its block behind what was said about zeroes and discards.
    ruled: Option<Arc<dyn Block>>,
    write_through: Option<Arc<dyn Block>>,
}

/// What the driver of a node works with.
enum Contents {
    /// The file itself, perhaps behind something that aligns requests.
    File { storage: Arc<FileStorage>, block: Arc<dyn Block> },
    /// A qcow2 image.
    Qcow2(Arc<Qcow2>),
    /// A LUKS volume.
    Luks(Arc<Luks>),
    /// Anything of which nobody needs to know more.
    Plain(Arc<dyn Block>),
}

impl Image {
    /// Opens the local file `path` and, unless told otherwise, all its backing files (for reading).
    ///
    /// # Errors
    /// When one of the files cannot be opened or is no image of its format, or the chain is a loop.
    pub fn open(path: impl AsRef<Path>, options: OpenOptions) -> Result<Self> {
        let path = path.as_ref();
        let context = Context { objects: &Objects::default(), warn: &|_| (), untrusted: false };
        Self::open_spec(Spec::path(path), options, &context)
            .map_err(|e| e.context(format!("Could not open '{}'", path.display())))
    }

    /// Opens what `spec` describes. An [`OpenOptions::format`] counts more than a driver in it.
    ///
    /// # Errors
    /// As [`Image::open`], and for options that no node knows. The error does not name the image as a whole.
    pub fn open_spec(spec: Spec, options: OpenOptions, context: &Context<'_>) -> Result<Self> {
        let spec = match options.format {
            Some(format) => spec.with_driver(format.name()),
            None => spec,
        };
        let flags = Flags {
            read_only: options.read_only,
            force_share: options.force_share,
            no_backing: options.no_backing,
            no_io: options.no_backing || options.no_data,
            writable_below: options.writable_below,
            check: options.check,
            direct: options.cache.is_direct(),
            no_flush: options.cache.is_unsafe(),
            ..Flags::default()
        };
        let mut image = Opening::new(context).node(spec.name, spec.options, flags)?;
        if !options.read_only {
            if image.block().is_read_only() {
                return Err(Error::Invalid("Block node is read-only".to_owned()));
            }
            if options.cache.is_write_through() {
                image.write_through = Some(Arc::new(crate::filter::WriteThrough::new(image.block())));
            }
        }
        Ok(image)
    }

    /// The image's contents, its backing files included.
    pub fn block(&self) -> Arc<dyn Block> {
        if let Some(block) = self.write_through.as_ref().or(self.ruled.as_ref()) {
            return Arc::clone(block);
        }
        match &self.contents {
            Contents::File { block, .. } | Contents::Plain(block) => Arc::clone(block),
            Contents::Qcow2(qcow2) => qcow2.clone(),
            Contents::Luks(luks) => luks.clone(),
        }
    }

    /// The image as qcow2, if it is that.
    pub fn qcow2(&self) -> Option<&Arc<Qcow2>> {
        match &self.contents {
            Contents::Qcow2(qcow2) => Some(qcow2),
            _ => None,
        }
    }

    /// Something was said about zeroes and discards: what is written has to pass through [`Image::block`].
    pub fn has_rules(&self) -> bool {
        self.ruled.is_some()
    }

    /// The image as LUKS volume, if it is that.
    pub fn luks(&self) -> Option<&Arc<Luks>> {
        match &self.contents {
            Contents::Luks(luks) => Some(luks),
            _ => None,
        }
    }

    /// What its topmost node is.
    pub fn driver(&self) -> Driver {
        self.driver
    }

    /// Its format; raw for a file that no format was put upon.
    pub fn format(&self) -> Format {
        self.driver.format().unwrap_or(Format::Raw)
    }

    /// The format is a guess.
    pub fn is_guessed(&self) -> bool {
        self.guessed
    }

    /// The file that the image itself is in, if it is in one.
    pub fn storage(&self) -> Option<&Arc<FileStorage>> {
        match (&self.contents, &self.file) {
            (Contents::File { storage, .. }, _) => Some(storage),
            (_, Some(file)) => file.storage(),
            _ => None,
        }
    }

    /// What it is called: the name of its file if that is enough to open it again, else `json:{...}`.
    pub fn name(&self) -> &str {
        &self.described.name
    }

    /// The node whose bytes this one interprets.
    pub fn file(&self) -> Option<&Image> {
        self.file.as_deref()
    }

    /// The image that supplies what this one does not hold.
    pub fn backing(&self) -> Option<&Image> {
        self.backing.as_deref()
    }

    /// The image that is `depth` backing files down.
    pub fn below(&self, depth: u32) -> Option<&Image> {
        (0..depth).try_fold(self, |image, _| image.backing())
    }

    /// What the file is called that holds this image's own data.
    pub fn data_name(&self) -> &str {
        match self.data_file.as_deref().or(self.file.as_deref()) {
            Some(child) => child.data_name(),
            None => self.name(),
        }
    }

    /// The file that holds this image's data apart from its metadata.
    pub fn data_file(&self) -> Option<&Image> {
        self.data_file.as_deref()
    }

    /// All children that are open, by their names, except the backing file.
    pub fn children(&self) -> impl Iterator<Item = (&'static str, &Image)> {
        [("data-file", &self.data_file), ("header", &self.header), ("file", &self.file)]
            .into_iter()
            .filter_map(|(name, child)| child.as_deref().map(|child| (name, child)))
    }

    /// Bytes that the image itself takes up on its medium, its data file included.
    pub fn allocated_bytes(&self) -> Option<u64> {
        match &self.contents {
            Contents::File { storage, .. } => storage.allocated_bytes(),
            _ if self.file.is_none() => self.block().allocated_bytes(),
            _ => self
                .children()
                .try_fold(0u64, |sum, (_, child)| Some(sum.saturating_add(child.allocated_bytes()?))),
        }
    }

    /// The backing file's name and format as this image's header has them.
    ///
    /// # Errors
    /// When an earlier failure left the image unusable.
    pub fn backing_reference(&self) -> Result<Option<BackingReference>> {
        let Some(qcow2) = self.qcow2() else { return Ok(None) };
        let Some(name) = qcow2.backing_file()? else { return Ok(None) };
        let full = self.full_name(&name);
        Ok(Some(BackingReference { name, full, format: qcow2.backing_format()? }))
    }

    /// The name by which a file is found that this image's header calls `name`.
    ///
    /// # Errors
    /// When it is relative to a directory, and this image is in none.
    pub fn full_name(&self, name: &str) -> Result<OsString> {
        if protocol(name.as_ref()).is_some() || name.starts_with('/') || name.is_empty() {
            return Ok(name.into());
        }
        let directory = self.directory()?;
        Ok(if directory.as_os_str().is_empty() { name.into() } else { directory.join(name).into() })
    }

    /// Where names in the header are looked up.
    fn directory(&self) -> Result<PathBuf> {
        match (&self.file, &self.described.path) {
            (Some(file), _) => file.directory(),
            (None, Some(path)) if self.driver != Driver::Nbd => {
                Ok(path.parent().unwrap_or(Path::new("")).to_owned())
            }
            (None, _) => Err(Error::Invalid(format!(
                "Cannot generate a base directory for {} nodes",
                self.driver.name()
            ))),
        }
    }
}

/// What a header says about its backing file.
#[derive(Debug)]
pub struct BackingReference {
    /// The name in the header.
    pub name: String,
    /// The name by which it is found, or why there is none.
    pub full: Result<OsString>,
    /// The format in the header.
    pub format: Option<String>,
}

/// `name` stands for an export of a server, which cannot be made but only be opened.
pub fn is_server(name: &OsStr) -> bool {
    Driver::is_server(name)
}

/// What the backing file `name` of the image at `image` is.
///
/// # Errors
/// When the name makes no sense.
pub fn resolve(image: &Path, name: &str) -> Result<Spec> {
    if protocol(name.as_ref()).is_some() {
        return Spec::name(name.as_ref());
    }
    Ok(Spec::path(&image.parent().unwrap_or(Path::new("")).join(name)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests;
