//! Block devices of the ublk driver: the kernel hands requests over in memory, without a protocol between.
//!
//! A device is added, its queues are served ([`queue`]), it is started, and it can be used until somebody stops it. Who
//! serves it removes it in the end; who stops one whose server died does that as well.

mod abi;
mod control;
mod queue;
mod request;
mod ring;

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, bail};
use cli::signals::Ends;
use libimage::Block;

use crate::attach::device::{Device, wait};
use crate::attach::{all_gone, stay};
use abi::{DeviceInfo, Parameters, attribute};
use control::{Control, server_device};
use queue::Queue;

/// How the devices are called.
pub(crate) const PREFIX: &str = "ublkb";
/// The most queues, and the requests that each may have under way.
const QUEUES: usize = 4;
const DEPTH: u16 = 64;
/// The most sectors that are discarded or zeroed at once: a GiB.
const MAX_SECTORS: u32 = 1 << 21;

/// A device that is served.
struct Served {
    number: u32,
    control: Control,
    queues: Vec<JoinHandle<io::Result<()>>>,
    /// Somebody has the other end as long as a queue is served.
    over: Receiver<Infallible>,
}

/// Attaches `block` as device `number`, or as a free one, calls `announce` when it can be used, and serves it until it is
/// detached.
///
/// # Errors
/// When the kernel does not do it, or not everything can be written in the end.
pub(crate) fn attach(
    block: Arc<dyn Block>,
    number: Option<u32>,
    ends: &Ends,
    announce: impl FnOnce(&Device) -> Result<()>,
) -> Result<()> {
    let size = block.size() / 512 * 512;
    let mut served = Served::start(&block, number)?;
    let device = Device::numbered(PREFIX, served.number);
    if let Err(error) = device.wait_until_usable(size).and_then(|()| announce(&device)) {
        // The first error is the one to tell.
        let _ = served.finish();
        return Err(error);
    }
    let (number, control) = (served.number, &mut served.control);
    let over = &served.over;
    stay(
        |patience| all_gone(over, patience),
        &device,
        ends,
        || control.stop(number).context("Could not stop a ublk device"),
    )?;
    served.finish()?;
    block.flush().context("Not everything may be written")
}

impl Served {
    fn start(block: &Arc<dyn Block>, number: Option<u32>) -> Result<Self> {
        let mut control = Control::open()?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let mut info = DeviceInfo {
            nr_hw_queues: processors.min(QUEUES) as u16,
            queue_depth: DEPTH,
            max_io_buf_bytes: request::MAX_BYTES,
            dev_id: number.unwrap_or(abi::ANY_DEVICE),
            flags: abi::USER_COPY | abi::IOCTL_NUMBERS,
            ..DeviceInfo::default()
        };
        control.add(&mut info).map_err(|error| match (error.kind(), number) {
            (io::ErrorKind::AlreadyExists, Some(number)) => {
                anyhow!("There is a device /dev/{PREFIX}{number} already")
            }
            _ => anyhow!(error).context("Could not add a ublk device"),
        })?;
        let (serves, over) = mpsc::channel();
        let mut served = Served { number: info.dev_id, control, queues: Vec::new(), over };
        match served.begin(block, &info, &serves) {
            Ok(()) => Ok(served),
            Err(error) => {
                // The first error is the one to tell.
                let _ = served.finish();
                Err(error)
            }
        }
    }

    fn begin(
        &mut self,
        block: &Arc<dyn Block>,
        info: &DeviceInfo,
        serves: &Sender<Infallible>,
    ) -> Result<()> {
        self.control.set(self.number, parameters(&**block)).context("Could not describe a ublk device")?;
        let path = server_device(self.number);
        if !wait(|| path.exists()) {
            bail!("'{}' does not appear: is udev, or devtmpfs, at work here?", path.display());
        }
        let open = File::options().read(true).write(true).open(&path);
        let device = Arc::new(open.with_context(|| format!("Could not open '{}'", path.display()))?);
        let (send, ready) = mpsc::channel();
        for number in 0..info.nr_hw_queues {
            let queue = Queue {
                number,
                depth: info.queue_depth,
                device: Arc::clone(&device),
                block: Arc::clone(block),
            };
            let (send, serves) = (send.clone(), serves.clone());
            let serve = move || {
                let _serves = serves;
                queue.serve(move || {
                    // Who waits for it may have given up.
                    let _ = send.send(());
                })
            };
            let thread = std::thread::Builder::new().name(format!("ublk-{number}")).spawn(serve);
            self.queues.push(thread.context("Could not start a thread")?);
        }
        drop(send);
        let served = ready.iter().take(self.queues.len()).count();
        if served < self.queues.len() {
            bail!("Could not serve all queues of a ublk device");
        }
        self.control.start(self.number).context("Could not start a ublk device")
    }

    /// Stops and removes it.
    fn finish(mut self) -> Result<()> {
        // It may be stopped already.
        let _ = self.control.stop(self.number);
        let mut failed = None;
        for queue in self.queues.drain(..) {
            match queue.join() {
                Ok(Err(error)) => failed = Some(error),
                Ok(Ok(())) => {}
                Err(_) => failed = Some(io::Error::other("a thread has panicked")),
            }
        }
        // Somebody else who wanted it off may be faster.
        let deleted = self.control.delete(self.number);
        if let Some(error) = failed {
            return Err(anyhow!(error).context("A queue of the ublk device was not served to its end"));
        }
        match deleted {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::NODEV.raw_os_error()) => {
                Err(anyhow!(error).context("Could not remove a ublk device"))
            }
            _ => Ok(()),
        }
    }
}

fn parameters(block: &dyn Block) -> Parameters {
    let read_only = if block.is_read_only() { attribute::READ_ONLY } else { 0 };
    let preferred = block.limits().preferred.clamp(4096, request::MAX_BYTES);
    Parameters {
        len: std::mem::offset_of!(Parameters, padding) as u32,
        types: abi::BASIC_AND_DISCARD,
        attrs: read_only | attribute::VOLATILE_CACHE | attribute::FUA,
        logical_bs_shift: 9,
        physical_bs_shift: 12,
        io_opt_shift: preferred.ilog2() as u8,
        io_min_shift: 12,
        max_sectors: request::MAX_BYTES / 512,
        dev_sectors: block.size() / 512,
        discard_granularity: 4096,
        max_discard_sectors: MAX_SECTORS,
        max_write_zeroes_sectors: MAX_SECTORS,
        max_discard_segments: 1,
        ..Parameters::default()
    }
}

/// Stops a device and waits until it is gone. What was written to it is in the image then.
///
/// # Errors
/// When there is no such device, or it is in use and that does not matter to the user, or the kernel does not do it.
pub(crate) fn detach(device: &Device, number: u32, force: bool) -> Result<()> {
    let name = device.path();
    let mut control = Control::open()?;
    let info = control.info(number).map_err(|_| anyhow!("'{}' is not attached", name.display()))?;
    let server = crate::attach::Server::find(info.ublksrv_pid);
    let claimed = if info.state == abi::LIVE { crate::attach::claim(device, force)? } else { None };
    control.stop(number).with_context(|| format!("Could not stop '{}'", name.display()))?;
    drop(claimed);
    match server {
        Some(server) => server.wait(),
        // Who served it is no more.
        None => {
            control.delete(number).with_context(|| format!("Could not remove '{}'", name.display()))?;
            Ok(())
        }
    }?;
    if !wait(|| !server_device(number).exists()) {
        bail!("'{}' is stopped, but its server does not let go of it", name.display());
    }
    Ok(())
}
