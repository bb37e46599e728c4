//! Opening one node: its `file` child first, then what all nodes have in common, then what its driver does.
//!
//! That order is QEMU's, so that of several mistakes the same one is reported.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::describe::{Described, strong_options};
use super::driver::Driver;
use super::option::{choice, number, size, switch};
use super::{Contents, Context, Image};
use crate::block::{Block, Zero};
use crate::error::{Error, Result};
use crate::filter::{Policy, Rules, Slice};
use crate::format::qcow2::{self, OverlapChecks, Qcow2};
use crate::format::raw::Raw;
use crate::format::{Format, probe};
use crate::spec::{Dict, Name};
use crate::storage::{Direct, FileOptions, FileStorage, Null};

/// Nodes above each other that are more than this are a mistake or an attack.
const MAX_DEPTH: usize = 200;
/// The longest name of a node, in bytes.
const MAX_NODE_NAME: usize = 31;

/// How a node is opened, as far as its options say nothing else.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) read_only: bool,
    pub(super) force_share: bool,
    pub(super) no_backing: bool,
    /// Nothing will be read but metadata: what holds data need not be there.
    pub(super) no_io: bool,
    pub(super) check: bool,
    pub(super) direct: bool,
    pub(super) no_flush: bool,
    /// The image so many backing files down is to be written; 0 for none.
    pub(super) writable_below: u32,
    /// It is to have bytes: no format is guessed.
    pub(super) protocol: bool,
    /// A format interprets its bytes, and may make it grow.
    pub(super) as_file: bool,
}

/// The opening of one tree.
pub(super) struct Opening<'a> {
    pub(super) context: &'a Context<'a>,
    node_names: BTreeSet<String>,
    /// The files that are open, from the top of the chain down.
    pub(super) files: Vec<(u64, u64)>,
    depth: usize,
}

impl<'a> Opening<'a> {
    pub(super) fn new(context: &'a Context<'a>) -> Self {
        Opening { context, node_names: BTreeSet::new(), files: Vec::new(), depth: 0 }
    }

    /// Opens the node that `options` describe, and those below it; `name` is that of the lowest one.
    pub(super) fn node(&mut self, name: Option<Name>, options: Dict, flags: Flags) -> Result<Image> {
        if self.depth >= MAX_DEPTH {
            return Err(Error::Invalid(format!("It has more than {MAX_DEPTH} backing files")));
        }
        self.depth += 1;
        let opened = self.node_here(name, options, flags);
        self.depth -= 1;
        opened
    }

    fn node_here(&mut self, name: Option<Name>, mut options: Dict, mut flags: Flags) -> Result<Image> {
        let driver =
            match options.take("driver").filter(|value| matches!(value, crate::spec::Scalar::Text(_))) {
                Some(value) => Some(Driver::by_name(&value.shown())?),
                None => None,
            };
        flags.as_file = flags.protocol;
        flags.protocol = driver.map_or(flags.protocol, Driver::is_protocol);
        let own = options.clone();
        let given =
            !flags.no_backing && own.iter().any(|(key, _)| key == "backing" || key.starts_with("backing."));
        let wants_backing = self.wants_backing(&mut options, &mut flags);
        let inherited = generic_hints(&options, flags);
        let mut image = if flags.protocol {
            self.protocol(name, driver, &mut options, inherited)?
        } else {
            self.format(name, driver, &mut options, inherited)?
        };
        if wants_backing && !flags.no_backing {
            image.backing = self.backing(&image, &mut options, inherited)?.map(Box::new);
            if let (Some(qcow2), Some(below)) = (image.qcow2(), &image.backing) {
                qcow2.set_backing(Some(below.block()));
            }
        }
        if let Some((key, _)) = options.iter().next() {
            let (kind, verb) = match image.driver.is_protocol() {
                true => ("protocol", "doesn't"),
                false => ("format", "does not"),
            };
            let name = image.driver.name();
            return Err(Error::Invalid(format!("Block {kind} '{name}' {verb} support the option '{key}'")));
        }
        let rules = rules(&mut own.clone())?;
        if rules != Rules::default() && !image.block().is_read_only() {
            image.ruled = Some(Arc::new(Policy::new(image.block(), rules)));
        }
        image.backing_given = given;
        image.described = Described::of(&image, strong_options(image.driver, &own));
        Ok(image)
    }

    /// A node with bytes of its own.
    fn protocol(
        &mut self,
        name: Option<Name>,
        driver: Option<Driver>,
        options: &mut Dict,
        flags: Flags,
    ) -> Result<Image> {
        let given = options.text("filename").cloned();
        if name.is_some() && given.is_some() {
            let what = "Can't specify 'file' and 'filename' options at the same time";
            return Err(Error::Invalid(what.to_owned()));
        }
        let with_prefix = name.as_ref().is_some_and(|name| !name.is_path);
        let filename = name.map(|name| name.text).or(given);
        let driver = match (driver, &filename) {
            (Some(driver), _) => driver,
            (None, Some(filename)) => Driver::of_name(filename, with_prefix)?,
            (None, None) => return Err(Error::Invalid("Must specify either driver or file".to_owned())),
        };
        let filename = filename.map(|name| if with_prefix { without_prefix(driver, name) } else { name });
        let flags = self.generic_options(options, flags)?;
        if let Driver::Null(name) = driver {
            if filename.is_some_and(|filename| filename.as_bytes() != format!("{name}://").as_bytes()) {
                return Err(Error::Invalid(format!(
                    "The only allowed filename for this driver is '{name}://'"
                )));
            }
            options.take("filename");
            return null(driver, options, flags);
        }
        if driver == Driver::Nbd {
            return self.nbd(filename, options, flags);
        }
        options.take("filename");
        let Some(filename) = filename.filter(|name| !name.is_empty()) else {
            let what = format!("The '{}' block driver requires a file name", driver.name());
            return Err(Error::Invalid(what));
        };
        self.file(driver, filename.into(), options, flags)
    }

    fn file(&mut self, driver: Driver, path: PathBuf, options: &mut Dict, flags: Flags) -> Result<Image> {
        let locking = choice(options, "locking", &["auto", "on", "off"])?;
        let aio = choice(options, "aio", &["threads", "native", "io_uring"])?;
        if aio == Some("native") && !flags.direct {
            let what = "aio=native was specified, but it requires cache.direct=on, which was not specified.";
            return Err(Error::Invalid(what.to_owned()));
        }
        number(options, "aio-max-batch")?;
        for name in ["drop-cache", "x-check-cache-dropped"] {
            switch(options, name)?;
        }
        if let Some(manager) = options.take("pr-manager") {
            let what = format!("No persistent reservation manager with id '{}'", manager.shown());
            return Err(Error::Invalid(what));
        }
        // Asked first: an image that is open for writing could not be opened again.
        let identity = std::fs::metadata(&path).ok().map(|m| (m.dev(), m.ino()));
        if let Some(identity) = identity {
            if self.files.contains(&identity) {
                let shown = path.display();
                return Err(Error::Invalid(format!("Backing file '{shown}' creates an infinite loop.")));
            }
            self.files.push(identity);
        }
        let mut file_options = FileOptions {
            read_only: flags.read_only,
            force_share: flags.force_share,
            unlocked: locking == Some("off"),
            direct: flags.direct,
        };
        let storage = match FileStorage::open(&path, file_options) {
            Err(Error::Io { source, .. })
                if flags.direct && source.kind() == std::io::ErrorKind::InvalidInput =>
            {
                (self.context.warn)(&format!(
                    "The file system of '{}' does not support O_DIRECT: cache.direct is ignored",
                    path.display()
                ));
                file_options.direct = false;
                FileStorage::open(&path, file_options)?
            }
            other => other?,
        };
        let storage = Arc::new(storage);
        if storage.is_device() != (driver == Driver::HostDevice) {
            let (name, shown) = (driver.name(), path.display());
            let kind =
                if storage.is_device() { "a regular file" } else { "either a character or block device" };
            return Err(Error::Invalid(format!("'{name}' driver requires '{shown}' to be {kind}")));
        }
        if flags.no_flush {
            storage.leave_flushes_to_kernel();
        }
        let block: Arc<dyn Block> = match file_options.direct {
            true => Arc::new(Direct::new(Arc::clone(&storage))),
            false => storage.clone(),
        };
        let described = Described { path: Some(path), ..Described::default() };
        Ok(Image::new(driver, Contents::File { storage, block }, described))
    }

    /// A node that interprets the bytes of another one.
    fn format(
        &mut self,
        name: Option<Name>,
        driver: Option<Driver>,
        options: &mut Dict,
        flags: Flags,
    ) -> Result<Image> {
        let file = self.file_child(name, options, flags)?;
        let (driver, guessed) = match (driver, &file) {
            (Some(driver), _) => (driver, false),
            (None, Some(file)) => (Driver::Format(probe::probe(&*file.block())?), true),
            (None, None) => return Err(Error::Invalid("Must specify either driver or file".to_owned())),
        };
        let flags = self.generic_options(options, flags)?;
        let Some(file) = file else {
            return Err(Error::Invalid("A block device must be specified for \"file\"".to_owned()));
        };
        let (mut header, mut data_file) = (None, None);
        let contents = match driver.format() {
            Some(Format::Qcow2) => {
                let (contents, external) = self.qcow2(&file, options, flags)?;
                data_file = external;
                contents
            }
            Some(Format::Luks) => {
                let (contents, detached) = self.luks(&file, options, flags)?;
                header = detached;
                contents
            }
            _ => raw(&file, guessed, options, flags)?,
        };
        let mut image = Image::new(driver, contents, Described::default());
        image.file = Some(Box::new(file));
        image.header = header.map(Box::new);
        image.data_file = data_file.map(Box::new);
        image.guessed = guessed;
        Ok(image)
    }

    /// The image, and its data file if that is apart.
    fn qcow2(&mut self, file: &Image, options: &mut Dict, flags: Flags) -> Result<(Contents, Option<Image>)> {
        let given = Qcow2Options::take(options)?;
        let open = qcow2::OpenOptions {
            read_only: flags.read_only,
            check: flags.check,
            cache_bytes: given.cache_bytes.unwrap_or(qcow2::OpenOptions::default().cache_bytes),
            lazy_refcounts: given.lazy_refcounts,
            overlap_checks: given.overlap_checks,
        };
        let image = Arc::new(Qcow2::open(file.block(), open).map_err(unnamed)?);
        given.check(&image)?;
        self.unlock(&image, given.encryption, flags)?;
        let data_file = self.data_file(&image, options, flags)?;
        Ok((Contents::Qcow2(image), data_file))
    }

    /// What all nodes know. Returns how this one is really opened.
    fn generic_options(&mut self, options: &mut Dict, mut flags: Flags) -> Result<Flags> {
        let node_name = options.take("node-name").map(|value| value.shown());
        flags.direct = switch(options, "cache.direct")?.unwrap_or(flags.direct);
        flags.no_flush = switch(options, "cache.no-flush")?.unwrap_or(flags.no_flush);
        flags.read_only = switch(options, "read-only")?.unwrap_or(flags.read_only);
        switch(options, "auto-read-only")?;
        flags.force_share = switch(options, "force-share")?.unwrap_or(flags.force_share);
        if flags.force_share && !flags.read_only {
            let what = "force-share=on can only be used with read-only images";
            return Err(Error::Invalid(what.to_owned()));
        }
        rules(options)?;
        if let Some(name) = node_name {
            let is_good = name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
            if !is_good {
                return Err(Error::Invalid(format!("Invalid node-name: '{name}'")));
            }
            if name.len() > MAX_NODE_NAME {
                return Err(Error::Invalid("Node name too long".to_owned()));
            }
            if !self.node_names.insert(name.clone()) {
                return Err(Error::Invalid(format!("Duplicate nodes with node-name='{name}'")));
            }
        }
        Ok(flags)
    }
}

impl Image {
    pub(super) fn new(driver: Driver, contents: Contents, described: Described) -> Self {
        Image {
            driver,
            contents,
            guessed: false,
            file: None,
            backing: None,
            data_file: None,
            header: None,
            backing_given: false,
            described,
            ruled: None,
            write_through: None,
        }
    }
}

/// How children are opened: as this node is, however its options are spelled. What is wrong with them is told when
/// it is this node's turn.
fn generic_hints(options: &Dict, mut flags: Flags) -> Flags {
    let mut hints = options.clone();
    let mut hint = |name: &str| switch(&mut hints, name).ok().flatten();
    flags.direct = hint("cache.direct").unwrap_or(flags.direct);
    flags.no_flush = hint("cache.no-flush").unwrap_or(flags.no_flush);
    flags.read_only = hint("read-only").unwrap_or(flags.read_only);
    flags.force_share = hint("force-share").unwrap_or(flags.force_share);
    flags
}

/// What the options of a node say about zeroes and discards.
fn rules(options: &mut Dict) -> Result<Rules> {
    let discard = options.take("discard").map(|value| value.shown());
    let unmaps = match discard.as_deref() {
        None => None,
        Some("off" | "ignore") => Some(false),
        Some("on" | "unmap") => Some(true),
        Some(_) => return Err(Error::Invalid("Invalid discard option".to_owned())),
    };
    let zeroes = match choice(options, "detect-zeroes", &["off", "on", "unmap"])? {
        Some("on") => Some(Zero::KeepAllocated),
        Some("unmap") if unmaps != Some(true) => {
            let what =
                "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap";
            return Err(Error::Invalid(what.to_owned()));
        }
        Some("unmap") => Some(Zero::MayUnmap),
        _ => None,
    };
    Ok(Rules { keep_space: unmaps == Some(false), zeroes })
}

/// Removes the protocol from a name: what is left of a file's name may look like one itself.
fn without_prefix(driver: Driver, name: OsString) -> OsString {
    let prefix: &[u8] = match driver {
        Driver::File => b"file:",
        Driver::HostDevice => b"host_device:",
        _ => return name,
    };
    let Some(rest) = name.as_bytes().strip_prefix(prefix) else { return name };
    let rest = OsString::from_vec(rest.to_vec());
    if crate::spec::protocol(&rest).is_none() {
        return rest;
    }
    let mut marked = OsString::from("./");
    marked.push(rest);
    marked
}

fn null(driver: Driver, options: &mut Dict, flags: Flags) -> Result<Image> {
    let bytes = size(options, "size")?.unwrap_or(1 << 30);
    let latency = number(options, "latency-ns")?.unwrap_or(0);
    let zeroes = switch(options, "read-zeroes")?.unwrap_or(false);
    if latency > i64::MAX as u64 {
        return Err(Error::Invalid("latency-ns is invalid".to_owned()));
    }
    let block = Null::new(driver.name(), bytes, zeroes, flags.read_only)?;
    Ok(Image::new(driver, Contents::Plain(Arc::new(block)), Described::default()))
}

fn raw(file: &Image, guessed: bool, options: &mut Dict, flags: Flags) -> Result<Contents> {
    let offset = size(options, "offset")?.unwrap_or(0);
    let window = size(options, "size")?;
    let below = file.block();
    let whole = below.size();
    if offset > whole {
        return Err(Error::Invalid(format!(
            "Offset ({offset}) cannot be greater than size of the containing file ({whole})"
        )));
    }
    if let Some(size) = window {
        if size > whole - offset {
            return Err(Error::Invalid(format!(
                "The sum of offset ({offset}) and size ({size}) has to be smaller or equal to the  actual size of the containing file ({whole})"
            )));
        }
        if !size.is_multiple_of(512) {
            return Err(Error::Invalid("Specified size is not multiple of 512".to_owned()));
        }
    }
    if flags.as_file && offset == 0 && window.is_none() {
        // It grows with what is below it.
        return Ok(Contents::Plain(below));
    }
    let bytes: Arc<dyn Block> = match (offset, window) {
        (0, None) => below,
        (offset, window) => Arc::new(Slice::new(below, offset, window.unwrap_or(whole - offset))?),
    };
    let raw = if guessed { Raw::guessed(bytes) } else { Raw::new(bytes) };
    Ok(Contents::Plain(Arc::new(raw)))
}

/// The options of a qcow2 node, apart from its children's.
struct Qcow2Options {
    cache_bytes: Option<u64>,
    lazy_refcounts: Option<bool>,
    overlap_checks: OverlapChecks,
    encryption: Dict,
    l2_entry: Option<u64>,
}

impl Qcow2Options {
    fn take(options: &mut Dict) -> Result<Self> {
        let lazy_refcounts = switch(options, "lazy-refcounts")?;
        for name in
            ["pass-discard-request", "pass-discard-snapshot", "pass-discard-other", "discard-no-unref"]
        {
            switch(options, name)?;
        }
        let plain = options.take("overlap-check").map(|value| value.shown());
        let template = options.take("overlap-check.template").map(|value| value.shown());
        let mut single = Vec::new();
        for name in OverlapChecks::names() {
            if let Some(on) = switch(options, &format!("overlap-check.{name}"))? {
                single.push((name, on));
            }
        }
        let total = size(options, "cache-size")?;
        let l2 = size(options, "l2-cache-size")?;
        let l2_entry = size(options, "l2-cache-entry-size")?;
        let refcounts = size(options, "refcount-cache-size")?;
        let interval = number(options, "cache-clean-interval")?;
        let cache_bytes = match (total, l2, refcounts) {
            (Some(_), Some(_), Some(_)) => {
                let what =
                    "cache-size, l2-cache-size and refcount-cache-size may not be set at the same time";
                return Err(Error::Invalid(what.to_owned()));
            }
            (Some(total), Some(l2), _) if l2 > total => {
                return Err(Error::Invalid("l2-cache-size may not exceed cache-size".to_owned()));
            }
            (Some(total), _, Some(refcounts)) if refcounts > total => {
                return Err(Error::Invalid("refcount-cache-size may not exceed cache-size".to_owned()));
            }
            (None, None, None) => None,
            (Some(total), _, _) => Some(total),
            (None, l2, refcounts) => Some(l2.unwrap_or(0).saturating_add(refcounts.unwrap_or(0))),
        };
        if interval.is_some_and(|seconds| seconds > u64::from(u32::MAX)) {
            return Err(Error::Invalid("Cache clean interval too big".to_owned()));
        }
        if let (Some(plain), Some(template)) = (&plain, &template)
            && plain != template
        {
            return Err(Error::Invalid(format!(
                "Conflicting values for qcow2 options 'overlap-check' ('{plain}') and 'overlap-check.template' ('{template}')"
            )));
        }
        let mut overlap_checks = OverlapChecks::default();
        if let Some(value) = plain.or(template) {
            overlap_checks = OverlapChecks::template(&value).ok_or_else(|| {
                Error::Invalid(format!(
                    "Unsupported value '{value}' for qcow2 option 'overlap-check'. Allowed are any of the following: none, constant, cached, all"
                ))
            })?;
        }
        for (name, on) in single {
            overlap_checks.set(name, on);
        }
        let encryption = options.take_child("encrypt");
        // Pages are always small: a cache of a few serves any image.
        let cache_bytes = cache_bytes.map(|bytes| bytes.max(1 << 20));
        Ok(Qcow2Options { cache_bytes, lazy_refcounts, overlap_checks, encryption, l2_entry })
    }

    /// Refuses what does not fit the image.
    fn check(&self, image: &Qcow2) -> Result<()> {
        let cluster = image.cluster_size();
        if self.l2_entry.is_some_and(|size| !size.is_power_of_two() || !(512..=cluster).contains(&size)) {
            return Err(Error::Invalid(format!(
                "L2 cache entry size must be a power of two between 512 and the cluster size ({cluster})"
            )));
        }
        if self.lazy_refcounts == Some(true) && image.info()?.version < 3 {
            let what = "Lazy refcounts require a qcow2 image with at least qemu 1.1 compatibility level";
            return Err(Error::Invalid(what.to_owned()));
        }
        Ok(())
    }
}

/// The same error without the file's name: what is wrong is said after "Could not open NAME".
fn unnamed(error: Error) -> Error {
    match error {
        Error::Corrupt { what, offset: None, .. } | Error::Unsupported { what, .. } => Error::Invalid(what),
        other => other,
    }
}
