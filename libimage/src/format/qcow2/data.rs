//! Guest data in the file that holds it: the one place where bytes of data clusters are read and written.
//!
//! Everything above this speaks of bytes as the guest sees them; everything below of bytes as they are
//! stored. Both offsets are given, since what is stored may depend on either. Compressed clusters do not
//! come this way: they have a form of their own.

use std::ops::Range;

use super::image::Qcow2;
use super::storage::{read_padded, write_all};
use super::units::HostOffset;
use crate::block::{Block, Extent, Preallocation, Zero};
use crate::error::Result;

impl Qcow2 {
    /// The file that holds guest data.
    pub(super) fn data_file(&self) -> &dyn Block {
        &*self.file
    }

    /// Reads the bytes stored at `host`, which the guest sees at `guest`.
    pub(super) fn read_data(&self, buf: &mut [u8], host: HostOffset, guest: u64) -> Result<()> {
        let _ = guest;
        read_padded(self.data_file(), buf, host.0)
    }

    /// Stores at `host` the bytes that the guest sees at `guest`.
    pub(super) fn write_data(&self, buf: &[u8], host: HostOffset, guest: u64) -> Result<()> {
        let _ = guest;
        write_all(self.data_file(), buf, host.0)
    }

    /// True if zeroes of the data file are zeroes for the guest.
    pub(super) fn stored_zeroes_are_zeroes(&self) -> bool {
        true
    }

    /// True if clusters from `host` on were never written: they read as zeroes without having been.
    pub(super) fn is_fresh(&self, host: HostOffset) -> bool {
        let file = self.data_file();
        let limits = file.limits();
        self.stored_zeroes_are_zeroes() && limits.growable && limits.zero_init && host.0 >= file.size()
    }

    /// What the data file says about stored bytes.
    pub(super) fn data_status(&self, host: Range<u64>) -> Result<Extent> {
        self.data_file().status(host)
    }

    /// Makes host bytes read as zeroes in the way that was asked for.
    pub(super) fn prepare_space(&self, start: u64, end: u64, how: Preallocation) -> Result<()> {
        let file = self.data_file();
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
