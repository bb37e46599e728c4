//! One journal file: a header, objects, and chains of arrays that name the entries in order.
//!
//! The layout is that of systemd's "Journal File Format". Nothing is mapped into memory: each object is read
//! when it is needed, and its size checked against the file before memory is taken for it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use crate::unpack::{lz4, xz, zstd};

/// A file, wherever it lies.
pub trait Source {
    /// Its length in bytes.
    ///
    /// # Errors
    /// When it cannot be asked.
    fn length(&self) -> io::Result<u64>;

    /// Fills `into` from the byte `offset` on.
    ///
    /// # Errors
    /// When it cannot be read, or ends before.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;
}

impl Source for File {
    fn length(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(into, offset)
    }
}

const SIGNATURE: &[u8] = b"LPKSHHRH";
/// Flags of a file that this reader understands: compression by xz, LZ4 and zstd, keyed hashes, compact.
const KNOWN: u32 = 0x1f;
const COMPACT: u32 = 0x10;

const DATA: u8 = 1;
const ENTRY: u8 = 3;
const ENTRY_ARRAY: u8 = 6;

/// The largest object, and the largest value once it is unpacked.
pub(crate) const MAX_OBJECT: u64 = 64 << 20;

/// Bytes of an entry before its items.
const HEAD: usize = 64;
/// Bytes of an array that are read at a time: a multiple of every item.
const PIECE: u64 = 16 << 10;

/// An open file.
pub(crate) struct JournalFile<S> {
    file: S,
    length: u64,
    /// Which series of files it belongs to.
    series: [u8; 16],
    compact: bool,
    first_array: u64,
    entries: u64,
}

/// What orders an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryHead {
    pub(crate) place: u64,
    pub(crate) series: [u8; 16],
    pub(crate) number: u64,
    pub(crate) realtime: u64,
    pub(crate) monotonic: u64,
    pub(crate) boot: [u8; 16],
}

pub(crate) fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

pub(crate) fn word(bytes: &[u8], at: usize) -> io::Result<u64> {
    let word =
        bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or_else(|| broken("it is cut short"))?;
    Ok(u64::from_le_bytes(*word))
}

fn half(bytes: &[u8], at: usize) -> io::Result<u32> {
    let half =
        bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or_else(|| broken("it is cut short"))?;
    Ok(u32::from_le_bytes(*half))
}

fn id(bytes: &[u8], at: usize) -> io::Result<[u8; 16]> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or_else(|| broken("it is cut short"))
}

impl<S: Source> JournalFile<S> {
    /// Reads the header of a file.
    pub(crate) fn new(file: S) -> io::Result<Self> {
        let length = file.length()?;
        let mut header = [0; 208];
        file.read_at(&mut header, 0)?;
        let flags = half(&header, 12)?;
        if !header.starts_with(SIGNATURE) || flags & !KNOWN != 0 {
            return Err(broken("it is no journal that is understood"));
        }
        Ok(JournalFile {
            length,
            series: id(&header, 72)?,
            compact: flags & COMPACT != 0,
            first_array: word(&header, 176)?,
            entries: word(&header, 152)?,
            file,
        })
    }

    /// The size of the object of the type that is expected at a place, checked against the file.
    fn object_head(&self, place: u64, kind: u8) -> io::Result<u64> {
        let mut header = [0; 16];
        if !place.is_multiple_of(8) || place < 208 {
            return Err(broken("an object at an impossible place"));
        }
        self.file.read_at(&mut header, place)?;
        let size = word(&header, 8)?;
        let fits = place.checked_add(size).is_some_and(|end| end <= self.length);
        if header.first() != Some(&kind) || !(16..=MAX_OBJECT).contains(&size) || !fits {
            return Err(broken("an object of an impossible type or size"));
        }
        Ok(size)
    }

    /// An object with its header, of the type that is expected there.
    fn object(&self, place: u64, kind: u8) -> io::Result<Vec<u8>> {
        let size = self.object_head(place, kind)?;
        let mut object = vec![0; usize::try_from(size).map_err(io::Error::other)?];
        self.file.read_at(&mut object, place)?;
        Ok(object)
    }

    /// The numbers in an object from a place on: 4 bytes each in compact files, else `width`.
    fn numbers(&self, object: &[u8], start: usize, width: usize) -> Vec<u64> {
        let items = object.get(start..).unwrap_or_default();
        if self.compact {
            items.as_chunks::<4>().0.iter().map(|item| u32::from_le_bytes(*item).into()).collect()
        } else {
            items.chunks_exact(width).filter_map(|item| word(item, 0).ok()).collect()
        }
    }

    /// What orders the entry at a place.
    pub(crate) fn head(&self, place: u64) -> io::Result<EntryHead> {
        let mut head = [0; HEAD];
        self.file.read_at(&mut head, place)?;
        if head.first() != Some(&ENTRY) {
            return Err(broken("there is no entry"));
        }
        Ok(EntryHead {
            place,
            series: self.series,
            number: word(&head, 16)?,
            realtime: word(&head, 24)?,
            monotonic: word(&head, 32)?,
            boot: id(&head, 40)?,
        })
    }

    /// The entries in order, up to the first that cannot be read.
    pub(crate) fn entries(&self) -> impl Iterator<Item = EntryHead> + '_ {
        let (array, items) = (0, 0..0);
        // However many the header promises: each takes up its space.
        let left = self.entries.min(self.length / HEAD as u64);
        Entries {
            file: self,
            array,
            next_array: self.first_array,
            items,
            piece: Vec::new().into_iter(),
            left,
        }
    }

    /// The data of an entry, `NAME=value` each, in the order in which they are stored.
    pub(crate) fn data(&self, entry: u64, threshold: u64) -> io::Result<Vec<Vec<u8>>> {
        let object = self.object(entry, ENTRY)?;
        let places = self.numbers(&object, 64, 16);
        // A field that is damaged leaves the others readable.
        Ok(places.into_iter().filter_map(|place| self.one(place, threshold).ok()).collect())
    }

    fn one(&self, place: u64, threshold: u64) -> io::Result<Vec<u8>> {
        let object = self.object(place, DATA)?;
        let payload = object.get(if self.compact { 72 } else { 64 }..).unwrap_or_default();
        let limit = if threshold == 0 { MAX_OBJECT } else { threshold.min(MAX_OBJECT) };
        match object.get(1).map(|flags| flags & 7) {
            Some(0) => Ok(payload.to_vec()),
            Some(1) => xz(payload, limit),
            Some(2) => lz4(payload, limit),
            Some(4) => zstd(payload, limit),
            _ => Err(broken("a value of an unknown compression")),
        }
    }
}

struct Entries<'a, S> {
    file: &'a JournalFile<S>,
    /// The array that is being read, and the one after it.
    array: u64,
    next_array: u64,
    /// Where its items are that were not read yet, and those that were.
    items: Range<u64>,
    piece: std::vec::IntoIter<u64>,
    /// How many there can be: arrays have room for more.
    left: u64,
}

impl<S: Source> Entries<'_, S> {
    /// Goes to the next array. They are only ever added at the end of a file, so that none leads back.
    fn advance(&mut self) -> Option<()> {
        let place = Some(self.next_array).filter(|next| *next > self.array)?;
        let size = self.file.object_head(place, ENTRY_ARRAY).ok()?;
        let mut next = [0; 8];
        self.file.file.read_at(&mut next, place.checked_add(16)?).ok()?;
        self.array = place;
        self.next_array = u64::from_le_bytes(next);
        self.items = place.checked_add(24)?..place.checked_add(size)?;
        (!self.items.is_empty()).then_some(())
    }

    /// Reads the next items of the array.
    fn read(&mut self) -> Option<()> {
        let length = self.items.end.checked_sub(self.items.start)?.min(PIECE);
        let mut bytes = vec![0; usize::try_from(length).ok()?];
        self.file.file.read_at(&mut bytes, self.items.start).ok()?;
        self.items.start = self.items.start.checked_add(length)?;
        self.piece = self.file.numbers(&bytes, 0, 8).into_iter();
        Some(())
    }
}

impl<S: Source> Iterator for Entries<'_, S> {
    type Item = EntryHead;

    fn next(&mut self) -> Option<EntryHead> {
        self.left = self.left.checked_sub(1)?;
        loop {
            match self.piece.next() {
                Some(0) => return None,
                Some(place) => return self.file.head(place).ok(),
                None if self.items.is_empty() => self.advance()?,
                None => self.read()?,
            }
        }
    }
}
