//! The virt-* family: one small program a question. What they share is here.

pub mod command_line;
pub mod fields;
pub mod filesystems;
pub mod inspector;
pub mod kernel;
pub mod log;
pub mod many;
pub mod sides;
pub mod size;
pub mod table;
pub mod tail;
pub mod walk;
pub mod windows_path;
pub mod xpath;

use std::io::Write;

use anyhow::Result;
use clap::{Arg, ArgAction, ArgMatches, Command};
use guest::Guest;
use guest::inspect::System;
use guest_cli::{DiskSpec, GuestArguments, GuestOptions, MountSpec, luks, mount_all, mount_system};

pub use command_line::matches;

/// Adds the options of a reading tool: those of every guest tool.
pub fn command(name: &'static str, about: &'static str) -> Command {
    let command = Command::new(name).version(env!("CARGO_PKG_VERSION")).about(about).infer_long_args(true);
    GuestArguments::add_to(command)
}

/// The same for a tool in which `-h` means sizes for people: help is `--help` alone.
pub fn command_without_h(name: &'static str, about: &'static str) -> Command {
    command(name, about)
        .disable_help_flag(true)
        .arg(Arg::new("help").long("help").action(ArgAction::Help).help("Show this help"))
}

/// An option without a value.
pub fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// The option `-m`: with it nothing is searched for.
pub fn mount_argument() -> Arg {
    Arg::new("mount")
        .short('m')
        .long("mount")
        .value_name("DEV[:DIR[:OPTS[:TYPE]]]")
        .action(ArgAction::Append)
        .help("Mount this instead of looking for an operating system")
}

/// The guest, opened for reading and mounted.
///
/// # Errors
/// When a disk cannot be opened, or what should be mounted is not there.
pub fn open_mounted(matches: &ArgMatches, program: &'static str) -> Result<Guest> {
    let options = GuestArguments::read(matches);
    open_disks_mounted(matches, &options, &options.disks, program).map(|(guest, _)| guest)
}

/// The guest of these disks, opened for reading and mounted; and its system, if that was searched for.
///
/// # Errors
/// When a disk cannot be opened, or what should be mounted is not there.
pub fn open_disks_mounted(
    matches: &ArgMatches,
    options: &GuestOptions,
    disks: &[DiskSpec],
    program: &'static str,
) -> Result<(Guest, Option<System>)> {
    let guest = options.open(disks, program)?;
    let mounts: Vec<MountSpec> = match matches.try_get_many::<String>("mount") {
        Ok(mounts) => mounts.into_iter().flatten().map(|text| MountSpec::parse(text)).collect(),
        // A tool without the option.
        Err(_) => Vec::new(),
    };
    if !mounts.is_empty() {
        mount_all(&guest, &mounts, true, program)?;
        return Ok((guest, None));
    }
    luks::open_all(&guest, &options.keys)?;
    let system = mount_system(&guest, true, program)?;
    Ok((guest, Some(system)))
}

/// Writes text and a newline.
///
/// # Errors
/// When standard output cannot be written.
pub fn print_line(out: &mut dyn Write, text: &[u8]) -> std::io::Result<()> {
    out.write_all(text)?;
    out.write_all(b"\n")
}
