//! Guest data in the file that holds it: the one place where bytes of data clusters are read and written.
//!
//! Everything above this speaks of bytes as the guest sees them; everything below of bytes as they are
//! stored. Both offsets are given, since what is stored may depend on either. Compressed clusters do not
//! come this way: they have a form of their own.

use std::ops::Range;
use std::sync::Arc;

use super::image::Qcow2;
use super::storage::{read_padded, write_all};
use super::units::HostOffset;
use super::zero::Clear;
use crate::block::{Block, Extent, Preallocation, Zero};
use crate::error::{Error, Result};

impl Qcow2 {
    /// The file that holds guest data.
    ///
    /// # Errors
    /// When nobody has said where that is.
    pub(super) fn data_file(&self) -> Result<&dyn Block> {
        if !self.geometry.data_file {
            return Ok(&*self.file);
        }
        self.external_data_file()
            .ok_or_else(|| Error::unsupported(self.file.name(), "'data-file' is required for this image"))
    }

    /// The file that holds nothing but guest data, if this image has one.
    pub(super) fn external_data_file(&self) -> Option<&dyn Block> {
        self.external.get().map(|file| &**file)
    }

    /// The same, if it must be a raw image of the disk at all times.
    fn raw_data_file(&self) -> Option<&dyn Block> {
        self.external_data_file().filter(|_| self.raw_external)
    }

    /// Gives an image its data file. It must be the one that the header names, or hold the same bytes.
    ///
    /// # Errors
    /// When the image keeps its data to itself, or has its data file already.
    pub fn set_data_file(&self, file: Arc<dyn Block>) -> Result<()> {
        if !self.geometry.data_file {
            let what = "'data-file' can only be set for images with an external data file";
            return Err(Error::unsupported(self.file.name(), what));
        }
        if file.is_read_only() && !self.is_read_only() {
            return Err(Error::ReadOnly { file: file.name().to_owned() });
        }
        self.meta_write()?.external = Some(Arc::clone(&file));
        let set = self.external.set(file);
        set.map_err(|_| Error::unsupported(self.file.name(), "it has its data file already"))
    }

    /// True if the image cannot be read or written before [`Qcow2::set_data_file`].
    pub fn lacks_data_file(&self) -> bool {
        self.geometry.data_file && self.external.get().is_none()
    }

    /// The name of the data file as the header has it, if there is one.
    ///
    /// # Errors
    /// When an earlier failure left the image unusable.
    pub fn data_file_name(&self) -> Result<Option<String>> {
        Ok(self.meta_read()?.header.extensions.data_file().map(str::to_owned))
    }

    /// Refuses to touch data that nobody has said where it lies.
    pub(super) fn need_data_file(&self) -> Result<()> {
        self.data_file().map(drop)
    }

    /// Reads the bytes stored at `host`, which the guest sees at `guest`.
    pub(super) fn read_data(&self, buf: &mut [u8], host: HostOffset, guest: u64) -> Result<()> {
        let file = self.data_file()?;
        match &self.crypt {
            None => read_padded(file, buf, host.0),
            Some(crypt) => crypt.read(self, buf, host, guest, |buf, at| read_padded(file, buf, at)),
        }
    }

    /// Stores at `host` the bytes that the guest sees at `guest`.
    pub(super) fn write_data(&self, buf: &[u8], host: HostOffset, guest: u64) -> Result<()> {
        let file = self.data_file()?;
        match &self.crypt {
            None => write_all(file, buf, host.0),
            Some(crypt) => crypt.write(self, buf, host, guest, |buf, at| write_all(file, buf, at)),
        }
    }

    /// True if zeroes of the data file are zeroes for the guest.
    pub(super) fn stored_zeroes_are_zeroes(&self) -> bool {
        self.crypt.is_none()
    }

    /// True if clusters from `host` on were never written: they read as zeroes without having been.
    pub(super) fn is_fresh(&self, host: HostOffset) -> bool {
        let Ok(file) = self.data_file() else { return false };
        let limits = file.limits();
        self.stored_zeroes_are_zeroes() && limits.growable && limits.zero_init && host.0 >= file.size()
    }

    /// Keeps a data file that is a raw image by itself in step: what becomes zero is zero there too.
    pub(super) fn zero_raw_data(&self, guest: &Range<u64>, how: Zero) -> Result<()> {
        let Some(file) = self.raw_data_file() else { return Ok(()) };
        let end = guest.end.min(file.size());
        if guest.start < end { file.write_zeroes(guest.start..end, how) } else { Ok(()) }
    }

    /// Gives space of a data file back, after the tables have ceased to refer to it. Only a hint. The caller
    /// holds a claim on the clusters.
    pub(super) fn discard_data(&self, guest: Range<u64>, how: Clear) {
        let Some(file) = self.external_data_file() else { return };
        let end = guest.end.min(file.size());
        if how != Clear::Zero(Zero::KeepAllocated) && guest.start < end {
            let _ = file.discard(guest.start..end);
        }
    }

    /// What the data file says about stored bytes.
    pub(super) fn data_status(&self, host: Range<u64>) -> Result<Extent> {
        self.data_file()?.status(host)
    }

    /// One allocated block of a new data file lets those who open it with `O_DIRECT` find out the alignment.
    pub(super) fn begin_data_file(&self, size: u64, how: Preallocation) -> Result<()> {
        match (self.external_data_file(), how) {
            (Some(file), Preallocation::Off | Preallocation::Metadata) if file.limits().growable => {
                write_all(file, &vec![0; size.min(4096) as usize], 0)
            }
            _ => Ok(()),
        }
    }

    /// Gives an external data file the size that the disk gets, with what is new reading as zeroes.
    pub(super) fn resize_data_file(&self, old: u64, size: u64, how: Preallocation) -> Result<()> {
        let Some(file) = self.external_data_file() else { return Ok(()) };
        let stored = file.size();
        if size > old && stored > old {
            file.write_zeroes(old..stored.min(size), Zero::MayUnmap)?;
        }
        if !file.limits().growable {
            return Ok(());
        }
        let how = match how {
            Preallocation::Off | Preallocation::Metadata => Preallocation::Off,
            other => other,
        };
        file.resize(size, how)
    }

    /// Makes host bytes read as zeroes in the way that was asked for.
    pub(super) fn prepare_space(&self, start: u64, end: u64, how: Preallocation) -> Result<()> {
        let file = self.data_file()?;
        let growable = file.limits().growable;
        let size = file.size();
        match how {
            // What was in use before may hold anything; what lies behind the end is zero.
            Preallocation::Off | Preallocation::Metadata => {
                let stale = if growable { end.min(size) } else { end };
                match start < stale {
                    true => file.write_zeroes(start..stale, Zero::MayUnmap),
                    false => Ok(()),
                }
            }
            Preallocation::Falloc if growable => {
                if start < size {
                    file.write_zeroes(start..end.min(size), Zero::KeepAllocated)?;
                }
                if start > size {
                    file.resize(start, Preallocation::Off)?;
                }
                if end > size { file.resize(end, Preallocation::Falloc) } else { Ok(()) }
            }
            Preallocation::Falloc => file.write_zeroes(start..end, Zero::KeepAllocated),
            Preallocation::Full => {
                let zeroes = vec![0; (end - start).min(1 << 20) as usize];
                let mut at = start;
                while at < end {
                    let part = (end - at).min(zeroes.len() as u64);
                    write_all(file, zeroes.get(..part as usize).unwrap_or_default(), at)?;
                    at += part;
                }
                Ok(())
            }
        }
    }
}
