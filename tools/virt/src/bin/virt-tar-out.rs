//! `virt-tar-out`: packs a directory of a guest.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Arg, ArgMatches, value_parser};
use guestd_api::GuestString;
use guestd_api::actions::archive::TarOutOptions;
use guestd_api::prelude::*;

const NAME: &str = "virt-tar-out";

fn main() -> ExitCode {
    let word = |name: &'static str, value, help| {
        Arg::new(name).value_name(value).required(true).value_parser(value_parser!(OsString)).help(help)
    };
    let command = virt_tools::command(NAME, "Pack a directory of a guest into an archive of the host")
        .arg(virt_tools::mount_argument())
        .arg(word("directory", "DIR", "An absolute path in the guest"))
        .arg(word("archive", "ARCHIVE", "The archive; - is standard output"));
    match virt_tools::matches(command) {
        Ok(matches) => guest_cli::finish(NAME, run(&matches)),
        Err(code) => code,
    }
}

fn run(matches: &ArgMatches) -> Result<()> {
    let word = |name| matches.get_one::<OsString>(name).cloned().unwrap_or_default();
    let (directory, archive) = (GuestString::from(word("directory").into_vec()), word("archive"));
    let guest = virt_tools::open_mounted(matches, NAME)?;
    let options = TarOutOptions::default();
    if archive == "-" {
        guest.tar_out(directory, &mut std::io::stdout().lock(), options)?;
    } else {
        let path = Path::new(&archive);
        let mut file = File::create(path).with_context(|| path.display().to_string())?;
        guest.tar_out(directory, &mut file, options)?;
    }
    Ok(guest.shut_down()?)
}
