//! `nbd attach --list`: what is attached.

use std::process::ExitCode;

use anyhow::Result;

use super::PREFIX;
use super::device::Device;
use crate::ublk;

/// Numbers of devices are looked for up to a hole of so many.
const HOLE: u32 = 64;

/// Prints a line for each device: its name, its size in bytes, whether it can be written, and what is behind it.
pub(super) fn run() -> Result<ExitCode> {
    let mut lines = String::new();
    for device in devices(PREFIX).filter(|device| device.process().is_some()) {
        let behind = device.backend().unwrap_or_else(|| match device.process() {
            Some(process) => format!("process {process}"),
            None => "-".to_owned(),
        });
        lines += &line(&device, &behind);
    }
    for device in devices(ublk::PREFIX) {
        lines += &line(&device, "-");
    }
    cli::print(&lines)?;
    Ok(ExitCode::SUCCESS)
}

fn line(device: &Device, behind: &str) -> String {
    let access = if device.is_read_only() { "ro" } else { "rw" };
    format!("{}  {}  {access}  {behind}\n", device.path().display(), device.size())
}

/// All devices of a kind that the kernel knows.
fn devices(prefix: &'static str) -> impl Iterator<Item = Device> {
    let mut missed = 0;
    (0..)
        .map(move |number| Device::numbered(prefix, number))
        .take_while(move |device| {
            missed = if device.is_known() { 0 } else { missed + 1 };
            missed <= HOLE
        })
        .filter(Device::is_known)
}
