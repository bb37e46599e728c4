//! Swap: making it and having the appliance use it.
#![allow(non_snake_case, reason = "some actions carry the option of the tool they stand for")]

use super::regular::{about, shown};
use crate::disks::Device;
use crate::worker::{GuestPath, Worker};
use guestd_api::actions::mkfs::{MkswapOptions, Server as _};
use guestd_api::actions::swap::Server;
use guestd_api::{Failure, GuestString};
use std::path::Path;

/// The longest label, in bytes.
const LABEL_MAX: usize = 16;

impl Worker {
    fn switch_swap(&self, tool: &str, place: &Path, subject: &GuestString) -> Result<(), Failure> {
        self.tool(tool)?.arg(place).run().map(|_| ()).map_err(about(subject))
    }

    /// The same for the swap with a label or a UUID. Other file systems may have the same, so it is the type that
    /// decides.
    fn switch_swap_by(&self, tool: &str, tag: &str, value: &GuestString) -> Result<(), Failure> {
        for node in self.devices_with(tag, value)? {
            let device = Device { shown: self.agent.disks.shown(&node), node: node.as_os_str().into() };
            if self.blkid(&device, "TYPE")? == "swap" {
                return self.switch_swap(tool, &device.node, value);
            }
        }
        Err(Failure::new(format!("{value}: {tool}: cannot find the device for {value}"))
            .with_errno(libc::ENOENT))
    }
}

fn check_label(label: &GuestString) -> Result<(), Failure> {
    if label.len() > LABEL_MAX {
        return Err(Failure::new(format!("{label}: Linux swap labels are limited to {LABEL_MAX} bytes"))
            .with_errno(libc::EINVAL));
    }
    Ok(())
}

impl Server for Worker {
    fn mkswap_L(&self, label: GuestString, device: Device) -> Result<(), Failure> {
        check_label(&label)?;
        self.mkswap(device, MkswapOptions { label: Some(label), uuid: None })
    }

    fn mkswap_U(&self, uuid: GuestString, device: Device) -> Result<(), Failure> {
        self.mkswap(device, MkswapOptions { label: None, uuid: Some(uuid) })
    }

    fn mkswap_file(&self, path: GuestPath) -> Result<(), Failure> {
        let place = self.outside_regular(&path)?;
        self.tool("mkswap")?.arg("-f").arg(place).run().map(|_| ()).map_err(about(shown(&path)))
    }

    fn swapon_device(&self, device: Device) -> Result<(), Failure> {
        self.switch_swap("swapon", &device.node, &device.shown)
    }

    fn swapoff_device(&self, device: Device) -> Result<(), Failure> {
        self.switch_swap("swapoff", &device.node, &device.shown)
    }

    fn swapon_file(&self, file: GuestPath) -> Result<(), Failure> {
        self.switch_swap("swapon", &self.outside_regular(&file)?, &shown(&file))
    }

    fn swapoff_file(&self, file: GuestPath) -> Result<(), Failure> {
        self.switch_swap("swapoff", &self.outside_regular(&file)?, &shown(&file))
    }

    fn swapon_label(&self, label: GuestString) -> Result<(), Failure> {
        check_label(&label)?;
        self.switch_swap_by("swapon", "LABEL", &label)
    }

    fn swapoff_label(&self, label: GuestString) -> Result<(), Failure> {
        check_label(&label)?;
        self.switch_swap_by("swapoff", "LABEL", &label)
    }

    fn swapon_uuid(&self, uuid: GuestString) -> Result<(), Failure> {
        self.switch_swap_by("swapon", "UUID", &uuid)
    }

    fn swapoff_uuid(&self, uuid: GuestString) -> Result<(), Failure> {
        self.switch_swap_by("swapoff", "UUID", &uuid)
    }
}
