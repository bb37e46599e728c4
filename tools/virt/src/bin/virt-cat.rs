//! `virt-cat`: prints files of a guest.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Arg, ArgMatches, value_parser};
use guestd_api::GuestString;
use guestd_api::prelude::*;

const NAME: &str = "virt-cat";

fn main() -> ExitCode {
    let files = Arg::new("files")
        .value_name("FILE")
        .num_args(1..)
        .required(true)
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
    let guest = virt_tools::open_mounted(matches, NAME)?;
    let mut out = std::io::stdout().lock();
    for file in matches.get_many::<OsString>("files").into_iter().flatten() {
        let path = GuestString::from(file.clone().into_vec());
        guest.download(path, &mut out)?;
    }
    Ok(guest.shut_down()?)
}
