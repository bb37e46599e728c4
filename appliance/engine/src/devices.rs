//! The disks of a machine, and its network, as virtio devices, the same for every back-end.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use libimage::Block;
use vmm_mini::virtio::blk::{Blk, BlkConfig};
use vmm_mini::virtio::device::VirtioDevice;
use vmm_mini::virtio::net::Net;

use crate::backend::{Drive, GUEST_MAC, LaunchError};

/// Block devices in the guest's order, and which of them are the spare slots.
pub(crate) struct Disks {
    pub(crate) devices: Vec<Arc<Blk>>,
    first_slot: usize,
}

impl Disks {
    /// Makes devices for `drives`, then `slots` empty ones.
    pub(crate) fn new(drives: Vec<Drive>, slots: usize) -> Result<Self, LaunchError> {
        let first_slot = drives.len();
        let mut devices = Vec::with_capacity(first_slot + slots);
        for Drive { block, serial, read_only, block_size } in drives {
            let config = BlkConfig { serial, read_only, block_size, queues: 1 };
            devices.push(device(config, Some(block))?);
        }
        for slot in 0..slots {
            let config = BlkConfig { serial: format!("slot{slot}"), ..BlkConfig::default() };
            devices.push(device(config, None)?);
        }
        Ok(Disks { devices, first_slot })
    }

    /// Puts a medium into a spare slot, or takes it out.
    pub(crate) fn set_slot(&self, index: usize, block: Option<Arc<dyn Block>>) -> io::Result<()> {
        let device = self.first_slot.checked_add(index).and_then(|index| self.devices.get(index));
        let Some(device) = device else {
            let count = self.devices.len() - self.first_slot;
            let text = format!("The machine has {count} spare disk slots, and no number {index}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        device.set_backend(block)
    }
}

fn device(config: BlkConfig, block: Option<Arc<dyn Block>>) -> Result<Arc<Blk>, LaunchError> {
    let what = format!("disk '{}'", config.serial);
    Blk::new(config, block).map(Arc::new).map_err(|source| LaunchError::Device { what, source })
}

/// The network device, when there is to be one.
pub(crate) fn network(stream: Option<UnixStream>) -> Result<Option<Arc<dyn VirtioDevice>>, LaunchError> {
    let device = |stream| Ok(Arc::new(Net::new(GUEST_MAC, stream)?) as Arc<dyn VirtioDevice>);
    let failed = |source| LaunchError::Device { what: "the network device".into(), source };
    stream.map(device).transpose().map_err(failed)
}
