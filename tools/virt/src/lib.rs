//! The virt-* family: one small program a question. What they share is here.

pub mod fields;
pub mod sides;
pub mod table;
pub mod walk;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Arg, ArgAction, ArgMatches, Command};
use guest::Guest;
use guest_cli::{GuestArguments, MountSpec, mount_system};

/// Adds the options of a reading tool: those of every guest tool, and `-m`.
pub fn command(name: &'static str, about: &'static str) -> Command {
    let command =
        Command::new(name).version(env!("CARGO_PKG_VERSION")).about(about).arg_required_else_help(true);
    GuestArguments::add_to(command)
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

/// Reads the command line; a usage error is printed and gives the exit code.
pub fn matches(command: Command) -> std::result::Result<ArgMatches, ExitCode> {
    command.try_get_matches().map_err(|error| {
        // Nobody listens: no reason to fail differently.
        let _ = error.print();
        if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    })
}

/// The guest, opened for reading and mounted.
///
/// # Errors
/// When a disk cannot be opened, or what should be mounted is not there.
pub fn open_mounted(matches: &ArgMatches, program: &'static str) -> Result<Guest> {
    let guest = GuestArguments::read(matches).open_read_only(program)?;
    let mounts: Vec<&String> = matches.get_many("mount").into_iter().flatten().collect();
    if mounts.is_empty() {
        mount_system(&guest, true, program)?;
    }
    for mount in mounts {
        MountSpec::parse(mount).mount(&guest, true)?;
    }
    Ok(guest)
}

/// Writes text and a newline.
///
/// # Errors
/// When standard output cannot be written.
pub fn print_line(out: &mut dyn Write, text: &[u8]) -> std::io::Result<()> {
    out.write_all(text)?;
    out.write_all(b"\n")
}
