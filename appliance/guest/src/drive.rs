//! The disks of a guest: as they were described, and opened.
//!
//! What is added is only looked at; it is opened, and locked, when the guest is launched.

use std::fmt::Write as _;
use std::sync::Arc;

use libimage::Block;
use libimage::filter::Watch;
use libimage::format::Format;
use libimage::format::qcow2::{CreateOptions, Qcow2};
use libimage::open::{CacheMode, Image, OpenOptions};
use libimage::storage::Memory;

/// Bytes of the disk that stands for `/dev/null`.
const NULL_DISK: u64 = 4096;
/// Sector size where nothing else is asked for.
const SECTOR: u32 = 512;

/// A disk of a guest.
pub struct Drive {
    pub(crate) block: Arc<Watch<Arc<dyn Block>>>,
    pub(crate) read_only: bool,
    pub(crate) block_size: u32,
    /// The name that it has besides `/dev/sdX`.
    pub(crate) label: Option<String>,
    /// Keeps the image and its backing files open and locked.
    image: Option<Image>,
}

impl Drive {
    /// Opens an image. A read-only drive's file is never written.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &str, format: Option<Format>, read_only: bool) -> libimage::Result<Self> {
        Self::open_with(path, OpenOptions { format, read_only, ..OpenOptions::default() })
    }

    fn open_with(path: &str, options: OpenOptions) -> libimage::Result<Self> {
        let read_only = options.read_only;
        let image = Image::open(path, options)?;
        let block = Arc::new(Watch::new(image.block()));
        Ok(Drive { block, read_only, block_size: SECTOR, label: None, image: Some(image) })
    }

    /// An empty disk that nobody will miss.
    fn in_memory(size: u64, read_only: bool) -> Self {
        let block: Arc<dyn Block> = Arc::new(Memory::new(size));
        Drive { block: Arc::new(Watch::new(block)), read_only, block_size: SECTOR, label: None, image: None }
    }

    /// The image's name and format are only guessed, and it can be written: worth a warning.
    pub fn is_risky_guess(&self) -> bool {
        !self.read_only && self.image.as_ref().is_some_and(|i| i.is_guessed() && i.format() == Format::Raw)
    }

    /// What the appliance gets: of a read-only drive a copy-on-write view in memory, so that it can
    /// replay journals as if it could write.
    pub(crate) fn for_appliance(&self) -> libimage::Result<Arc<dyn Block>> {
        if !self.read_only {
            return Ok(self.block.clone());
        }
        let options = CreateOptions { size: self.block.size(), ..CreateOptions::default() };
        let overlay = Qcow2::create(Arc::new(Memory::new(0)), &options)?;
        overlay.set_backing(Some(self.block.clone()));
        Ok(Arc::new(overlay))
    }
}

/// A disk as it was added.
#[derive(Debug, Clone, Default)]
pub(crate) struct Added {
    pub(crate) source: Source,
    pub(crate) format: Option<String>,
    pub(crate) read_only: bool,
    pub(crate) iface: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) label: Option<String>,
    pub(crate) cache: Option<String>,
    pub(crate) discard: Option<String>,
    pub(crate) copy_on_read: bool,
    pub(crate) block_size: Option<u32>,
}

/// Where its bytes are.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// In a file, or a device of the host.
    File(String),
    /// Nowhere: it is empty at first and forgotten in the end.
    Scratch(u64),
}

impl Default for Source {
    fn default() -> Self {
        Source::Scratch(NULL_DISK)
    }
}

impl Added {
    /// The source that a file name stands for.
    pub(crate) fn source(name: String) -> Source {
        if name == "/dev/null" { Source::Scratch(NULL_DISK) } else { Source::File(name) }
    }

    /// Opens it. Where others may write to what is only read, no lock is asked for.
    pub(crate) fn open(&self, share: bool) -> libimage::Result<Drive> {
        let mut drive = match &self.source {
            Source::Scratch(size) => Drive::in_memory(*size, self.read_only),
            Source::File(path) => {
                let format = self.format.as_deref().map(Format::by_name).transpose()?;
                // What the appliance flushes is made durable, unless nobody would miss it.
                let unsafe_ = self.cache.as_deref() == Some("unsafe");
                let cache = if unsafe_ { CacheMode::Unsafe } else { CacheMode::Writeback };
                let read_only = self.read_only;
                let force_share = share && read_only;
                let options = OpenOptions { format, read_only, force_share, cache, ..OpenOptions::default() };
                Drive::open_with(path, options)?
            }
        };
        drive.block_size = self.block_size.unwrap_or(SECTOR);
        drive.label.clone_from(&self.label);
        Ok(drive)
    }

    /// One line for those who look for mistakes.
    pub(crate) fn line(&self) -> String {
        let mut line = match &self.source {
            Source::File(path) => path.clone(),
            Source::Scratch(size) => format!("(memory, {size} bytes)"),
        };
        if self.read_only {
            line.push_str(" readonly");
        }
        let words = [
            ("format", &self.format),
            ("iface", &self.iface),
            ("name", &self.name),
            ("label", &self.label),
            ("cache", &self.cache),
            ("discard", &self.discard),
        ];
        for (what, value) in words {
            if let Some(value) = value {
                // Text always takes more text.
                let _ = write!(line, " {what}={value}");
            }
            if what == "format" {
                line.push_str(" protocol=file");
            }
        }
        if self.copy_on_read {
            line.push_str(" copyonread");
        }
        if let Some(size) = self.block_size {
            let _ = write!(line, " blocksize={size}");
        }
        line
    }
}
