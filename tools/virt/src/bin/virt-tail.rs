//! `virt-tail`: follows files of a guest.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Arg, ArgMatches, value_parser};
use guest_cli::GuestArguments;
use virt_tools::command_line::disks_and_words;
use virt_tools::tail::Follower;
use virt_tools::{command_line, flag};

const NAME: &str = "virt-tail";

fn main() -> ExitCode {
    let files = Arg::new("files")
        .value_name("FILE")
        .num_args(0..)
        .value_parser(value_parser!(OsString))
        .help("Absolute paths in the guest");
    let command = virt_tools::command(NAME, "Follow files of a guest")
        .arg(virt_tools::mount_argument())
        .arg(flag("follow", "Accepted as tail does: files are always followed").short('f'))
        .arg(files)
        .after_help("It ends when none of the files is there any more, or when it is interrupted.");
    match command_line::matches(command) {
        Ok(matches) => guest_cli::finish(NAME, run(&matches)),
        Err(code) => code,
    }
}

fn run(matches: &ArgMatches) -> Result<()> {
    let mut options = GuestArguments::read(matches);
    // Files grow while somebody writes to them.
    options.service.share = true;
    let words = matches.get_many::<OsString>("files").into_iter().flatten().cloned().collect();
    let missing = format!(
        "{NAME}: error: missing filenames on command line.\nPlease specify at least one file to follow.\n"
    );
    let (disks, files) = disks_and_words(&options, words, NAME, &missing)?;
    cli::interrupt::watch();
    let mut follower = Follower::new(NAME, files);
    loop {
        let before = virt_tools::tail::marks(&disks);
        let (guest, system) = virt_tools::open_disks_mounted(matches, &options, &disks, NAME)?;
        let any = follower.look(&guest, system.as_ref(), &mut std::io::stdout().lock())?;
        guest.shut_down()?;
        if !any || !virt_tools::tail::wait(&disks, &before) {
            return Ok(());
        }
    }
}
