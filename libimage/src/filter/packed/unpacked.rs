//! What can only be unpacked from its beginning: it is, once, to a temporary file in which zeroes take no space.

use std::io::Read;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::stream::failure;
use crate::block::{Block, Extent, Limits, check_range, read_only};
use crate::error::{Error, Result};
use crate::filter::blocks::lock;
use crate::filter::marks::Marks;
use crate::filter::temporary::Temporary;
use crate::job::zero::is_zero;

/// Bytes that are unpacked at once, and are either stored or all zeroes.
const BLOCK: u64 = 64 * 1024;

/// What was unpacked as a whole, for all who open the same file: it is unpacked once.
#[derive(Default)]
pub struct Whole(Mutex<Option<Arc<dyn Block>>>);

impl Whole {
    /// What was unpacked before, or else what `unpack` does.
    pub(super) fn or_unpack(&self, unpack: impl FnOnce() -> Result<Unpacked>) -> Result<Arc<dyn Block>> {
        let mut whole = lock(&self.0);
        if let Some(block) = &*whole {
            return Ok(Arc::clone(block));
        }
        let block: Arc<dyn Block> = Arc::new(unpack()?);
        *whole = Some(Arc::clone(&block));
        Ok(block)
    }
}

/// A device in a temporary file.
pub(super) struct Unpacked {
    file: Temporary,
    size: u64,
    stored: Marks<bool>,
    name: String,
}

impl Unpacked {
    /// Unpacks all that `reader` gives, `most` bytes at most.
    ///
    /// # Errors
    /// When it is damaged or longer, or there is no space.
    pub(super) fn new(mut reader: impl Read, name: &str, most: u64) -> Result<Self> {
        let file = Temporary::new()?;
        let mut stored = Marks::new();
        let mut buf = vec![0; BLOCK as usize];
        let mut size = 0_u64;
        loop {
            let mut filled = 0;
            while let Some(rest @ [_, ..]) = buf.get_mut(filled..) {
                match reader.read(rest) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(failure(name, 0, "it cannot be unpacked", error)),
                }
            }
            let bytes = buf.get(..filled).unwrap_or_default();
            if !is_zero(bytes) {
                file.write(bytes, size)?;
                stored.set(size / BLOCK..size / BLOCK + 1, true);
            }
            size = size.saturating_add(filled as u64);
            if size > most {
                return Err(Error::unsupported(
                    name,
                    format!("it is larger than {most} bytes when unpacked"),
                ));
            }
            if filled < buf.len() {
                return Ok(Unpacked { file, size, stored, name: name.to_owned() });
            }
        }
    }
}

impl Block for Unpacked {
    read_only!();

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(self, offset, buf.len() as u64)?;
        self.file.read(buf, offset)
    }

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        let (stored, until) = self.stored.run(range.start / BLOCK, range.end.div_ceil(BLOCK));
        let length = until.saturating_mul(BLOCK).min(range.end) - range.start;
        Ok(if stored { Extent { offset: None, ..Extent::data(length, 0) } } else { Extent::zero(length) })
    }

    fn limits(&self) -> Limits {
        Limits { zero_init: true, ..Limits::default() }
    }

    fn name(&self) -> &str {
        &self.name
    }
}
