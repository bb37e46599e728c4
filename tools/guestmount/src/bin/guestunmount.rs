//! `guestunmount`: takes a guest off a directory, and waits until everything is written.

use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, Command, value_parser};
use guest::fuse::{Failed, take_off};

const NAME: &str = "guestunmount";
/// Exit codes: it is still mounted; it never was.
const STILL_MOUNTED: u8 = 2;
const NOT_MOUNTED: u8 = 3;

fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    Command::new(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .disable_version_flag(true)
        .about("Take a guest off a directory, and wait until everything is written")
        .arg(
            Arg::new("version")
                .long("version")
                .short('V')
                .action(ArgAction::Version)
                .help("Print the version"),
        )
        .arg(Arg::new("fd").long("fd").value_name("FD").help("Wait until this pipe is closed"))
        .arg(flag("quiet").short('q').help("Do not tell why it could not be taken off"))
        .arg(Arg::new("retry").long("retry").value_name("N").help("Try so many times again (5)"))
        .arg(flag("no-retry").overrides_with("retry").help("Try once"))
        .arg(flag("verbose").short('v').help("Tell what is done"))
        .arg(
            Arg::new("mountpoint").value_name("DIRECTORY").num_args(0..).value_parser(value_parser!(PathBuf)),
        )
}

fn main() -> ExitCode {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // Nobody listens: no reason to fail differently.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let usage = |text: String| {
        eprintln!("{NAME}: {text}");
        ExitCode::FAILURE
    };
    let points: Vec<&PathBuf> = matches.get_many("mountpoint").into_iter().flatten().collect();
    let [point] = points[..] else {
        return usage("you must specify a mountpoint in the host filesystem\n".to_owned());
    };
    let retries = match matches.get_one::<String>("retry") {
        _ if matches.get_flag("no-retry") => 0,
        None => 5,
        Some(text) => match text.parse::<u32>() {
            Ok(retries) if retries <= 30 => retries,
            _ => return usage(format!("cannot parse retries option or value is too large '{text}'")),
        },
    };
    if let Some(text) = matches.get_one::<String>("fd") {
        let Ok(fd) = text.parse::<RawFd>() else {
            return usage(format!("cannot parse fd option '{text}'"));
        };
        if let Err(error) = wait_for_end(fd) {
            return usage(format!("descriptor {fd}: {error}"));
        }
    }
    take(point, retries, matches.get_flag("quiet"), matches.get_flag("verbose"))
}

/// Waits until nobody has the other end of a pipe open.
fn wait_for_end(fd: RawFd) -> std::io::Result<()> {
    std::io::copy(&mut cli::background::inherited(fd, false)?, &mut std::io::sink()).map(drop)
}

fn take(point: &Path, retries: u32, quiet: bool, verbose: bool) -> ExitCode {
    let tell = |failed: &Failed| {
        if !quiet {
            let cause =
                std::error::Error::source(failed).map(|cause| format!(": {cause}")).unwrap_or_default();
            eprintln!("{NAME}: failed to unmount {}: {failed}{cause}", point.display());
        }
    };
    let mut tries = 0;
    loop {
        let code = match take_off(point) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(Failed::Busy(error)) if tries < retries => {
                let seconds = 1_u64 << tries;
                if verbose {
                    eprintln!("{NAME}: {}: {error}; trying again in {seconds} seconds", point.display());
                }
                std::thread::sleep(Duration::from_secs(seconds));
                tries += 1;
                continue;
            }
            Err(failed) => {
                tell(&failed);
                match failed {
                    Failed::NotMounted => NOT_MOUNTED,
                    Failed::Busy(_) => STILL_MOUNTED,
                    Failed::Lost(_) => 1,
                }
            }
        };
        return ExitCode::from(code);
    }
}
