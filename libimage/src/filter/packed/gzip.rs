//! gzip (RFC 1952): one member after the other, as `gunzip` reads them. There is no way into the middle of it.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use flate2::bufread::GzDecoder;

use super::stream::Stream;
use super::unpacked::{Unpacked, Whole};
use crate::block::Block;
use crate::error::Result;

/// How a member begins.
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// All members of a file. What follows the last one and is none is left alone.
struct Members<R: BufRead> {
    /// `None` only after an error.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            let Some(member) = &mut self.member else { return Ok(0) };
            let count = member.read(into)?;
            if count > 0 {
                return Ok(count);
            }
            let Some(mut input) = self.member.take().map(GzDecoder::into_inner) else { return Ok(0) };
            // A member that begins where the buffer ends is seen by its first byte alone: what is wrong with the
            // second one its decoder says.
            let next = input.fill_buf()?;
            if next.is_empty() || !MAGIC.starts_with(next.get(..next.len().min(2)).unwrap_or_default()) {
                return Ok(0);
            }
            self.member = Some(GzDecoder::new(input));
        }
    }
}

/// Unpacks a file, `most` bytes at most, unless it is there as a `whole`.
///
/// # Errors
/// When it is no gzip file, damaged, or too large; and when there is no space for temporary files.
pub fn open(below: &dyn Block, most: u64, whole: &Whole) -> Result<Arc<dyn Block>> {
    whole.or_unpack(|| {
        let stream = Stream::new(below, 0..below.size());
        let members = Members { member: Some(GzDecoder::new(stream)) };
        Unpacked::new(members, below.name(), most)
    })
}
