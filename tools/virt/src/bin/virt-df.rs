//! `virt-df`: shows the space of every file system of guests.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Arg, ArgMatches};
use guest_cli::{GuestArguments, GuestOptions, Usage, luks};
use guestd_api::Error;
use guestd_api::prelude::*;
use guestd_api::structs::Statvfs;
use virt_tools::many::{self, Source};
use virt_tools::size::human;
use virt_tools::{command_line, flag, table};

const NAME: &str = "virt-df";

fn main() -> ExitCode {
    let images =
        Arg::new("images").value_name("FILE|NAME").num_args(0..).help("Images, each a guest of its own");
    let command = virt_tools::command_without_h(NAME, "Show the free space of guests")
        .arg(flag("csv", "Separate by commas"))
        .arg(flag("human-readable", "Show sizes with units").short('h'))
        .arg(flag("inodes", "Show numbers of files instead of space").short('i'))
        .arg(flag("one-per-guest", "Accepted for old scripts: each guest is looked at by itself"))
        .arg(flag("uuid", "Show the UUIDs of libvirt's domains instead of their names"))
        .arg(many::threads_argument())
        .arg(images);
    match command_line::matches(command) {
        Ok(matches) => run(&matches).unwrap_or_else(|error| guest_cli::report(NAME, &error)),
        Err(code) => code,
    }
}

/// How numbers are shown.
#[derive(Clone, Copy)]
struct Style {
    csv: bool,
    human: bool,
    inodes: bool,
}

/// A line: which file system, and its numbers.
struct Row {
    device: String,
    cells: [String; 4],
}

fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let style = Style {
        csv: matches.get_flag("csv"),
        human: matches.get_flag("human-readable"),
        inodes: matches.get_flag("inodes"),
    };
    if style.csv && style.human {
        return Err(Usage(format!("{NAME}: you cannot use -h and --csv options together.")).into());
    }
    let threads = many::threads(matches, NAME)?;
    let mut options = GuestArguments::read(matches);
    // Of all machines of a host some run.
    options.service.share = true;
    let words: Vec<String> = matches.get_many("images").into_iter().flatten().cloned().collect();
    let sources = match many::sources(&options, &words) {
        none if none.is_empty() => many::domains()?,
        some => some,
    };
    cli::print(&title(style))?;
    let uuid = matches.get_flag("uuid");
    many::each(
        NAME,
        &sources,
        threads,
        |source| look(&options, source, style),
        |source, rows| {
            let name = source.uuid.as_ref().filter(|_| uuid).unwrap_or(&source.name);
            cli::print(&rows.iter().map(|row| line(name, row, style)).collect::<String>())
        },
    )
}

/// The file systems that can be mounted, one after the other.
fn look(options: &GuestOptions, source: &Source, style: Style) -> Result<Vec<Row>> {
    let guest = options.open(&source.disks, NAME)?;
    if options.keys.any_given() {
        luks::open_all(&guest, &options.keys)?;
    }
    let mut rows = Vec::new();
    for (device, kind) in guest.list_filesystems()? {
        if kind == "swap" || kind == "unknown" || kind.is_empty() {
            continue;
        }
        let space = guest.mount_ro(&device, "/").and_then(|()| guest.statvfs("/"));
        match space {
            Ok(space) => rows.push(Row { device: device.to_string(), cells: cells(&space, style) }),
            // What cannot be mounted has no free space to speak of.
            Err(Error::Action { .. }) => {}
            Err(other) => return Err(other.into()),
        }
        guest.umount_all()?;
    }
    guest.shut_down()?;
    Ok(rows)
}

fn cells(space: &Statvfs, style: Style) -> [String; 4] {
    let number = |count: i64| u128::from(count.max(0).unsigned_abs());
    let (all, free, available) = match style.inodes {
        true => (number(space.files), number(space.ffree), number(space.ffree)),
        false => (number(space.blocks), number(space.bfree), number(space.bavail)),
    };
    let used = all.saturating_sub(free);
    let unit = number(space.bsize);
    let shown = |count: u128| match (style.inodes, style.human) {
        (true, _) => count.to_string(),
        (false, true) => human(count.saturating_mul(unit)),
        (false, false) => (count.saturating_mul(unit) / 1024).to_string(),
    };
    let percent = if all == 0 { 0.0 } else { used as f64 * 100.0 / all as f64 };
    let percent = if style.csv { format!("{percent:.1}") } else { format!("{:.0}%", percent.ceil()) };
    [shown(all), shown(used), shown(available), percent]
}

fn title(style: Style) -> String {
    let [all, used, free, percent] = match (style.inodes, style.human) {
        (true, _) => ["Inodes", "IUsed", "IFree", "IUse%"],
        (false, true) => ["Size", "Used", "Available", "Use%"],
        (false, false) => ["1K-blocks", "Used", "Available", "Use%"],
    };
    match style.csv {
        true => format!("VirtualMachine,Filesystem,{all},{used},{free},{percent}\n"),
        false => format!("{:<36}{all:>10} {used:>10} {free:>10} {percent:>5}\n", "Filesystem"),
    }
}

fn line(name: &str, row: &Row, style: Style) -> String {
    let Row { device, cells: [all, used, free, percent] } = row;
    if style.csv {
        let name = table::quoted(name);
        return format!("{name},{},{all},{used},{free},{percent}\n", table::quoted(device));
    }
    let whole = format!("{name}:{device}");
    // A long name has a line of its own.
    let gap = if whole.chars().count() > 36 { "\n" } else { "" };
    let numbers = format!("{all:>10} {used:>10} {free:>10} {percent:>5}\n");
    match gap {
        "" => format!("{whole:<36}{numbers}"),
        _ => format!("{whole}\n{:36}{numbers}", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { csv: false, human: false, inodes: false };

    fn space() -> Statvfs {
        Statvfs {
            bsize: 1024,
            frsize: 1024,
            blocks: 33_519,
            bfree: 31_524,
            bavail: 28_657,
            files: 10_240,
            ffree: 10_200,
            favail: 10_200,
            fsid: 0,
            flag: 0,
            namemax: 255,
        }
    }

    /// As virt-df showed a file system with these numbers.
    #[test]
    fn lines_are_those_of_virt_df() {
        let line_of = |style, name: &str| {
            let row = Row { device: "/dev/sda2".to_owned(), cells: cells(&space(), style) };
            line(name, &row, style)
        };
        assert_eq!(
            title(PLAIN) + &line_of(PLAIN, "deb.img"),
            "Filesystem                           1K-blocks       Used  Available  Use%\n\
             deb.img:/dev/sda2                        33519       1995      28657    6%\n"
        );
        let human = Style { human: true, ..PLAIN };
        assert_eq!(
            line_of(human, "deb.img"),
            "deb.img:/dev/sda2                          33M       1.9M        28M    6%\n"
        );
        let inodes = Style { inodes: true, csv: true, ..PLAIN };
        assert_eq!(line_of(inodes, "a,b"), "\"a,b\",/dev/sda2,10240,40,10200,0.4\n");
        let long = line_of(PLAIN, &"x".repeat(40));
        assert_eq!(long.lines().nth(1).map(str::len), Some(74));
    }
}
