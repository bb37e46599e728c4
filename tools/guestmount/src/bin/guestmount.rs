//! `guestmount`: mounts a guest on a directory.

use std::process::ExitCode;

use anyhow::{Context, Result};
use cli::background::{self, Background};
use cli::signals::Ends;
use guest::Guest;
use guest::fuse::HostMount;
use guest_cli::{luks, mount_system};
use guestd_api::actions::launch::{AddDomainOptions, AddDriveOptions};
use guestd_api::prelude::*;
use guestmount::arguments::{self, Arguments, Disk, FUSE_HELP};

const NAME: &str = "guestmount";

fn main() -> ExitCode {
    let matches = match arguments::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // Nobody listens: no reason to fail differently.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    if matches.get_flag("fuse-help") {
        println!("{FUSE_HELP}");
        return ExitCode::SUCCESS;
    }
    let arguments = match Arguments::read(&matches) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{NAME}: error: {error}\nTry '{NAME} --help' for more information.");
            return ExitCode::FAILURE;
        }
    };
    match Background::here() {
        Ok(None) if !arguments.no_fork => match background::start() {
            Ok(code) => code,
            Err(error) => guest_cli::finish(NAME, Err(error).context("It cannot go to the background")),
        },
        Ok(background) => guest_cli::finish(NAME, run(&arguments, background)),
        Err(error) => guest_cli::finish(NAME, Err(error).context("It cannot go to the background")),
    }
}

/// The guest with its disks, and everything in it mounted.
fn open(arguments: &Arguments) -> Result<Guest> {
    let guest = Guest::create(arguments.service.settings(NAME))?;
    for disk in &arguments.disks {
        match disk {
            Disk::File { name, format, block_size } => {
                let mut options = AddDriveOptions::default().readonly(arguments.read_only);
                options.format = format.clone().map(Into::into);
                options.blocksize = *block_size;
                guest.add_drive(name.as_str(), options)?;
            }
            Disk::Domain(name) => {
                let mut options = AddDomainOptions::default()
                    .readonly(arguments.read_only)
                    .allowuuid(true)
                    .readonlydisk("read");
                options.libvirturi = arguments.connect.clone().map(Into::into);
                guest.add_domain(name.as_str(), options)?;
            }
        }
    }
    guest.launch()?;
    // A system may lie in one; what is named may be what a key opens.
    if arguments.mounts.is_empty() || arguments.keys.any_given() {
        luks::open_all(&guest, &arguments.keys)?;
    }
    if arguments.mounts.is_empty() {
        mount_system(&guest, arguments.read_only, NAME)?;
    }
    for mount in &arguments.mounts {
        mount.mount(&guest, arguments.read_only)?;
    }
    Ok(guest)
}

fn run(arguments: &Arguments, background: Option<Background>) -> Result<()> {
    let ends = Ends::watch().context("Signals cannot be waited for")?;
    let guest = open(arguments)?;
    let mount = HostMount::new(&guest, &arguments.point, &arguments.options)?;
    if let Err(error) = announce(arguments, background) {
        mount.stop()?;
        mount.wait(&guest, &|| false);
        return Err(error);
    }
    let mut stopped = Ok(());
    for end in 1.. {
        if mount.wait(&guest, &|| ends.count() >= end) {
            break;
        }
        match end {
            1 => stopped = mount.stop(),
            _ => {
                mount.cut_off();
                break;
            }
        }
    }
    let down = guest.shut_down().map_err(|e| cli::error::chain(&e.into()));
    mount.finish(down.clone())?;
    stopped.context("Not everything may be written")?;
    down.map_err(anyhow::Error::msg)
}

/// Tells everybody who waits that it can be used.
fn announce(arguments: &Arguments, background: Option<Background>) -> Result<()> {
    if let Some(path) = &arguments.pid_file {
        let text = format!("{}\n", std::process::id());
        std::fs::write(path, text).with_context(|| format!("'{}' cannot be written", path.display()))?;
    }
    if let Some(fd) = arguments.ready {
        guestmount::tell_ready(fd).with_context(|| format!("Descriptor {fd} cannot be written"))?;
    }
    background.map(Background::ready).transpose().context("It cannot go to the background")?;
    Ok(())
}
