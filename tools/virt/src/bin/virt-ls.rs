//! `virt-ls`: lists directories of a guest.

use std::ffi::OsString;
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use guest::Guest;
use guestd_api::GuestString;
use guestd_api::prelude::*;
use virt_tools::fields::{self, Line, Style};
use virt_tools::print_line;
use virt_tools::walk::walk;

const NAME: &str = "virt-ls";
/// Bytes that are written at once.
const BUFFER: usize = 256 << 10;

fn main() -> ExitCode {
    let flag = |name: &'static str, help| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let directories = Arg::new("directories")
        .value_name("DIR")
        .num_args(1..)
        .required(true)
        .value_parser(value_parser!(OsString))
        .help("Absolute paths in the guest");
    let command = virt_tools::command(NAME, "List directories of a guest")
        .disable_help_flag(true)
        .arg(Arg::new("help").long("help").action(ArgAction::Help).help("Print help"))
        .arg(virt_tools::mount_argument())
        .arg(flag("long", "Show modes, owners, sizes and times").short('l'))
        .arg(flag("recursive", "List everything below").short('R'))
        .args(fields::arguments())
        .arg(directories);
    match virt_tools::matches(command) {
        Ok(matches) => run(&matches).unwrap_or_else(|error| guest_cli::finish(NAME, Err(error))),
        Err(code) => code,
    }
}

/// Lists the directories; the exit code says whether all of them could be.
fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let (long, recursive) = (matches.get_flag("long"), matches.get_flag("recursive"));
    let style = fields::style(matches);
    if !(long && recursive) && style.is_asked_for() {
        bail!("what lines show can be chosen for -lR only: give both options");
    }
    if style.csv && style.human {
        bail!("-h and --csv cannot be combined: programs that read the values could not count with them");
    }
    let guest = virt_tools::open_mounted(matches, NAME)?;
    let mut out = BufWriter::with_capacity(BUFFER, std::io::stdout().lock());
    let mut whole = ExitCode::SUCCESS;
    for directory in matches.get_many::<OsString>("directories").into_iter().flatten() {
        let path = GuestString::from(directory.clone().into_vec());
        let done = match (long, recursive) {
            (true, true) => list(&guest, &path, &style, &mut out),
            (true, false) => guest.ll(path).map_err(Into::into).and_then(|text| {
                out.write_all(text.as_bytes())?;
                Ok(())
            }),
            (false, true) => guest.find(path).map_err(Into::into).and_then(|names| print(&names, &mut out)),
            (false, false) => guest.ls(path).map_err(Into::into).and_then(|names| print(&names, &mut out)),
        };
        // One that is not there does not hide the others.
        if let Err(error) = done {
            if cli::error::is_broken_pipe(&error) {
                return Err(error);
            }
            out.flush()?;
            whole = guest_cli::finish(NAME, Err(error));
        }
    }
    out.flush()?;
    guest.shut_down()?;
    Ok(whole)
}

fn print(names: &[GuestString], out: &mut dyn Write) -> Result<()> {
    Ok(names.iter().try_for_each(|name| print_line(out, name.as_bytes()))?)
}

/// A line about everything below a directory.
fn list(guest: &Guest, directory: &GuestString, style: &Style, out: &mut dyn Write) -> Result<()> {
    walk(guest, directory, false, &mut |file| {
        let path = GuestString::from(file.path);
        let mut line = Line::new(style, out);
        line.values(&file.what, true)?;
        if let Some(kind) = &style.checksum {
            if fields::is_file(file.what.st_mode) {
                line.text(guest.checksum(kind.as_str(), path.clone())?.as_bytes())?;
            } else if style.csv {
                line.text(b"")?;
            }
        }
        line.path(path.as_bytes(), file.link.as_ref())?;
        Ok(line.end()?)
    })
}
