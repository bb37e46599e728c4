//! `virt-filesystems`: lists what the disks of a guest hold.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Result;
use clap::ArgMatches;
use guest_cli::{GuestArguments, Usage, luks};
use virt_tools::filesystems::{self, Row, Shown};
use virt_tools::size::human;
use virt_tools::table::Table;
use virt_tools::{command_line, flag};

const NAME: &str = "virt-filesystems";

fn main() -> ExitCode {
    let command = virt_tools::command_without_h(
        NAME,
        "List the file systems, volumes, partitions and disks of a guest",
    )
    .arg(flag("filesystems", "List file systems (the default)"))
    .arg(flag("extra", "List swap and unknown contents too").alias("extras"))
    .arg(flag("logical-volumes", "List logical volumes of LVM").visible_aliases(["lvs", "logvols"]))
    .arg(flag("volume-groups", "List volume groups of LVM").visible_aliases(["vgs", "volgroups"]))
    .arg(flag("physical-volumes", "List physical volumes of LVM").visible_aliases(["pvs", "physvols"]))
    .arg(flag("partitions", "List partitions").visible_alias("parts"))
    .arg(flag("block-devices", "List whole disks").visible_alias("blkdevs"))
    .arg(flag("all", "List everything"))
    .arg(flag("long", "Show more than names").short('l'))
    .arg(flag("human-readable", "With --long: show sizes with units").short('h'))
    .arg(flag("uuid", "With --long: show UUIDs too").visible_alias("uuids"))
    .arg(flag("csv", "Separate by commas"))
    .arg(flag("no-title", "With --long: leave the titles out"));
    match command_line::matches(command) {
        Ok(matches) => guest_cli::finish(NAME, run(&matches)),
        Err(code) => code,
    }
}

fn run(matches: &ArgMatches) -> Result<()> {
    let asked = |name: &str| matches.get_flag(name);
    if asked("csv") && asked("human-readable") {
        return Err(Usage(format!("{NAME}: you cannot use -h and --csv options together.")).into());
    }
    let all = asked("all");
    let mut shown = Shown {
        filesystems: all || asked("filesystems") || asked("extra"),
        extra: all || asked("extra"),
        logical_volumes: all || asked("logical-volumes"),
        volume_groups: all || asked("volume-groups"),
        physical_volumes: all || asked("physical-volumes"),
        partitions: all || asked("partitions"),
        disks: all || asked("block-devices"),
    };
    if shown == Shown::default() {
        shown.filesystems = true;
    }
    let options = GuestArguments::read(matches);
    let guest = options.open_read_only(NAME)?;
    // What cannot be opened is still listed as what it is; nobody is asked for keys who cannot answer.
    if options.keys.any_given() || std::io::stdin().is_terminal() {
        luks::open_all(&guest, &options.keys)?;
    }
    let long = asked("long");
    let rows = filesystems::list(&guest, shown, long)?;
    guest.shut_down()?;
    let table = render(&rows, shown, matches);
    cli::print(&if asked("csv") { table.csv() } else { table.text() })
}

type Cell = fn(&Row) -> Option<String>;

fn render(rows: &[Row], shown: Shown, matches: &ArgMatches) -> Table {
    let asked = |name: &str| matches.get_flag(name);
    let long = asked("long");
    let size: Cell = if asked("human-readable") {
        |row| row.size.map(|size| human(u128::from(size)))
    } else {
        |row| row.size.map(|size| size.to_string())
    };
    // Which columns there are depends on what can be in them.
    let columns: [(&str, bool, Cell); 8] = [
        ("Name", true, |row| Some(row.name.clone())),
        ("Type", long, |row| Some(row.kind.to_owned())),
        ("VFS", long && shown.filesystems, |row| row.vfs.clone()),
        ("Label", long && shown.filesystems, |row| row.label.clone()),
        ("MBR", long && shown.partitions, |row| row.mbr.clone()),
        ("Size", long, size),
        ("Parent", long, |row| (!row.parents.is_empty()).then(|| row.parents.join(","))),
        ("UUID", long && asked("uuid"), |row| row.uuid.clone()),
    ];
    let columns: Vec<_> = columns.into_iter().filter(|(_, is_there, _)| *is_there).collect();
    let mut table = Table::new();
    if long && !asked("no-title") {
        table.row(columns.iter().map(|(title, _, _)| (*title).to_owned()).collect());
    }
    let nothing = || if asked("csv") { String::new() } else { "-".to_owned() };
    for row in rows {
        table.row(columns.iter().map(|(_, _, cell)| cell(row).unwrap_or_else(nothing)).collect());
    }
    table
}
