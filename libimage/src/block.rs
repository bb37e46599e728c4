//! The one trait that storages, formats, filters and volumes share.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};

/// Bytes that [`Block::prefetch`] reads at once.
const PREFETCHED: u64 = 1 << 20;

/// A sequence of bytes that can be read and, perhaps, written at any position.
///
/// # Contract
///
/// * All methods take `&self` and may be called from several threads at once. Two requests that
///   overlap and run at the same time may land in either order, but never tear an allocation.
/// * Only positions are used: there is no cursor that two callers could share by accident.
/// * A request must lie within [`size`](Block::size), else [`Error::OutOfRange`] and nothing was done. The
///   one exception is a storage whose [`limits`](Block::limits) say `growable`: it grows when written
///   past its end, because image formats allocate that way. Reading past its end is still an error.
/// * What a write returned is visible to every later read, but survives a power cut only after a
///   [`flush`](Block::flush) that began after it returned.
/// * No request panics, whatever the image contains.
pub trait Block: Send + Sync {
    /// Size in bytes. It changes only by [`resize`](Block::resize), or by growth where allowed.
    fn size(&self) -> u64;

    /// Fills `buf` from `offset`. Holes read as zeroes.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()>;

    /// Writes all of `buf` at `offset`.
    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()>;

    /// Makes `range` read as zeroes, cheaply where possible.
    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> Result<()>;

    /// Tells that the contents of `range` are no longer needed. Afterwards it reads as zeroes or as
    /// before, in whole or in parts: a hint, never an error where it is not supported.
    fn discard(&self, range: Range<u64>) -> Result<()>;

    /// Makes everything written before this call durable.
    fn flush(&self) -> Result<()>;

    /// Brings `range` near, as it will be read soon: what keeps copies keeps one of it. Reading it once does that for
    /// all that lies over a page cache.
    fn prefetch(&self, range: Range<u64>) -> Result<()> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        let mut buf = vec![0; range.end.saturating_sub(range.start).min(PREFETCHED) as usize];
        let mut at = range.start;
        while at < range.end {
            let end = at.saturating_add(PREFETCHED).min(range.end);
            self.read_at(buf.get_mut(..(end - at) as usize).unwrap_or_default(), at)?;
            at = end;
        }
        Ok(())
    }

    /// What lies at the start of `range`. The extent begins at `range.start`, is never empty for a
    /// non-empty range, and never reaches past `range.end`. Neighbouring extents may be alike.
    fn status(&self, range: Range<u64>) -> Result<Extent>;

    /// Sizes that requests should respect, and what the implementation can do.
    fn limits(&self) -> Limits;

    /// True when every write is refused.
    fn is_read_only(&self) -> bool;

    /// Changes the size. New space reads as zeroes; space cut off is gone.
    fn resize(&self, size: u64, preallocation: Preallocation) -> Result<()> {
        let _ = (size, preallocation);
        Err(Error::unsupported(self.name(), "it cannot be resized"))
    }

    /// The file or URI this is, as messages should call it.
    fn name(&self) -> &str;

    /// The local file that stores the beginning of `range` byte for byte, if there is one: its bytes can be
    /// copied or shared without passing through memory. `None` where there is nothing stored, or where what
    /// is stored has another form (compressed, encrypted).
    fn host_range(&self, range: Range<u64>) -> Result<Option<HostRange>> {
        let _ = range;
        Ok(None)
    }

    /// Makes the bytes at `offset` those of `source`, by having the kernel copy or share them. Returns how
    /// many bytes are done, from the beginning: 0 where that is not possible, and nothing was changed then.
    /// The copy does not depend on the source: neither changes with the other.
    fn copy_from_file(&self, source: &HostRange, offset: u64) -> Result<u64> {
        let _ = (source, offset);
        Ok(0)
    }

    /// Bytes that it takes up on its medium, where that can be told.
    fn allocated_bytes(&self) -> Option<u64> {
        None
    }
}

/// The methods of a [`Block`] that nobody may write to, whatever it is: for the `impl` of one that is only a view.
macro_rules! read_only {
    () => {
        fn write_at(&self, _buf: &[u8], _offset: u64) -> $crate::Result<()> {
            Err($crate::Error::ReadOnly { file: self.name().to_owned() })
        }

        fn write_zeroes(&self, _range: std::ops::Range<u64>, _how: $crate::Zero) -> $crate::Result<()> {
            Err($crate::Error::ReadOnly { file: self.name().to_owned() })
        }

        fn discard(&self, _range: std::ops::Range<u64>) -> $crate::Result<()> {
            Err($crate::Error::ReadOnly { file: self.name().to_owned() })
        }

        fn flush(&self) -> $crate::Result<()> {
            Ok(())
        }

        fn is_read_only(&self) -> bool {
            true
        }
    };
}
pub(crate) use read_only;

/// Bytes of a local file.
#[derive(Debug, Clone)]
pub struct HostRange {
    /// Open for reading, at least.
    pub file: Arc<File>,
    /// The first byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

/// How [`Block::write_zeroes`] may go about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zero {
    /// Space may be given back (a hole that reads as zeroes).
    MayUnmap,
    /// Space stays, or becomes, allocated.
    KeepAllocated,
}

/// What [`Block::resize`] and image creation do about space that nobody has written yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preallocation {
    /// Leave it to the first write.
    #[default]
    Off,
    /// Allocate the format's metadata only.
    Metadata,
    /// Reserve the space in the file system.
    Falloc,
    /// Write zeroes to all of it.
    Full,
}

impl Preallocation {
    /// What it is called on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Preallocation::Off => "off",
            Preallocation::Metadata => "metadata",
            Preallocation::Falloc => "falloc",
            Preallocation::Full => "full",
        }
    }
}

/// A run of bytes that are all stored the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Bytes.
    pub length: u64,
    /// Some layer of the chain decides what is read here (so not merely the absence of anything).
    pub present: bool,
    /// It reads as zeroes for certain.
    pub zero: bool,
    /// Bytes are stored for it.
    pub data: bool,
    /// The stored bytes are compressed.
    pub compressed: bool,
    /// How many backing files down the deciding layer is: 0 is the image itself.
    pub depth: u32,
    /// Where the bytes lie in the deciding layer's file, if they lie there one to one.
    pub offset: Option<u64>,
}

impl Extent {
    /// Stored bytes at `offset` of the file.
    pub fn data(length: u64, offset: u64) -> Self {
        Extent {
            length,
            present: true,
            zero: false,
            data: true,
            compressed: false,
            depth: 0,
            offset: Some(offset),
        }
    }

    /// Present, reads as zeroes, nothing stored.
    pub fn zero(length: u64) -> Self {
        Extent { length, present: true, zero: true, data: false, compressed: false, depth: 0, offset: None }
    }

    /// Nothing here: the layer below decides, and without one it reads as zeroes.
    pub fn absent(length: u64) -> Self {
        Extent { present: false, ..Extent::zero(length) }
    }

    /// The same kind of extent with another length.
    pub fn with_length(self, length: u64) -> Self {
        Extent { length, ..self }
    }

    /// The part that remains when the first `skip` bytes are left out.
    pub fn skip(self, skip: u64) -> Self {
        Extent {
            length: self.length.saturating_sub(skip),
            offset: self.offset.and_then(|o| o.checked_add(skip)),
            ..self
        }
    }
}

/// Request sizes and abilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Offsets and lengths that are not multiples of this are slower (or, for `O_DIRECT`, bounced).
    pub alignment: u32,
    /// Requests of this size and alignment cost least: the cluster size of a format.
    pub preferred: u32,
    /// Writes past the end extend it.
    pub growable: bool,
    /// It reads as zeroes wherever it was never written (false for a block device).
    pub zero_init: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { alignment: 1, preferred: 64 * 1024, growable: false, zero_init: false }
    }
}

/// Refuses a request that does not lie within `block`.
pub fn check_range<B: Block + ?Sized>(block: &B, offset: u64, length: u64) -> Result<()> {
    match offset.checked_add(length) {
        Some(end) if end <= block.size() => Ok(()),
        _ => Err(Error::OutOfRange { file: block.name().to_owned(), offset, length, size: block.size() }),
    }
}
