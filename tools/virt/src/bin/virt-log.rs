//! `virt-log`: prints the log of a guest.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Arg, ArgMatches};
use guest_cli::GuestArguments;
use virt_tools::{command_line, log};

const NAME: &str = "virt-log";

fn main() -> ExitCode {
    let images = Arg::new("images").value_name("FILE|NAME").num_args(0..).help("Disks of the guest");
    let command = virt_tools::command(NAME, "Print the log of a guest").arg(images);
    match command_line::matches(command) {
        Ok(matches) => guest_cli::finish(NAME, run(&matches)),
        Err(code) => code,
    }
}

fn run(matches: &ArgMatches) -> Result<()> {
    let options = GuestArguments::read(matches);
    let words: Vec<String> = matches.get_many("images").into_iter().flatten().cloned().collect();
    let disks: Vec<_> =
        options.disks.iter().cloned().chain(words.iter().map(|word| options.word(word))).collect();
    let (guest, system) = virt_tools::open_disks_mounted(matches, &options, &disks, NAME)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    if let Some(system) = &system {
        log::write(&guest, system, &mut out)?;
    }
    out.flush()?;
    Ok(guest.shut_down()?)
}
