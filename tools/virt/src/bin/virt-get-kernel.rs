//! `virt-get-kernel`: copies the newest kernel of a guest, and its initial RAM disk, to the host.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgAction, ArgMatches};
use guest::Guest;
use guest_cli::{GuestArguments, Usage};
use guestd_api::Error;
use guestd_api::prelude::*;
use virt_tools::{command_line, flag, kernel};

const NAME: &str = "virt-get-kernel";

fn main() -> ExitCode {
    let option = |name: &'static str, value, help| Arg::new(name).long(name).value_name(value).help(help);
    let readable =
        option("machine-readable", "FORMAT", "Tell what this program can do, in words for programs")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("")
            .action(ArgAction::Set);
    let command = virt_tools::command(NAME, "Copy the newest kernel of a guest and its initial RAM disk")
        .arg(option("output", "DIR", "Where to put them; here unless said").short('o'))
        .arg(option("prefix", "WORD", "Put this and a hyphen before their names"))
        .arg(flag("unversioned-names", "Leave the versions out of their names"))
        .arg(flag("quiet", "Do not tell what is copied").short('q'))
        .arg(readable)
        .arg(flag("colors", "Accepted for old scripts").aliases(["color", "colour", "colours"]))
        .arg(flag("wrap", "Accepted for old scripts"))
        // These take their values apart here.
        .mut_arg("format", |arg| arg.require_equals(false).num_args(1))
        .mut_arg("blocksize", |arg| arg.require_equals(false).num_args(1));
    match command_line::matches(command) {
        Ok(matches) => guest_cli::finish(NAME, run(&matches)),
        Err(code) => code,
    }
}

fn run(matches: &ArgMatches) -> Result<()> {
    let options = GuestArguments::read(matches);
    if options.disks.is_empty() && matches.contains_id("machine-readable") {
        return cli::print(&format!("{NAME}\n"));
    }
    if options.disks.is_empty() {
        return Err(Usage(format!(
            "{NAME}: error: you must give either -a or -d options.  Read {NAME}(1) man page for further information."
        ))
        .into());
    }
    let prefix = match matches.get_one::<String>("prefix").map(String::as_str) {
        Some("") => bail!("--prefix: it is empty"),
        other => other,
    };
    let directory = PathBuf::from(matches.get_one::<String>("output").map_or(".", String::as_str));
    let (guest, _) = virt_tools::open_disks_mounted(matches, &options, &options.disks, NAME)?;
    let Some(newest) = kernel::newest(&guest)? else { bail!("no kernel was found in /boot of this guest") };
    for path in [Some(newest.kernel), newest.ram_disk].into_iter().flatten() {
        let name = kernel::local_name(&path, matches.get_flag("unversioned-names"));
        let name = prefix.map_or(name.clone(), |prefix| format!("{prefix}-{name}"));
        let target = directory.join(name);
        if !matches.get_flag("quiet") {
            cli::print(&format!("download: {path} -> {}\n", target.display()))?;
        }
        copy(&guest, &path, &target)?;
    }
    Ok(guest.shut_down()?)
}

/// Copies one file; what was copied of it is not left behind when that fails.
fn copy(guest: &Guest, path: &str, target: &Path) -> Result<()> {
    let mut file = File::create(target).with_context(|| format!("Could not write '{}'", target.display()))?;
    let done = guest.download(path, &mut file);
    if done.is_err() {
        // The first failure is the one to tell.
        let _ = std::fs::remove_file(target);
    }
    match done {
        Err(Error::Output { source, .. }) => {
            Err(source).with_context(|| format!("Could not write '{}'", target.display()))
        }
        other => Ok(other?),
    }
}
