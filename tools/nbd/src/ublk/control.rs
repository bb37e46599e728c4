//! What the ublk driver does with whole devices.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use zerocopy::{FromZeros, IntoBytes};

use super::abi::{
    ANY_DEVICE, ControlCommand, DeviceInfo, IOCTL_NUMBERS, NO_QUEUE, Parameters, USER_COPY, control,
};
use super::ring::ControlRing;

const CONTROL: &str = "/dev/ublk-control";

/// The driver.
pub(super) struct Control(ControlRing);

fn about(dev_id: u32) -> ControlCommand {
    ControlCommand { dev_id, queue_id: NO_QUEUE, ..ControlCommand::default() }
}

/// Where a server reads and writes the data of requests.
pub(super) fn server_device(number: u32) -> PathBuf {
    format!("/dev/ublkc{number}").into()
}

impl Control {
    /// Opens it.
    ///
    /// # Errors
    /// When the kernel has no such driver, or this user may not use it; says what to do.
    pub(super) fn open() -> Result<Self> {
        let open = || File::options().read(true).write(true).open(CONTROL);
        let device = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                crate::attach::load_module("ublk_drv");
                open()
            }
            opened => opened,
        };
        let device = device.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => anyhow!(
                "The kernel has no ublk: there is no {CONTROL}. Load its module (modprobe ublk_drv), or use a kernel \
                 with CONFIG_BLK_DEV_UBLK; 'nbd attach' without --ublk needs only the nbd module"
            ),
            io::ErrorKind::PermissionDenied => anyhow!("Could not open {CONTROL}: only root may"),
            _ => anyhow!(error).context(format!("Could not open {CONTROL}")),
        })?;
        let mut control = Control(ControlRing::new(device).context("Could not speak with the ublk driver")?);
        let mut features = 0u64;
        let asked = control.0.command(control::GET_FEATURES, about(ANY_DEVICE), features.as_mut_bytes());
        if asked.is_err() || features & (USER_COPY | IOCTL_NUMBERS) != USER_COPY | IOCTL_NUMBERS {
            return Err(anyhow!("The kernel's ublk is too old: Linux 6.5 or later is needed"));
        }
        Ok(control)
    }

    /// Makes a device, which serves nothing yet. Some fields of `info` are wishes.
    ///
    /// # Errors
    /// The kernel's; `EEXIST` when there is one of that number.
    pub(super) fn add(&mut self, info: &mut DeviceInfo) -> io::Result<()> {
        self.0.command(control::ADD, about(info.dev_id), info.as_mut_bytes())
    }

    /// What is known of a device.
    ///
    /// # Errors
    /// The kernel's; `ENODEV` when there is none.
    pub(super) fn info(&mut self, number: u32) -> io::Result<DeviceInfo> {
        let mut info = DeviceInfo::new_zeroed();
        self.0.command(control::GET_INFO, about(number), info.as_mut_bytes())?;
        Ok(info)
    }

    /// Says what the device shall be, before it is started.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn set(&mut self, number: u32, mut parameters: Parameters) -> io::Result<()> {
        self.0.command(control::SET_PARAMETERS, about(number), parameters.as_mut_bytes())
    }

    /// Makes the device one that can be used. Its queues have to be served: the kernel reads from it.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn start(&mut self, number: u32) -> io::Result<()> {
        let command = ControlCommand { data: u64::from(std::process::id()), ..about(number) };
        self.0.command(control::START, command, &mut [])
    }

    /// Ends its use: requests that were not answered, and all later ones, fail.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn stop(&mut self, number: u32) -> io::Result<()> {
        self.0.command(control::STOP, about(number), &mut [])
    }

    /// Removes it. Waits until nobody has `/dev/ublkcN` open.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn delete(&mut self, number: u32) -> io::Result<()> {
        self.0.command(control::DELETE, about(number), &mut [])
    }
}
