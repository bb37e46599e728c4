//! Copying from something that takes its time and cannot seek: one thread reads, the others write.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::copy::{Target, write_runs};
use super::ordered::ordered;
use super::progress::Progress;
use crate::block::{Block, Preallocation};
use crate::error::{Error, Result};

/// Bytes of a raw stream that are read at once, unless the target asks for more.
const PIECE: usize = 1 << 20;
/// By how much a target of unknown size is made larger at least, in bytes.
const GROWTH: u64 = 1 << 30;

/// Writes all bytes of `source` to `out`, in order, read by `workers` threads.
///
/// # Errors
/// When the source cannot be read or the target not be written; [`Error::Cancelled`].
pub fn write_raw_stream(
    source: &dyn Block,
    out: &mut dyn Write,
    workers: usize,
    progress: &dyn Progress,
) -> Result<()> {
    let size = source.size();
    progress.step("Writing", size);
    let zeroes = vec![0; PIECE];
    let make = |number: u64| {
        if progress.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let start = number * PIECE as u64;
        let length = (size - start).min(PIECE as u64);
        let extent = source.status(start..start + length)?;
        if extent.zero && extent.length == length {
            return Ok((length, None));
        }
        let mut bytes = vec![0; length as usize];
        let read = source.read_at(&mut bytes, start);
        read.map_err(|e| e.context(format!("error while reading at byte {start}")))?;
        Ok((length, Some(bytes)))
    };
    ordered(size.div_ceil(PIECE as u64), workers, make, |(length, bytes)| {
        let bytes = bytes.as_deref().or(zeroes.get(..length as usize)).unwrap_or_default();
        out.write_all(bytes).map_err(|source| Error::io("write to", "standard output", source))?;
        progress.advance(length);
        Ok(())
    })?;
    out.flush().map_err(|source| Error::io("write to", "standard output", source))
}

/// Calls `feed` with a place to put bytes, each with its offset; `workers` threads write them to `target`.
/// Offsets are multiples of the target's granularity.
///
/// # Errors
/// What `feed` returns; the first failing write; [`Error::Cancelled`].
pub fn copy_stream(
    target: &dyn Target,
    workers: usize,
    progress: &dyn Progress,
    feed: impl FnOnce(&mut dyn FnMut(u64, Vec<u8>) -> Result<()>) -> Result<()>,
) -> Result<()> {
    let workers = workers.max(1);
    let (send, receive) = sync_channel::<(u64, Vec<u8>)>(2 * workers);
    let receive = Mutex::new(receive);
    let failed = AtomicBool::new(false);
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let work = || {
        loop {
            let next = receive.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((offset, bytes)) = next else { return };
            // Emptied also after an error, so that the reader does not wait for ever.
            if failed.load(Ordering::Relaxed) {
                continue;
            }
            if let Err(error) = write_runs(target, &bytes, offset) {
                failed.store(true, Ordering::Relaxed);
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
            progress.advance(bytes.len() as u64);
        }
    };
    let fed = thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
        let mut put = |offset, bytes| {
            if progress.is_cancelled() || failed.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            send.send((offset, bytes)).map_err(|_| Error::Cancelled)
        };
        let fed = feed(&mut put);
        drop(send);
        fed
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => fed,
    }
}

/// Copies a raw stream whose length nobody knows to `target`, which writes into `disk`, a disk that is made as
/// large as it needs to be. `head` is what has been read of the stream already.
///
/// # Errors
/// As for [`copy_stream`]; and when the disk cannot be made larger.
pub fn copy_raw_stream(
    input: &mut dyn Read,
    head: &[u8],
    disk: &dyn Block,
    target: &dyn Target,
    workers: usize,
    progress: &dyn Progress,
) -> Result<()> {
    let piece = PIECE.max(target.granularity());
    let mut at = 0;
    let mut rest = head;
    copy_stream(target, workers, progress, |put| {
        loop {
            let mut bytes = Vec::with_capacity(piece);
            let missing = Read::by_ref(&mut rest).chain(&mut *input);
            let read = missing.take(piece as u64).read_to_end(&mut bytes);
            read.map_err(|source| Error::io("read", "standard input", source))?;
            let length = bytes.len();
            // Disks consist of whole sectors.
            bytes.resize(length.next_multiple_of(512), 0);
            let end = at + bytes.len() as u64;
            if end > disk.size() {
                let size = end.max(disk.size().saturating_mul(2)).max(GROWTH);
                disk.resize(size, Preallocation::Off)?;
            }
            if length > 0 {
                put(at, bytes)?;
            }
            at = end;
            if length < piece {
                return Ok(());
            }
        }
    })?;
    if disk.size() == at { Ok(()) } else { disk.resize(at, Preallocation::Off) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::job::Silent;
    use crate::job::copy::Plain;
    use crate::storage::Memory;

    #[test]
    fn a_stream_of_any_length_arrives() {
        for length in [0, 1, 511, 512, PIECE, PIECE + 1, 3 * PIECE + 700] {
            let bytes: Vec<u8> = (0..length).map(|i| (i / 3 % 251) as u8).collect();
            let disk = Memory::new(0);
            let target = Plain { block: &disk, starts_zeroed: true, sparse: 4096, over_backing: false };
            let (head, mut rest) = bytes.split_at(length.min(100));
            copy_raw_stream(&mut rest, head, &disk, &target, 3, &Silent).unwrap();
            assert_eq!(disk.size(), length.next_multiple_of(512) as u64);
            let mut found = vec![1; disk.size() as usize];
            disk.read_at(&mut found, 0).unwrap();
            assert!(found[..length] == bytes && found[length..].iter().all(|&b| b == 0), "{length}");
        }
    }

    #[test]
    fn who_cannot_write_stops_the_reader() {
        struct Endless;
        impl Read for Endless {
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                buf.fill(1);
                Ok(buf.len())
            }
        }
        struct Full;
        impl Target for Full {
            fn write(&self, _: &[u8], offset: u64) -> Result<()> {
                if offset < 5 << 20 { Ok(()) } else { Err(Error::Invalid("full".to_owned())) }
            }
            fn zero(&self, _: std::ops::Range<u64>) -> Result<()> {
                Ok(())
            }
            fn granularity(&self) -> usize {
                4096
            }
            fn starts_zeroed(&self) -> bool {
                true
            }
            fn over_backing(&self) -> bool {
                false
            }
        }
        let disk = Memory::new(0);
        let done = copy_raw_stream(&mut Endless, &[], &disk, &Full, 2, &Silent);
        assert!(matches!(done, Err(Error::Context { .. })));
    }
}
