//! A LUKS image: its payload as a disk.
//!
//! The payload is encrypted sector by sector, so requests of parts of sectors are completed first. All
//! sectors are data: nobody can tell from outside which of them hold anything.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::amend::Amend;
use super::header::Header;
use super::info::Info;
use super::keyslot::MasterKey;
use super::luks2::Header2;
use crate::block::{Block, Extent, Limits, Preallocation, Zero, check_range};
use crate::crypto::align::{self, Edges, STEP};
use crate::crypto::{SECTOR, SectorCipher};
use crate::error::{Error, Result};

/// An image in LUKS format over any storage.
pub struct Luks {
    file: Arc<dyn Block>,
    /// Where the header is, if not in front of the payload.
    detached: Option<Arc<dyn Block>>,
    header: Version,
    /// What the payload is encrypted with; nothing if the image was opened without a passphrase.
    unlocked: Option<(MasterKey, SectorCipher)>,
    /// Where the payload begins, and its length if that is said, in bytes.
    payload: u64,
    length: Option<u64>,
    /// What is added to the number of a sector.
    tweak: u64,
    /// Bytes of a sector.
    sector: usize,
    edges: Edges,
    read_only: bool,
}

/// The header, by its version.
enum Version {
    One(Box<Mutex<Header>>),
    Two(Header2),
}

impl Luks {
    /// Opens the image in `file`, whose header may lie in a file of its own. Without a password there is
    /// only what the header says: no data. Volumes of version 2 are for reading only.
    ///
    /// # Errors
    /// With QEMU's words when the header is not valid, the password is wrong, or the file is too short.
    pub fn open(
        file: Arc<dyn Block>,
        detached: Option<Arc<dyn Block>>,
        password: Option<&[u8]>,
        read_only: bool,
    ) -> Result<Self> {
        let area = detached.as_ref().unwrap_or(&file);
        if let Some(header) = Header2::read(&**area)? {
            let key = password.map(|password| header.unlock(&**area, password)).transpose()?;
            return Self::assemble_second(file, detached, header, key);
        }
        let header = Header::read(&**area, detached.is_some())?;
        let key = password.map(|password| header.unlock(&**area, password)).transpose()?;
        Self::assemble(file, detached, header, key, read_only)
    }

    pub(super) fn assemble(
        file: Arc<dyn Block>,
        detached: Option<Arc<dyn Block>>,
        header: Header,
        key: Option<MasterKey>,
        read_only: bool,
    ) -> Result<Self> {
        let payload = header.payload_offset();
        let cipher = key.as_ref().map(|key| header.payload_cipher(key)).transpose()?;
        let luks = Luks {
            unlocked: key.zip(cipher),
            header: Version::One(Box::new(Mutex::new(header))),
            detached,
            payload,
            length: None,
            tweak: 0,
            sector: SECTOR,
            edges: Edges::default(),
            read_only: read_only || file.is_read_only(),
            file,
        };
        luks.check_length()
    }

    fn assemble_second(
        file: Arc<dyn Block>,
        detached: Option<Arc<dyn Block>>,
        header: Header2,
        key: Option<MasterKey>,
    ) -> Result<Self> {
        let payload = header.payload().clone();
        let cipher = key.as_ref().map(|key| header.payload_cipher(key)).transpose()?;
        let luks = Luks {
            unlocked: key.zip(cipher),
            header: Version::Two(header),
            detached,
            payload: payload.offset,
            length: payload.size,
            tweak: payload.tweak,
            sector: payload.sector,
            edges: Edges::default(),
            read_only: true,
            file,
        };
        luks.check_length()
    }

    fn check_length(self) -> Result<Self> {
        let needed = self.payload.saturating_add(self.length.unwrap_or(0));
        if self.file.size().next_multiple_of(SECTOR as u64) < needed {
            let text = "Could not refresh total sector count: Input/output error";
            return Err(Error::Invalid(text.to_owned()));
        }
        Ok(self)
    }

    /// What the header says.
    ///
    /// # Errors
    /// When a header of version 2 says what makes no sense.
    pub fn info(&self) -> Result<Info> {
        match &self.header {
            Version::One(header) => Ok(lock(header).info()),
            Version::Two(header) => header.info(),
        }
    }

    /// Changes key slots.
    ///
    /// # Errors
    /// Those of [`Header::amend`], and when the image was opened without a passphrase.
    pub fn amend(&self, change: &Amend) -> Result<()> {
        self.writable()?;
        let Version::One(header) = &self.header else {
            let what = "its key slots cannot be changed here: it is a LUKS volume of version 2";
            return Err(Error::unsupported(self.name(), what));
        };
        let (key, _) = self.unlocked()?;
        let area = self.detached.as_ref().unwrap_or(&self.file);
        lock(header).amend(&**area, key, change)
    }

    /// The number that the sector at `offset` of the payload is encrypted under.
    fn number(&self, offset: u64) -> u64 {
        (offset / SECTOR as u64).wrapping_add(self.tweak)
    }

    fn unlocked(&self) -> Result<&(MasterKey, SectorCipher)> {
        self.unlocked.as_ref().ok_or_else(|| {
            Error::unsupported(
                self.name(),
                "it was opened without its passphrase, so its data cannot be used",
            )
        })
    }

    fn writable(&self) -> Result<()> {
        if self.read_only { Err(Error::ReadOnly { file: self.name().to_owned() }) } else { Ok(()) }
    }

    /// Reads whole sectors. The file may end within the last one: the rest is zero, and encrypted or not
    /// nobody has written it.
    fn read_sectors(&self, cipher: &SectorCipher, buf: &mut [u8], offset: u64) -> Result<()> {
        for (part, at) in buf.chunks_mut(STEP).zip((offset..).step_by(STEP)) {
            let place = self.payload + at;
            let there = self.file.size().saturating_sub(place).min(part.len() as u64) as usize;
            let (stored, beyond) = part.split_at_mut(there);
            beyond.fill(0);
            if !stored.is_empty() {
                self.file.read_at(stored, place)?;
            }
            cipher.decrypt(self.number(at), part);
        }
        Ok(())
    }

    fn write_sectors(&self, cipher: &SectorCipher, buf: &[u8], offset: u64) -> Result<()> {
        let mut encrypted = Vec::with_capacity(buf.len().min(STEP));
        for (part, at) in buf.chunks(STEP).zip((offset..).step_by(STEP)) {
            encrypted.clear();
            encrypted.extend_from_slice(part);
            cipher.encrypt(self.number(at), &mut encrypted);
            self.complete_last_sector(self.payload + at + part.len() as u64)?;
            self.file.write_at(&encrypted, self.payload + at)?;
        }
        Ok(())
    }

    /// Makes room for a last sector of which the file holds only a part.
    fn complete_last_sector(&self, end: u64) -> Result<()> {
        if end > self.file.size() && !self.file.limits().growable {
            self.file.resize(end, Preallocation::Off)?;
        }
        Ok(())
    }
}

fn lock(header: &Mutex<Header>) -> MutexGuard<'_, Header> {
    header.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Block for Luks {
    fn size(&self) -> u64 {
        let stored = self.length.unwrap_or(self.file.size().saturating_sub(self.payload));
        match &self.header {
            Version::One(_) => stored.checked_next_multiple_of(SECTOR as u64).unwrap_or(stored),
            // Nobody can have used a part of the last sector.
            Version::Two(_) => stored - stored % self.sector as u64,
        }
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(self, offset, buf.len() as u64)?;
        let (_, cipher) = self.unlocked()?;
        align::read(buf, offset, self.sector, |buf, at| self.read_sectors(cipher, buf, at))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.writable()?;
        check_range(self, offset, buf.len() as u64)?;
        let (_, cipher) = self.unlocked()?;
        let _right = self.edges.enter(offset, buf.len());
        let (read, write) = (
            |buf: &mut [u8], at: u64| self.read_sectors(cipher, buf, at),
            |buf: &[u8], at: u64| self.write_sectors(cipher, buf, at),
        );
        align::write(buf, offset, read, write)
    }

    fn write_zeroes(&self, range: Range<u64>, _how: Zero) -> Result<()> {
        self.writable()?;
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        let zeroes = vec![0; range.end.saturating_sub(range.start).min(STEP as u64) as usize];
        let mut at = range.start;
        while at < range.end {
            let part = (range.end - at).min(zeroes.len() as u64);
            self.write_at(zeroes.get(..part as usize).unwrap_or_default(), at)?;
            at += part;
        }
        Ok(())
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        // A hole would show where there is no data, and read as noise.
        self.writable()?;
        check_range(self, range.start, range.end.saturating_sub(range.start))
    }

    fn flush(&self) -> Result<()> {
        if self.read_only { Ok(()) } else { self.file.flush() }
    }

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        let length = range.end.saturating_sub(range.start);
        check_range(self, range.start, length)?;
        Ok(Extent { offset: None, ..Extent::data(length, 0) })
    }

    fn limits(&self) -> Limits {
        Limits { alignment: self.sector as u32, preferred: 1 << 20, growable: false, zero_init: false }
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// New space reads as noise: what zeroes of the file decrypt to.
    fn resize(&self, size: u64, preallocation: Preallocation) -> Result<()> {
        self.writable()?;
        let total = self.payload.checked_add(size).filter(|&total| total <= i64::MAX as u64);
        let total = total.ok_or_else(|| Error::Invalid("The new size is too large".to_owned()))?;
        self.file.resize(total, preallocation)
    }

    fn name(&self) -> &str {
        self.file.name()
    }

    fn allocated_bytes(&self) -> Option<u64> {
        self.file.allocated_bytes()
    }
}
