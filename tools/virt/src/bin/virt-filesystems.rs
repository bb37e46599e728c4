//! `virt-filesystems`: lists what the disks of a guest hold.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Arg, ArgAction, ArgMatches};
use guest::Guest;
use guest_cli::GuestArguments;
use guestd_api::Error;
use guestd_api::prelude::*;
use virt_tools::table::Table;

const NAME: &str = "virt-filesystems";

fn main() -> ExitCode {
    let flag = |name: &'static str, help| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let command = virt_tools::command(NAME, "List the file systems, partitions and disks of a guest")
        .arg(flag("filesystems", "List file systems (the default)"))
        .arg(flag("extra", "List swap and unknown contents too").alias("extras"))
        .arg(flag("partitions", "List partitions").alias("parts"))
        .arg(flag("block-devices", "List whole disks").alias("blkdevs"))
        .arg(flag("all", "List everything"))
        .arg(flag("long", "Show more than names").short('l'))
        .arg(flag("human-readable", "Show sizes with units").short('h'))
        .arg(flag("uuid", "Show UUIDs too").alias("uuids"))
        .arg(flag("csv", "Separate by commas"))
        .arg(flag("no-title", "Leave the titles out"))
        .disable_help_flag(true)
        .arg(Arg::new("help").long("help").action(ArgAction::Help).help("Show this help"));
    match virt_tools::matches(command) {
        Ok(matches) => guest_cli::finish(NAME, run(&matches)),
        Err(code) => code,
    }
}

/// One line of the list.
struct Row {
    name: String,
    kind: &'static str,
    vfs: Option<String>,
    label: Option<String>,
    mbr: Option<String>,
    size: u64,
    parent: Option<String>,
    uuid: Option<String>,
}

fn run(matches: &ArgMatches) -> Result<()> {
    let guest = GuestArguments::read(matches).open_read_only(NAME)?;
    let asked = |name: &str| matches.get_flag(name);
    let all = asked("all");
    let (partitions, disks) = (all || asked("partitions"), all || asked("block-devices"));
    let filesystems = all || asked("filesystems") || !(partitions || disks);
    let mut rows = Vec::new();
    if filesystems {
        file_systems(&guest, all || asked("extra"), &mut rows)?;
    }
    if partitions {
        partition_rows(&guest, &mut rows)?;
    }
    if disks {
        for disk in guest.list_devices()? {
            let size = guest.blockdev_getsize64(disk.clone())?.max(0) as u64;
            rows.push(Row::new(disk.to_string(), "device", size));
        }
    }
    guest.shut_down()?;
    let table = render(&rows, matches);
    cli::print(&if asked("csv") { table.csv() } else { table.text() })
}

impl Row {
    fn new(name: String, kind: &'static str, size: u64) -> Self {
        Row { name, kind, vfs: None, label: None, mbr: None, size, parent: None, uuid: None }
    }
}

fn file_systems(guest: &Guest, extra: bool, rows: &mut Vec<Row>) -> Result<()> {
    for (device, kind) in guest.list_filesystems()? {
        if !extra && (kind == "swap" || kind == "unknown") {
            continue;
        }
        let size = guest.blockdev_getsize64(device.clone())?.max(0) as u64;
        let mut row = Row::new(device.to_string(), "filesystem", size);
        row.label = some(guest.vfs_label(device.clone()))?;
        row.uuid = some(guest.vfs_uuid(device))?;
        row.vfs = Some(kind.to_string());
        rows.push(row);
    }
    Ok(())
}

fn partition_rows(guest: &Guest, rows: &mut Vec<Row>) -> Result<()> {
    for partition in guest.list_partitions()? {
        let size = guest.blockdev_getsize64(partition.clone())?.max(0) as u64;
        let disk = guest.part_to_dev(partition.clone())?;
        let mut row = Row::new(partition.to_string(), "partition", size);
        if guest.part_get_parttype(disk.clone())? == "msdos" {
            let number = guest.part_to_partnum(partition)?;
            row.mbr = Some(format!("{:02x}", guest.part_get_mbr_id(disk.clone(), number)?));
        }
        row.parent = Some(disk.to_string());
        rows.push(row);
    }
    Ok(())
}

/// A text that may be empty, or not to be had for this device.
fn some(text: guestd_api::Result<GuestString>) -> Result<Option<String>> {
    match text {
        Ok(text) => Ok(Some(text.to_string()).filter(|t| !t.is_empty())),
        Err(Error::Action { .. }) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

fn render(rows: &[Row], matches: &ArgMatches) -> Table {
    let asked = |name: &str| matches.get_flag(name);
    let long = asked("long");
    let uuid = asked("uuid");
    let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let size = |bytes: u64| if asked("human-readable") { human(bytes) } else { bytes.to_string() };
    let mut table = Table::new();
    if long && !asked("no-title") {
        let titles = ["Name", "Type", "VFS", "Label", "MBR", "Size", "Parent"]
            .into_iter()
            .chain(uuid.then_some("UUID"));
        table.row(titles.map(str::to_owned).collect());
    }
    for row in rows {
        let mut cells = vec![row.name.clone()];
        if long {
            cells.extend([
                row.kind.to_owned(),
                dash(&row.vfs),
                dash(&row.label),
                dash(&row.mbr),
                size(row.size),
                dash(&row.parent),
            ]);
        }
        if uuid {
            cells.push(dash(&row.uuid));
        }
        table.row(cells);
    }
    table
}

/// As `ls -h` shows sizes: rounded up, one decimal below ten.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];
    let mut unit = 0;
    let mut scale = 1u64;
    while unit + 1 < UNITS.len() && bytes / scale >= 1024 {
        scale <<= 10;
        unit += 1;
    }
    let tenths = (u128::from(bytes) * 10).div_ceil(u128::from(scale));
    if unit > 0 && tenths < 100 {
        return format!("{}.{}{}", tenths / 10, tenths % 10, UNITS[unit]);
    }
    match tenths.div_ceil(10) {
        1024 if unit + 1 < UNITS.len() => format!("1.0{}", UNITS[unit + 1]),
        whole => format!("{whole}{}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes_are_those_of_ls() {
        // From `ls -h` on files of these sizes.
        for (bytes, text) in [
            (0, "0"),
            (512, "512"),
            (1024, "1.0K"),
            (1025, "1.1K"),
            (10_240, "10K"),
            (10_241, "11K"),
            (1 << 30, "1.0G"),
            (4_293_918_720, "4.0G"),
            (524_288_000, "500M"),
            (1_048_575, "1.0M"),
        ] {
            assert_eq!(human(bytes), text, "{bytes}");
        }
    }
}
