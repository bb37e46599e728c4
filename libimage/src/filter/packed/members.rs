//! gzip (RFC 1952) and bzip2: one member after the other, as `gunzip` and `bunzip2` read them. There is no way into the
//! middle of one.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;

use super::stream::Stream;
use super::unpacked::{Unpacked, Whole};
use crate::block::Block;
use crate::error::Result;

/// How members begin.
const GZIP: &[u8] = &[0x1f, 0x8b];
const BZIP2: &[u8] = b"BZh";

/// All members of a file. What follows the last one and is none is left alone.
struct Members<R, D> {
    /// `None` after the end, or an error.
    member: Option<D>,
    begin: fn(R) -> D,
    end: fn(D) -> R,
    magic: &'static [u8],
}

impl<R: BufRead, D: Read> Read for Members<R, D> {
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
            let Some(mut input) = self.member.take().map(self.end) else { return Ok(0) };
            // A member that begins where the buffer ends is seen by its first byte alone: what is wrong with the
            // second one its decoder says.
            let next = input.fill_buf()?;
            let seen = next.len().min(self.magic.len());
            if next.is_empty() || !self.magic.starts_with(next.get(..seen).unwrap_or_default()) {
                return Ok(0);
            }
            self.member = Some((self.begin)(input));
        }
    }
}

/// Unpacks a gzip file, `most` bytes at most, unless it is there as a `whole`.
///
/// # Errors
/// When it is no gzip file, damaged, or too large; and when there is no space for temporary files.
pub fn gzip(below: &dyn Block, most: u64, whole: &Whole) -> Result<Arc<dyn Block>> {
    whole.or_unpack(|| {
        let stream = Stream::new(below, 0..below.size());
        let (begin, end): (fn(_) -> _, fn(_) -> _) = (GzDecoder::new, GzDecoder::into_inner);
        let members = Members { member: Some(begin(stream)), begin, end, magic: GZIP };
        Unpacked::new(members, below.name(), most)
    })
}

/// Unpacks a bzip2 file as [`gzip`] does its kind.
///
/// # Errors
/// As for [`gzip`].
pub fn bzip2(below: &dyn Block, most: u64, whole: &Whole) -> Result<Arc<dyn Block>> {
    whole.or_unpack(|| {
        let stream = Stream::new(below, 0..below.size());
        let (begin, end): (fn(_) -> _, fn(_) -> _) = (BzDecoder::new, BzDecoder::into_inner);
        let members = Members { member: Some(begin(stream)), begin, end, magic: BZIP2 };
        Unpacked::new(members, below.name(), most)
    })
}
