//! `virt-cat`: prints files of a guest.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Arg, ArgMatches, value_parser};
use guest_cli::GuestArguments;
use guestd_api::prelude::*;
use virt_tools::command_line::disks_and_words;
use virt_tools::windows_path::Paths;

const NAME: &str = "virt-cat";

fn main() -> ExitCode {
    let files = Arg::new("files")
        .value_name("FILE")
        .num_args(0..)
        .value_parser(value_parser!(OsString))
        .help("Absolute paths in the guest");
    let command =
        virt_tools::command(NAME, "Print files of a guest").arg(virt_tools::mount_argument()).arg(files);
    match virt_tools::matches(command) {
        Ok(matches) => guest_cli::finish(NAME, run(&matches)),
        Err(code) => code,
    }
}

fn run(matches: &ArgMatches) -> Result<()> {
    let options = GuestArguments::read(matches);
    let words = matches.get_many::<OsString>("files").into_iter().flatten().cloned().collect();
    let (disks, files) = disks_and_words(&options, words, NAME, "")?;
    let (guest, system) = virt_tools::open_disks_mounted(matches, &options, &disks, NAME)?;
    let mut paths = Paths::new(&guest, system.as_ref());
    let mut out = std::io::stdout().lock();
    for file in files {
        guest.download(paths.resolve(file.as_bytes())?, &mut out)?;
    }
    Ok(guest.shut_down()?)
}
