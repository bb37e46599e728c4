//! Properties of block devices.

use crate::disks::Device;
use crate::sys;
use crate::worker::Worker;
use guestd_api::Failure;
use guestd_api::actions::block::Server;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};

impl Device {
    /// The node, open for reading.
    pub(crate) fn open(&self) -> Result<File, Failure> {
        File::open(&self.node).map_err(|e| self.failure(e))
    }

    /// Size in bytes.
    pub(crate) fn size(&self) -> Result<u64, Failure> {
        self.open()?.seek(SeekFrom::End(0)).map_err(|e| self.failure(e))
    }

    /// Logical sector size in bytes.
    pub(crate) fn sector(&self) -> Result<u64, Failure> {
        let disk = match self.whole()? {
            Some((node, _)) => Device { shown: self.shown.clone(), node },
            None => self.clone(),
        };
        disk.sysfs_number("queue/logical_block_size")
    }
}

impl Server for Worker {
    fn blockdev_getsize64(&self, device: Device) -> Result<i64, Failure> {
        device.size().map(u64::cast_signed)
    }

    fn blockdev_getsz(&self, device: Device) -> Result<i64, Failure> {
        device.size().map(|bytes| (bytes / 512).cast_signed())
    }

    fn blockdev_getss(&self, device: Device) -> Result<i32, Failure> {
        i32::try_from(device.sector()?)
            .map_err(|_| device.failure(io::Error::from_raw_os_error(libc::ERANGE)))
    }

    fn blockdev_getbsz(&self, device: Device) -> Result<i32, Failure> {
        sys::block_size(device.open()?).map_err(|e| device.failure(e))
    }

    fn blockdev_getro(&self, device: Device) -> Result<bool, Failure> {
        device.sysfs_number("ro").map(|flag| flag != 0)
    }

    fn blockdev_setro(&self, device: Device) -> Result<(), Failure> {
        sys::set_read_only(device.open()?, true).map_err(|e| device.failure(e))
    }

    fn blockdev_setrw(&self, device: Device) -> Result<(), Failure> {
        sys::set_read_only(device.open()?, false).map_err(|e| device.failure(e))
    }

    fn blockdev_flushbufs(&self, device: Device) -> Result<(), Failure> {
        sys::flush_buffers(device.open()?).map_err(|e| device.failure(e))
    }

    fn blockdev_rereadpt(&self, device: Device) -> Result<(), Failure> {
        sys::reread_partitions(device.open()?).map_err(|e| device.failure(e))
    }

    fn blockdev_setbsz(&self, _: Device, _: i32) -> Result<(), Failure> {
        // The kernel forgets it when the last one closes the device, which is before this returns.
        Ok(())
    }

    fn blockdev_setra(&self, device: Device, sectors: i32) -> Result<(), Failure> {
        let sectors = usize::try_from(sectors).map_err(|_| Failure::new("readahead sectors must be >= 0"))?;
        sys::set_read_ahead(device.open()?, sectors).map_err(|e| device.failure(e))
    }

    fn blkdiscard(&self, device: Device) -> Result<(), Failure> {
        let file = File::options().write(true).open(&device.node).map_err(|e| device.failure(e))?;
        sys::discard(file, device.size()?).map_err(|e| device.failure(e))
    }

    fn blkdiscardzeroes(&self, device: Device) -> Result<bool, Failure> {
        sys::discard_zeroes(device.open()?).map_err(|e| device.failure(e))
    }
}
