//! The way to the kernel's nbd driver: netlink, or the device itself where that does not lead to it.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow, bail};

use super::PREFIX;
use super::device::{Device, wait};
use super::ioctl;
use super::kernel::{Breaks, Driver, Wanted};
use super::process::{explain, load_module};

/// A way to the driver.
pub(super) enum Link {
    /// Messages.
    Netlink(Driver),
    /// Calls on a device that is free.
    Device(Device, File),
}

/// A connected device.
pub(super) struct Attached {
    device: Device,
    way: Way,
}

enum Way {
    Netlink(Mutex<Driver>, u32),
    Device(File),
}

/// The driver is there, whether or not it can be told anything.
fn is_present() -> bool {
    Path::new("/sys/module/nbd").exists() || Path::new("/sys/block/nbd0").exists()
}

/// Finds the driver; loads its module if need be.
///
/// # Errors
/// When the kernel has none; says what to do.
pub(super) fn driver() -> Result<Option<Driver>> {
    let find = || Driver::find().context("Could not speak with the kernel");
    if let Some(driver) = find()? {
        return Ok(Some(driver));
    }
    if !is_present() {
        load_module("nbd");
        if let Some(driver) = find()? {
            return Ok(Some(driver));
        }
    }
    if !is_present() {
        bail!(
            "The kernel has no network block devices: load their module (modprobe nbd), or use a kernel with \
             CONFIG_BLK_DEV_NBD; 'nbd fuse-image' needs neither"
        );
    }
    Ok(None)
}

impl Link {
    /// Finds a way to the driver, for the device of that number or any.
    ///
    /// # Errors
    /// When there is none, or no device is free.
    pub(super) fn find(index: Option<u32>) -> Result<Self> {
        if let Some(index) = index.filter(|index| Device::numbered(PREFIX, *index).process().is_some()) {
            bail!(
                "'/dev/{PREFIX}{index}' is attached already: detach it first, or name none to get a free one"
            );
        }
        if let Some(driver) = driver()? {
            return Ok(Link::Netlink(driver));
        }
        // In a container there may be devices without netlink.
        let open = |device: &Device| File::options().read(true).write(true).open(device.path());
        if let Some(index) = index {
            let device = Device::numbered(PREFIX, index);
            let what = format!("Could not open '{}'", device.path().display());
            return open(&device)
                .map(|file| Link::Device(device, file))
                .map_err(|error| explain(error, &what));
        }
        let mut refusal = None;
        for device in (0..).map(|number| Device::numbered(PREFIX, number)).take_while(Device::is_known) {
            if device.process().is_some() || device.size() != 0 {
                continue;
            }
            match open(&device) {
                Ok(file) => return Ok(Link::Device(device, file)),
                Err(error) => refusal = Some(error),
            }
        }
        match refusal {
            Some(error) => Err(explain(error, "Could not open a free device")),
            None => bail!(
                "All network block devices are in use: detach one, or load the module with more (nbds_max=N)"
            ),
        }
    }

    /// Listens for connections that break.
    ///
    /// # Errors
    /// When the kernel does not tell of them.
    pub(super) fn breaks(&self) -> Result<Breaks> {
        match self {
            Link::Netlink(driver) => driver.breaks().context("--reconnect is not possible here"),
            Link::Device(..) => {
                bail!("--reconnect needs the driver's netlink interface, which does not lead here")
            }
        }
    }

    /// Connects a device.
    ///
    /// # Errors
    /// The kernel's, with what can be done.
    pub(super) fn connect(self, wanted: &Wanted, sockets: &[BorrowedFd<'_>]) -> Result<Attached> {
        let failed = |error: io::Error| match (error.kind(), wanted.index) {
            (io::ErrorKind::ResourceBusy, Some(index)) => {
                anyhow!("'/dev/{PREFIX}{index}' is in use: detach it first, or name none to get a free one")
            }
            _ => explain(error, "Could not attach a device"),
        };
        match self {
            Link::Netlink(mut driver) => {
                let index = driver.connect(wanted, sockets).map_err(failed)?;
                Ok(Attached {
                    device: Device::numbered(PREFIX, index),
                    way: Way::Netlink(Mutex::new(driver), index),
                })
            }
            Link::Device(device, file) => {
                ioctl::prepare(&file, wanted, sockets).map_err(failed)?;
                let runs = file.try_clone().map_err(failed)?;
                // It ends when the device is disconnected; the connections end then, and those are waited for.
                let run = move || ioctl::run(&runs);
                let thread =
                    std::thread::Builder::new().name("nbd-device".into()).spawn(run).map_err(failed)?;
                if !wait(|| device.process().is_some() || thread.is_finished()) || thread.is_finished() {
                    let why = if thread.is_finished() { thread.join().ok() } else { None };
                    let why = why.and_then(Result::err).unwrap_or_else(|| io::ErrorKind::TimedOut.into());
                    return Err(failed(why));
                }
                Ok(Attached { device, way: Way::Device(file) })
            }
        }
    }
}

fn lock(driver: &Mutex<Driver>) -> MutexGuard<'_, Driver> {
    driver.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Attached {
    /// Which device it is.
    pub(super) fn device(&self) -> Device {
        self.device.clone()
    }

    /// Waits until it can be used, and tells that with `announce`. Otherwise it is disconnected.
    ///
    /// # Errors
    /// When it cannot be used, or that cannot be told.
    pub(super) fn ready(&self, size: u64, announce: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        self.device.wait_until_usable(size).and_then(|()| announce(self)).inspect_err(|_| {
            // The first error is the one to tell.
            let _ = self.disconnect();
        })
    }

    /// It stays connected without this process.
    pub(super) fn is_left_alone(&self) -> bool {
        matches!(self.way, Way::Netlink(..))
    }

    /// The number by which the driver speaks of it; none if it does not.
    pub(super) fn number(&self) -> Option<u32> {
        match &self.way {
            Way::Netlink(_, index) => Some(*index),
            Way::Device(_) => None,
        }
    }

    /// Gives it a new connection in place of a broken one.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn reconnect(&self, backend: &str, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        match &self.way {
            Way::Netlink(driver, index) => lock(driver).reconnect(*index, backend, sockets),
            Way::Device(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// From now on it is disconnected when it is closed and nobody else has it open.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn disconnect_on_close(&self, backend: &str) -> Result<()> {
        match &self.way {
            Way::Netlink(driver, index) => lock(driver)
                .disconnect_on_close(*index, backend)
                .context("Could not say that the device is to be detached when it is closed"),
            Way::Device(_) => {
                bail!("--disconnect-on-close needs the driver's netlink interface, which does not lead here")
            }
        }
    }

    /// Disconnects it.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn disconnect(&self) -> Result<()> {
        let done = match &self.way {
            Way::Netlink(driver, index) => lock(driver).disconnect(*index),
            Way::Device(file) => ioctl::disconnect(file),
        };
        done.with_context(|| format!("Could not detach '{}'", self.device.path().display()))
    }
}
