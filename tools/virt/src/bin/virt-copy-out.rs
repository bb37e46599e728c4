//! `virt-copy-out`: copies files and directories out of a guest.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};
use clap::{Arg, ArgMatches, value_parser};
use guest_cli::copy::copy_out;
use guestd_api::GuestString;

const NAME: &str = "virt-copy-out";

fn main() -> ExitCode {
    let words = Arg::new("words")
        .value_names(["PATH", "DIR"])
        .num_args(2..)
        .required(true)
        .value_parser(value_parser!(OsString))
        .help("Absolute paths in the guest, and a directory of the host");
    let command = virt_tools::command(NAME, "Copy files and directories out of a guest")
        .arg(virt_tools::mount_argument())
        .arg(words);
    match virt_tools::matches(command) {
        Ok(matches) => guest_cli::finish(NAME, run(&matches)),
        Err(code) => code,
    }
}

fn run(matches: &ArgMatches) -> Result<()> {
    let mut words: Vec<OsString> = matches.get_many("words").into_iter().flatten().cloned().collect();
    let directory = PathBuf::from(words.pop().unwrap_or_default());
    if !directory.is_dir() {
        bail!("target ‘{}’ is not a directory", directory.display());
    }
    let guest = virt_tools::open_mounted(matches, NAME)?;
    for word in words {
        copy_out(&guest, &GuestString::from(word.into_vec()), &directory, || Command::new("tar"))?;
    }
    Ok(guest.shut_down()?)
}
