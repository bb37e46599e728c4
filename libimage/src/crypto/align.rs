//! Requests of any bytes, made of requests of whole sectors: nothing less can be encrypted.
//!
//! A sector of which only a part is written is read first. Whoever writes parts of sectors must therefore
//! keep everybody else from writing meanwhile; [`Edges`] does.

use super::{MAX_SECTOR, SECTOR};
use crate::error::Result;
use crate::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What one step of a long request covers: small enough for the processor's cache.
pub(crate) const STEP: usize = 256 * 1024;

/// True if a request covers whole sectors.
pub(crate) fn is_aligned(offset: u64, length: usize) -> bool {
    offset.is_multiple_of(SECTOR as u64) && length.is_multiple_of(SECTOR)
}

/// Keeps writers of whole sectors apart from those of parts.
#[derive(Debug, Default)]
pub(crate) struct Edges(RwLock<()>);

/// The right to write, as long as it lives.
pub(crate) enum Right<'a> {
    Shared { _guard: RwLockReadGuard<'a, ()> },
    Alone { _guard: RwLockWriteGuard<'a, ()> },
}

impl Edges {
    /// Waits until a write may go on.
    pub(crate) fn enter(&self, offset: u64, length: usize) -> Right<'_> {
        if is_aligned(offset, length) {
            Right::Shared { _guard: self.0.read().unwrap_or_else(PoisonError::into_inner) }
        } else {
            Right::Alone { _guard: self.0.write().unwrap_or_else(PoisonError::into_inner) }
        }
    }
}

/// Reads any bytes by `read`ing whole sectors of `sector` bytes, at most [`MAX_SECTOR`].
pub(crate) fn read(
    buf: &mut [u8],
    offset: u64,
    sector: usize,
    mut read: impl FnMut(&mut [u8], u64) -> Result<()>,
) -> Result<()> {
    let (mut rest, mut at) = (buf, offset);
    while !rest.is_empty() {
        let inside = (at % sector as u64) as usize;
        let whole = if inside == 0 { rest.len() - rest.len() % sector } else { 0 };
        if whole > 0 {
            let (part, later) = rest.split_at_mut(whole);
            read(part, at)?;
            at += whole as u64;
            rest = later;
            continue;
        }
        let mut bytes = [0; MAX_SECTOR];
        let bytes = bytes.get_mut(..sector).unwrap_or_default();
        read(bytes, at - inside as u64)?;
        let length = rest.len().min(sector - inside);
        let (part, later) = rest.split_at_mut(length);
        part.copy_from_slice(bytes.get(inside..inside + length).unwrap_or_default());
        at += length as u64;
        rest = later;
    }
    Ok(())
}

/// Writes any bytes by `read`ing and `write`ing whole sectors.
pub(crate) fn write(
    buf: &[u8],
    offset: u64,
    mut read: impl FnMut(&mut [u8], u64) -> Result<()>,
    mut write: impl FnMut(&[u8], u64) -> Result<()>,
) -> Result<()> {
    let (mut rest, mut at) = (buf, offset);
    while !rest.is_empty() {
        let inside = (at % SECTOR as u64) as usize;
        let whole = if inside == 0 { rest.len() - rest.len() % SECTOR } else { 0 };
        if whole > 0 {
            let (part, later) = rest.split_at(whole);
            write(part, at)?;
            at += whole as u64;
            rest = later;
            continue;
        }
        let start = at - inside as u64;
        let mut sector = [0; SECTOR];
        read(&mut sector, start)?;
        let length = rest.len().min(SECTOR - inside);
        let (part, later) = rest.split_at(length);
        if let Some(place) = sector.get_mut(inside..inside + length) {
            place.copy_from_slice(part);
        }
        write(&sector, start)?;
        at += length as u64;
        rest = later;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn any_bytes_are_read_and_written() {
        let disk = RefCell::new((0..4096u32).map(|i| (i * 7 / 3) as u8).collect::<Vec<u8>>());
        let fetch = |buf: &mut [u8], at: u64| {
            assert!(is_aligned(at, buf.len()));
            buf.copy_from_slice(&disk.borrow()[at as usize..][..buf.len()]);
            Ok(())
        };
        for (offset, length) in [(0, 512), (1, 1), (511, 2), (100, 3000), (512, 700), (0, 4096), (4095, 1)] {
            let mut buf = vec![0; length];
            for sector in [512, 1024, 4096] {
                buf.fill(0);
                read(&mut buf, offset, sector, |buf, at| {
                    assert!(at.is_multiple_of(sector as u64) && buf.len().is_multiple_of(sector));
                    fetch(buf, at)
                })
                .unwrap();
            }
            assert_eq!(buf, disk.borrow()[offset as usize..][..length]);
            let mut expected = disk.borrow().clone();
            expected[offset as usize..][..length].fill(0xa5);
            let store = |buf: &[u8], at: u64| {
                assert!(is_aligned(at, buf.len()));
                disk.borrow_mut()[at as usize..][..buf.len()].copy_from_slice(buf);
                Ok(())
            };
            write(&vec![0xa5; length], offset, fetch, store).unwrap();
            assert_eq!(*disk.borrow(), expected);
        }
    }
}
