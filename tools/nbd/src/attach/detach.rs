//! `nbd detach`: takes block devices off, and returns when nothing is behind them any more.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use cli::getopt::{Name, Opt, opt};

use super::device::Device;
use super::process::{Server, claim};
use super::{PREFIX, ioctl, link};
use crate::arguments::{Command, HELP, Usage, VERSION, Words};
use crate::ublk;

/// `nbd detach`
pub(crate) const COMMAND: Command = Command {
    name: "detach",
    peer: "",
    about: "Take block devices off that attach has made",
    operands: "/dev/nbdN...\n--ublk /dev/ublkbN|N...",
    options: OPTIONS,
    operands_last: false,
    run,
};

const OPTIONS: &[Opt] = &[
    opt('\0', "ublk", "", "they are devices of the ublk driver, and may be named by their numbers"),
    opt('\0', "force", "", "also while it is in use: whoever uses it gets errors"),
    HELP,
    VERSION,
];

fn run(words: Words) -> Result<ExitCode> {
    let (mut is_ublk, mut force) = (false, false);
    let operands = words.read(|name, _| {
        match name {
            Name::Long("ublk") => is_ublk = true,
            _ => force = true,
        }
        Ok(())
    })?;
    if operands.is_empty() {
        return Err(Usage::error(&COMMAND, "Expecting the name of a device"));
    }
    let mut code = ExitCode::SUCCESS;
    for word in &operands {
        let number = word.to_str().and_then(|word| word.parse::<u32>().ok()).filter(|_| is_ublk);
        let is_ublk = is_ublk || word.to_string_lossy().contains(ublk::PREFIX);
        let detached = match number {
            Some(number) => ublk::detach(&Device::numbered(ublk::PREFIX, number), number, force),
            None if is_ublk => Device::named(Path::new(word), ublk::PREFIX)
                .and_then(|(device, number)| ublk::detach(&device, number, force)),
            None => Device::named(Path::new(word), PREFIX)
                .and_then(|(device, number)| detach(&device, number, force)),
        };
        // The others are taken off all the same.
        if let Err(error) = detached {
            eprintln!("{}: {}", cli::program(), cli::error::full_chain(&error));
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// Takes a device off, if anything is behind it.
///
/// # Errors
/// When it is no such device, or in use, or the kernel does not do it.
pub(crate) fn take_off(device: &Path) -> Result<()> {
    let (device, index) = Device::named(device, PREFIX)?;
    if device.process().is_none() {
        return Ok(());
    }
    detach(&device, index, false)
}

fn detach(device: &Device, index: u32, force: bool) -> Result<()> {
    let path = device.path();
    let failed = || format!("Could not detach '{}'", path.display());
    let driver = link::driver()?;
    let Some(process) = device.process() else { bail!("'{}' is not attached", path.display()) };
    let server = Server::find(process);
    let claimed = claim(device, force)?;
    match driver {
        Some(mut driver) => driver.disconnect(index).with_context(failed)?,
        None => {
            let file = match &claimed {
                Some(file) => file,
                None => &std::fs::File::open(&path).with_context(failed)?,
            };
            ioctl::disconnect(file).with_context(failed)?;
        }
    }
    drop(claimed);
    if !force {
        device.wait_until_empty()?;
    }
    server.map_or(Ok(()), Server::wait)
}
