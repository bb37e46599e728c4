//! Writing that can be taken back: what is about to be changed is first copied, durably, into another file.
//!
//! The undo file is a header and then records, each a range as it was. A record is durable before the range
//! is changed for the first time, so the file serves after a power cut too; a record that is torn belongs to
//! a change that never happened. At the end it is sealed with checksums of everything that was written: an image
//! that somebody changed since is not taken back.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::block::{Block, Extent, Limits, Preallocation, Zero};
use crate::error::{Error, Result};
use crate::fields::Fields;

const MAGIC: &[u8; 8] = b"DWUNDO\0\x01";
/// Ranges are kept in whole pages.
const PAGE: u64 = 64 * 1024;

const OLD: u8 = b'O';
const SEAL: u8 = b'S';

/// Passes everything on and keeps what was there before.
pub struct Undo {
    inner: Arc<dyn Block>,
    path: PathBuf,
    old_size: u64,
    state: Mutex<State>,
}

struct State {
    /// Made at the first change.
    file: Option<File>,
    kept: BTreeSet<u64>,
    /// All pages that were changed, also those behind the old end.
    touched: BTreeSet<u64>,
}

impl Undo {
    /// Keeps what changes in `inner` in a new file at `path`, which is made at the first change.
    ///
    /// # Errors
    /// When there is such a file already.
    pub fn new(inner: Arc<dyn Block>, path: &Path) -> Result<Self> {
        if path.exists() {
            let what = "it exists already; give another name for the undo file, or remove it";
            return Err(Error::unsupported(path.display().to_string(), what));
        }
        let old_size = inner.size();
        let state = Mutex::new(State { file: None, kept: BTreeSet::new(), touched: BTreeSet::new() });
        Ok(Undo { inner, path: path.to_owned(), old_size, state })
    }

    /// Something was changed, so the undo file exists.
    pub fn is_used(&self) -> bool {
        self.state().file.is_some()
    }

    /// Writes down what the changes made, so that later changes are noticed.
    ///
    /// # Errors
    /// When either file fails.
    pub fn seal(&self) -> Result<()> {
        let mut state = self.state();
        let State { file: Some(file), touched, .. } = &mut *state else { return Ok(()) };
        let mut record = vec![SEAL];
        record.extend_from_slice(&self.inner.size().to_le_bytes());
        record.extend_from_slice(&(touched.len() as u64).to_le_bytes());
        for page in touched.iter() {
            record.extend_from_slice(&page.to_le_bytes());
            record.extend_from_slice(&checksum_at(&*self.inner, page * PAGE)?.to_le_bytes());
        }
        let checksum = crc32fast::hash(&record);
        record.extend_from_slice(&checksum.to_le_bytes());
        file.write_all(&record).and_then(|()| file.sync_all()).map_err(|e| self.failed(e))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: std::io::Error) -> Error {
        Error::io("write to", self.path.display().to_string(), error)
    }

    /// Keeps the pages of `range` as they are.
    fn keep(&self, range: Range<u64>) -> Result<()> {
        let mut state = self.state();
        let mut added = false;
        state.touched.extend(range.start / PAGE..range.end.div_ceil(PAGE));
        // What lies behind the old end has no old contents.
        let end = range.end.min(self.old_size);
        for page in range.start / PAGE..end.div_ceil(PAGE).max(range.start / PAGE) {
            if state.kept.contains(&page) {
                continue;
            }
            let file = self.open(&mut state)?;
            let bytes = page_at(&*self.inner, page * PAGE)?;
            let mut record = vec![OLD];
            record.extend_from_slice(&page.to_le_bytes());
            record.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            record.extend_from_slice(&bytes);
            let checksum = crc32fast::hash(&record);
            record.extend_from_slice(&checksum.to_le_bytes());
            file.write_all(&record).map_err(|e| self.failed(e))?;
            state.kept.insert(page);
            added = true;
        }
        // Growth alone has to be taken back too.
        if state.file.is_none() {
            self.open(&mut state)?;
            added = true;
        }
        if added && let Some(file) = &state.file {
            file.sync_data().map_err(|e| self.failed(e))?;
        }
        Ok(())
    }

    fn open<'a>(&self, state: &'a mut State) -> Result<&'a mut File> {
        match &mut state.file {
            Some(file) => Ok(file),
            none => {
                let mut file = File::create_new(&self.path).map_err(|e| self.failed(e))?;
                let mut header = MAGIC.to_vec();
                header.extend_from_slice(&self.old_size.to_le_bytes());
                let checksum = crc32fast::hash(&header);
                header.extend_from_slice(&checksum.to_le_bytes());
                file.write_all(&header).and_then(|()| file.sync_all()).map_err(|e| self.failed(e))?;
                let directory = self.path.parent().filter(|p| !p.as_os_str().is_empty());
                if let Ok(directory) = File::open(directory.unwrap_or(Path::new("."))) {
                    directory.sync_all().map_err(|e| self.failed(e))?;
                }
                Ok(none.insert(file))
            }
        }
    }
}

/// A page of `block`, shorter where it ends.
fn page_at(block: &dyn Block, start: u64) -> Result<Vec<u8>> {
    let length = block.size().saturating_sub(start).min(PAGE);
    let mut bytes = vec![0; length as usize];
    if length > 0 {
        block.read_at(&mut bytes, start)?;
    }
    Ok(bytes)
}

fn checksum_at(block: &dyn Block, start: u64) -> Result<u32> {
    Ok(crc32fast::hash(&page_at(block, start)?))
}

impl Block for Undo {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.keep(offset..offset.saturating_add(buf.len() as u64))?;
        self.inner.write_at(buf, offset)
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> Result<()> {
        self.keep(range.clone())?;
        self.inner.write_zeroes(range, how)
    }

    /// Nothing is given back: what could be discarded may be what somebody wants to have again.
    fn discard(&self, range: Range<u64>) -> Result<()> {
        crate::block::check_range(self, range.start, range.end.saturating_sub(range.start))
    }

    fn flush(&self) -> Result<()> {
        self.inner.flush()
    }

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        self.inner.status(range)
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn is_read_only(&self) -> bool {
        self.inner.is_read_only()
    }

    fn resize(&self, size: u64, preallocation: Preallocation) -> Result<()> {
        let old = self.inner.size();
        self.keep(size.min(old)..old)?;
        self.inner.resize(size, preallocation)
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn allocated_bytes(&self) -> Option<u64> {
        self.inner.allocated_bytes()
    }
}

/// An undo file as read.
struct Recorded {
    old_size: u64,
    pages: Vec<(u64, Vec<u8>)>,
    seal: Option<(u64, Vec<(u64, u32)>)>,
}

/// Puts back what the undo file at `path` holds, and returns how many bytes that were.
///
/// # Errors
/// When the file is none of these, or the image is not as the changes left it; nothing is changed then.
pub fn undo(image: &dyn Block, path: &Path) -> Result<u64> {
    let recorded = read(path)?;
    if let Some((size, pages)) = &recorded.seal {
        let changed = || {
            let what = format!("it was changed since '{}' was written; nothing was undone", path.display());
            Error::unsupported(image.name(), what)
        };
        if image.size() != *size {
            return Err(changed());
        }
        for (page, checksum) in pages {
            let start = page.checked_mul(PAGE).ok_or_else(changed)?;
            if checksum_at(image, start)? != *checksum {
                return Err(changed());
            }
        }
    }
    let mut total = 0;
    // The first pages last: a header that is old again says that all is old again.
    for (page, bytes) in recorded.pages.iter().rev() {
        image.write_at(bytes, page * PAGE)?;
        total += bytes.len() as u64;
    }
    image.resize(recorded.old_size, Preallocation::Off)?;
    image.flush()?;
    Ok(total)
}

fn read(path: &Path) -> Result<Recorded> {
    let name = path.display().to_string();
    let bad = |what: &str| Error::corrupt(name.clone(), what);
    let file = File::open(path).map_err(|e| Error::io("open", name.clone(), e))?;
    let mut input = BufReader::new(file);
    let mut header = [0; 20];
    input.read_exact(&mut header).map_err(|_| bad("it is too short for an undo file"))?;
    if !header.starts_with(MAGIC) || crc32fast::hash(&header[..16]) != Fields(&header).le32(16) {
        return Err(bad("it is no undo file"));
    }
    let mut recorded = Recorded { old_size: Fields(&header).le64(8), pages: Vec::new(), seal: None };
    // Whatever cannot be read whole was being written when the power went.
    while let Some(record) = record(&mut input) {
        match record {
            Record::Old(page, bytes) => {
                if recorded.seal.is_some() || page.checked_mul(PAGE).is_none_or(|at| at >= recorded.old_size)
                {
                    return Err(bad("it holds a record that cannot be"));
                }
                recorded.pages.push((page, bytes));
            }
            Record::Seal(size, pages) => recorded.seal = Some((size, pages)),
        }
    }
    Ok(recorded)
}

enum Record {
    Old(u64, Vec<u8>),
    Seal(u64, Vec<(u64, u32)>),
}

/// The next whole record.
fn record(input: &mut impl Read) -> Option<Record> {
    let mut bytes = vec![0; 1];
    input.read_exact(&mut bytes).ok()?;
    let kind = bytes[0];
    let mut more = |bytes: &mut Vec<u8>, length: u64| {
        // Lengths are not believed: only what is there is taken in.
        (input.take(length).read_to_end(bytes).ok()? as u64 == length).then_some(())
    };
    let fixed = match kind {
        OLD => 12,
        SEAL => 16,
        _ => return None,
    };
    more(&mut bytes, fixed)?;
    let (first, length) = match kind {
        OLD => (Fields(&bytes).le64(1), u64::from(Fields(&bytes).le32(9))),
        _ => (Fields(&bytes).le64(1), Fields(&bytes).le64(9).checked_mul(12)?),
    };
    if kind == OLD && length > PAGE {
        return None;
    }
    more(&mut bytes, length)?;
    let mut checksum = Vec::new();
    more(&mut checksum, 4)?;
    if crc32fast::hash(&bytes) != Fields(&checksum).le32(0) {
        return None;
    }
    Some(match kind {
        OLD => Record::Old(first, bytes.split_off(13)),
        _ => {
            let list = bytes[17..].chunks_exact(12).map(|c| (Fields(c).le64(0), Fields(c).le32(8))).collect();
            Record::Seal(first, list)
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::storage::Memory;

    fn bytes(block: &dyn Block) -> Vec<u8> {
        let mut bytes = vec![0; block.size() as usize];
        block.read_at(&mut bytes, 0).unwrap();
        bytes
    }

    fn change(undo: &Undo) {
        undo.write_at(&[7; 100], 70_000).unwrap();
        undo.write_zeroes(0..5, Zero::MayUnmap).unwrap();
        undo.write_at(&[8; 300_000], 150_000).unwrap();
        undo.resize(60_000, Preallocation::Off).unwrap();
        undo.write_at(&[9; 10], 199_000).unwrap();
    }

    #[test]
    fn what_was_changed_is_taken_back() {
        let before: Vec<u8> = (0..200_001).map(|i| (i % 251) as u8).collect();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("undo");
        let image = Arc::new(Memory::from_bytes(&before));
        let filter = Undo::new(image.clone(), &path).unwrap();
        assert!(!filter.is_used());
        change(&filter);
        filter.seal().unwrap();
        assert!(Undo::new(image.clone(), &path).is_err());
        // Somebody else's change is not lost.
        let after = bytes(&*image);
        image.write_at(&[1], 100).unwrap();
        assert!(undo(&*image, &path).is_err());
        image.write_at(&after[100..101], 100).unwrap();
        undo(&*image, &path).unwrap();
        assert!(bytes(&*image) == before);
    }

    #[test]
    fn every_torn_end_of_the_undo_file_is_understood() {
        let before: Vec<u8> = (0..200_001).map(|i| (i % 251) as u8).collect();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("undo");
        let image = Arc::new(Memory::from_bytes(&before));
        // Not sealed: the power went in the middle.
        change(&Undo::new(image.clone(), &path).unwrap());
        let whole = std::fs::read(&path).unwrap();
        let after = bytes(&*image);
        for cut in (1000..40_000).step_by(997) {
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let image = Memory::from_bytes(&after);
            undo(&image, &path).unwrap();
            assert_eq!(image.size(), 200_001);
        }
        std::fs::write(&path, &whole).unwrap();
        undo(&*image, &path).unwrap();
        assert!(bytes(&*image) == before);
        for cut in 0..20 {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(undo(&*image, &path).is_err());
        }
    }
}
