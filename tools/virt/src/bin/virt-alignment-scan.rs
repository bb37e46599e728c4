//! `virt-alignment-scan`: tells whether partitions begin where storage works best.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Arg, ArgMatches};
use guest_cli::{GuestArguments, GuestOptions};
use guestd_api::prelude::*;
use virt_tools::many::{self, Source};
use virt_tools::{command_line, flag};

const NAME: &str = "virt-alignment-scan";
/// Partitions that begin at multiples of less than this are slow on most storage, in bytes.
const LEAST: u64 = 4 << 10;
/// And on some storage at multiples of less than this.
const GOOD: u64 = 64 << 10;

fn main() -> ExitCode {
    let images =
        Arg::new("images").value_name("FILE|NAME").num_args(0..).help("Images, each a guest of its own");
    let command = virt_tools::command(NAME, "Check where the partitions of guests begin")
        .arg(flag("quiet", "Print nothing: the exit code tells").short('q'))
        .arg(flag("uuid", "Show the UUIDs of libvirt's domains instead of their names"))
        .arg(many::threads_argument())
        .arg(images)
        .after_help("Exit codes: 0 all is well, 1 an error, 2 some begin at multiples of less than 64K, 3 of less than 4K");
    match command_line::matches(command) {
        Ok(matches) => run(&matches).unwrap_or_else(|error| guest_cli::report(NAME, &error)),
        Err(code) => code,
    }
}

/// Where a partition begins, in bytes.
struct Begin {
    partition: String,
    start: u64,
}

fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let threads = many::threads(matches, NAME)?;
    let mut options = GuestArguments::read(matches);
    // Of all machines of a host some run.
    options.service.share = true;
    let words: Vec<String> = matches.get_many("images").into_iter().flatten().cloned().collect();
    let mut sources = many::sources(&options, &words);
    // One guest needs no name.
    let named = sources.len() != 1;
    if sources.is_empty() {
        sources = many::domains()?;
    }
    let (quiet, uuid) = (matches.get_flag("quiet"), matches.get_flag("uuid"));
    let mut worst = u64::MAX;
    let code = many::each(
        NAME,
        &sources,
        threads,
        |source| look(&options, source),
        |source, begins| {
            let mut text = String::new();
            for Begin { partition, start } in begins {
                worst = worst.min(alignment(start));
                let name = source.uuid.as_ref().filter(|_| uuid).unwrap_or(&source.name);
                text += &line(&if named { format!("{name}:{partition}") } else { partition }, start);
            }
            if quiet { Ok(()) } else { cli::print(&text) }
        },
    )?;
    Ok(match worst {
        _ if code != ExitCode::SUCCESS => code,
        0..LEAST => ExitCode::from(3),
        LEAST..GOOD => ExitCode::from(2),
        _ => ExitCode::SUCCESS,
    })
}

fn look(options: &GuestOptions, source: &Source) -> Result<Vec<Begin>> {
    let guest = options.open(&source.disks, NAME)?;
    let mut begins = Vec::new();
    let mut disks = Vec::new();
    for partition in guest.list_partitions()? {
        disks.push(guest.part_to_dev(partition)?);
    }
    disks.dedup();
    for disk in disks {
        for part in guest.part_list(&disk)? {
            begins.push(Begin { partition: format!("{disk}{}", part.part_num), start: part.part_start });
        }
    }
    guest.shut_down()?;
    Ok(begins)
}

/// The largest power of two that divides it, in bytes; the largest of all divides nothing.
fn alignment(start: u64) -> u64 {
    1_u64.checked_shl(start.trailing_zeros()).unwrap_or(u64::MAX)
}

fn line(name: &str, start: u64) -> String {
    let alignment = alignment(start);
    let shown = match alignment {
        u64::MAX => format!("{:>13}   ", "-"),
        bytes if bytes < 1024 => format!("{bytes:>12}    "),
        bytes => format!("{:>12}K   ", bytes / 1024),
    };
    let verdict = match alignment {
        0..LEAST => "bad (alignment < 4K)",
        LEAST..GOOD => "bad (alignment < 64K)",
        _ => "ok",
    };
    format!("{name} {start:>12} {shown}{verdict}\n")
}
