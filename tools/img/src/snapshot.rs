//! `img snapshot`, and the table of snapshots that `info` shows too.

use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow, bail};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use libimage::format::qcow2::{Qcow2, Snapshot};
use libimage::open::{Image, OpenOptions};
use libimage::units::human;
use libimage::{Block, Error};

use crate::arguments::{
    Command, FORCE_SHARE, FORMAT, HELP, IMAGE_OPTS, OBJECT, Output, QUIET, Usage, Words, string,
};
use crate::image::Source;
use crate::{info, report, text};
use cli::getopt::{Name, opt, ours};

pub(crate) const COMMAND: Command = Command {
    name: "snapshot",
    about: "List, take, apply or delete internal snapshots",
    operands: "FILENAME",
    options: &[
        HELP,
        QUIET,
        OBJECT,
        FORMAT,
        IMAGE_OPTS,
        FORCE_SHARE,
        opt('l', "list", "", "list the snapshots (the default)"),
        opt('a', "apply", "NAME", "go back to a snapshot"),
        opt('c', "create", "NAME", "take a snapshot"),
        opt('d', "delete", "NAME", "delete a snapshot"),
        ours("output", "human|json", "how to print (default human)"),
    ],
    run,
};

enum Action {
    List,
    Create(String),
    Apply(String),
    Delete(String),
}

fn run(words: Words) -> Result<ExitCode> {
    let (mut source, mut action, mut output) = (Source::default(), None, Output::Human);
    let operands = words.read(|name, value| {
        let chosen = match name {
            Name::Letter('l') => Action::List,
            Name::Letter('a') => Action::Apply(string(value)?),
            Name::Letter('c') => Action::Create(string(value)?),
            Name::Letter('d') => Action::Delete(string(value)?),
            other => {
                match other {
                    Name::Letter('f') => source.set_format(value)?,
                    Name::Letter('U') => source.force_share = true,
                    Name::Long("output") => output = Output::parse("snapshot", value)?,
                    Name::Long(_) => source.image_opts = true,
                    // Nothing but errors is printed anyway.
                    Name::Letter(_) => {}
                }
                return Ok(());
            }
        };
        match action.replace(chosen) {
            None => Ok(()),
            Some(_) => Err(Usage::error("snapshot", "Cannot mix '-l', '-a', '-c', '-d'")),
        }
    })?;
    let [file] = &operands[..] else {
        return Err(Usage::error("snapshot", "Expecting one image file name"));
    };
    let action = action.unwrap_or(Action::List);
    let list = matches!(action, Action::List);
    if output == Output::Json && !list {
        report::want();
    }
    let image = source.open(file, OpenOptions { read_only: list, ..OpenOptions::default() })?;
    act(&image, action, output)?;
    Ok(ExitCode::SUCCESS)
}

fn act(image: &Image, action: Action, output: Output) -> Result<()> {
    let (verb, name) = match &action {
        Action::List => {
            let snapshots = image.qcow2().map(|q| q.snapshots()).transpose()?.unwrap_or_default();
            cli::print(&match output {
                Output::Human => table(&snapshots),
                Output::Json => text::json(&snapshots.iter().map(info::snapshot_json).collect()),
            })?;
            return Ok(());
        }
        Action::Create(name) => ("create", name),
        Action::Apply(name) => ("apply", name),
        Action::Delete(name) => ("delete", name),
    };
    let failed = |why: String| anyhow!("Could not {verb} snapshot '{name}': {why}");
    let Some(qcow2) = image.qcow2() else {
        let why = match verb {
            "create" => "Operation not supported",
            "apply" => "Block driver does not support snapshots",
            _ => "snapshot not found",
        };
        return Err(failed(why.to_owned()));
    };
    let done = match &action {
        Action::Create(name) => create(qcow2, name),
        Action::Apply(name) => qcow2.apply_snapshot(name),
        _ => delete(qcow2, name),
    };
    done.map_err(|error| match (error, verb) {
        (Error::NotFound(_), "apply") => {
            failed("Failed to load snapshot: No such file or directory".to_owned())
        }
        (Error::NotFound(_), _) => failed("snapshot not found".to_owned()),
        (other, _) => {
            let why = text::bare(other);
            // Some say themselves what could not be done.
            let said = format!("Could not {verb} snapshot '{name}': ");
            failed(why.strip_prefix(&said).unwrap_or(&why).to_owned())
        }
    })?;
    qcow2.flush()?;
    Ok(())
}

fn create(qcow2: &Qcow2, name: &str) -> Result<(), Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    // QEMU has no room for more.
    let name = &name[..name.floor_char_boundary(255)];
    qcow2.create_snapshot(name, now).map(drop)
}

/// Deletes the first snapshot called `name`; unlike elsewhere, an id will not do.
fn delete(qcow2: &Qcow2, name: &str) -> Result<(), Error> {
    let snapshots = qcow2.snapshots()?;
    let found = snapshots.iter().find(|snapshot| snapshot.name == name);
    match found {
        Some(snapshot) => qcow2.delete_snapshot(&snapshot.id),
        None => Err(Error::NotFound(name.to_owned())),
    }
}

/// Refuses a name that [`open`] could not understand.
///
/// # Errors
/// For keys other than `snapshot.id` and `snapshot.name`.
pub(crate) fn check_name(name: &str) -> Result<()> {
    Wanted::parse(name).map(drop)
}

/// A snapshot of `image` as a disk of its own; `name` may also be `snapshot.id=ID,snapshot.name=NAME`.
pub(crate) fn open(image: &Image, name: &str) -> Result<Arc<dyn Block>> {
    let Some(qcow2) = image.qcow2() else {
        bail!(
            "Failed to load snapshot: Block format 'raw' used by device '' does not support temporarily loading internal snapshots"
        );
    };
    let wanted = Wanted::parse(name)?;
    let snapshots = qcow2.snapshots()?;
    let found =
        snapshots.iter().find(|s| wanted.is(s)).or_else(|| snapshots.iter().find(|s| wanted.is_named(s)));
    match found {
        Some(snapshot) => Ok(Arc::new(qcow2.open_snapshot(&snapshot.id)?)),
        None => bail!("Failed to load snapshot: Can't find snapshot"),
    }
}

/// What `-l` asks for.
enum Wanted {
    IdOrName(String),
    Both { id: Option<String>, name: Option<String> },
}

impl Wanted {
    fn parse(text: &str) -> Result<Self> {
        if !text.starts_with("snapshot.") {
            return Ok(Wanted::IdOrName(text.to_owned()));
        }
        let (mut id, mut name) = (None, None);
        for part in text.split(',') {
            match part.split_once('=') {
                Some(("snapshot.id", value)) => id = Some(value.to_owned()),
                Some(("snapshot.name", value)) => name = Some(value.to_owned()),
                _ => bail!(
                    "Invalid parameter '{}'\n{}: Failed in parsing snapshot param '{text}'",
                    part.split('=').next().unwrap_or_default(),
                    text::program()
                ),
            }
        }
        Ok(Wanted::Both { id, name })
    }

    fn is(&self, snapshot: &Snapshot) -> bool {
        match self {
            Wanted::IdOrName(text) => snapshot.id == *text,
            Wanted::Both { id, name } => {
                id.as_ref().is_none_or(|id| snapshot.id == *id)
                    && name.as_ref().is_none_or(|n| snapshot.name == *n)
            }
        }
    }

    fn is_named(&self, snapshot: &Snapshot) -> bool {
        matches!(self, Wanted::IdOrName(text) if snapshot.name == *text)
    }
}

/// The table of snapshots; nothing if there are none.
pub(crate) fn table(snapshots: &[Snapshot]) -> String {
    if snapshots.is_empty() {
        return String::new();
    }
    let mut out = String::from("Snapshot list:\n");
    let mut row = |id: &str, tag: &str, size: &str, date: &str, clock: &str, icount: &str| {
        // Columns are counted in bytes, as in C. Writing into a string cannot fail.
        let pad = |text: &str, width: usize| " ".repeat(width.saturating_sub(text.len()));
        let (after_id, after_tag) = (pad(id, 7), pad(tag, 16));
        let _ =
            writeln!(out, "{id}{after_id} {tag}{after_tag} {size:>8} {date:>19} {clock:>15} {icount:>10}");
    };
    row("ID", "TAG", "VM_SIZE", "DATE", "VM_CLOCK", "ICOUNT");
    for s in snapshots {
        let icount = s.icount.map_or("--".to_owned(), |n| n.to_string());
        row(&s.id, &s.name, &human(s.vm_state_size), &date(s), &clock(s.vm_clock), &icount);
    }
    out
}

/// Local time, to the second.
fn date(snapshot: &Snapshot) -> String {
    let time = Timestamp::from_second(i64::from(snapshot.date_seconds)).unwrap_or_default();
    time.to_zoned(local_time()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The time zone of this machine. Asked for directly: finding out its name means reading all that there are.
fn local_time() -> TimeZone {
    let file = || TimeZone::tzif("Local", &std::fs::read("/etc/localtime").ok()?).ok();
    match std::env::var_os("TZ") {
        None => file().unwrap_or(TimeZone::UTC),
        Some(zone) if zone == "UTC" || zone.is_empty() => TimeZone::UTC,
        Some(_) => TimeZone::system(),
    }
}

/// How long the machine had been running: hours, minutes, seconds, milliseconds.
fn clock(nanoseconds: u64) -> String {
    let seconds = nanoseconds / 1_000_000_000;
    let milliseconds = nanoseconds / 1_000_000 % 1000;
    format!("{:04}:{:02}:{:02}.{milliseconds:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
