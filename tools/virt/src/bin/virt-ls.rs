//! `virt-ls`: lists directories of a guest.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use guestd_api::GuestString;
use guestd_api::prelude::*;
use virt_tools::print_line;

const NAME: &str = "virt-ls";

fn main() -> ExitCode {
    let flag = |name: &'static str, short, help| {
        Arg::new(name).long(name).short(short).action(ArgAction::SetTrue).help(help)
    };
    let directories = Arg::new("directories")
        .value_name("DIR")
        .num_args(1..)
        .required(true)
        .value_parser(value_parser!(OsString))
        .help("Absolute paths in the guest");
    let command = virt_tools::command(NAME, "List directories of a guest")
        .arg(virt_tools::mount_argument())
        .arg(flag("long", 'l', "Show modes, owners, sizes and times"))
        .arg(flag("recursive", 'R', "List everything below"))
        .arg(directories);
    match virt_tools::matches(command) {
        Ok(matches) => guest_cli::finish(NAME, run(&matches)),
        Err(code) => code,
    }
}

fn run(matches: &ArgMatches) -> Result<()> {
    let (long, recursive) = (matches.get_flag("long"), matches.get_flag("recursive"));
    if long && recursive {
        bail!("-l and -R cannot be combined; -R lists names, -l one directory");
    }
    let guest = virt_tools::open_mounted(matches, NAME)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for directory in matches.get_many::<OsString>("directories").into_iter().flatten() {
        let path = GuestString::from(directory.clone().into_vec());
        if long {
            out.write_all(guest.ll(path)?.as_bytes())?;
            continue;
        }
        let names = if recursive { guest.find(path)? } else { guest.ls(path)? };
        names.iter().try_for_each(|name| print_line(&mut out, name.as_bytes()))?;
    }
    out.flush()?;
    Ok(guest.shut_down()?)
}
