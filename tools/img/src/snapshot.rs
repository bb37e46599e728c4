//! `img snapshot`, and the table of snapshots that `info` shows too.

use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow, bail};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use libimage::format::Format;
use libimage::format::qcow2::{Qcow2, Snapshot};
use libimage::open::{Image, OpenOptions};
use libimage::units::human;
use libimage::{Block, Error};

use crate::arguments::{SnapshotArguments, usage};
use crate::text;

enum Action {
    List,
    Create(String),
    Apply(String),
    Delete(String),
}

pub(crate) fn run(arguments: SnapshotArguments) -> Result<ExitCode> {
    let mut actions = Vec::new();
    actions.extend(arguments.list.then_some(Action::List));
    actions.extend(arguments.create.map(Action::Create));
    actions.extend(arguments.apply.map(Action::Apply));
    actions.extend(arguments.delete.map(Action::Delete));
    if actions.len() > 1 {
        usage("Cannot mix '-l', '-a', '-c', '-d'", Some("snapshot"));
        return Ok(ExitCode::FAILURE);
    }
    let Some(file) = arguments.file else {
        usage("Expecting one image file name", Some("snapshot"));
        return Ok(ExitCode::FAILURE);
    };
    let action = actions.pop().unwrap_or(Action::List);
    let list = matches!(action, Action::List);
    let format = arguments.format.as_deref().map(Format::by_name).transpose()?;
    let options = OpenOptions {
        format,
        read_only: list,
        force_share: arguments.force_share && list,
        ..OpenOptions::default()
    };
    let image = Image::open(file, options)?;
    if !list && image.is_guessed() && image.format() == Format::Raw {
        text::warn_guessed(image.name());
    }
    act(&image, action)?;
    Ok(ExitCode::SUCCESS)
}

fn act(image: &Image, action: Action) -> Result<()> {
    let (verb, name) = match &action {
        Action::List => {
            let snapshots = image.qcow2().map(|q| q.snapshots()).transpose()?.unwrap_or_default();
            cli::print(&table(&snapshots))?;
            return Ok(());
        }
        Action::Create(name) => ("create", name),
        Action::Apply(name) => ("apply", name),
        Action::Delete(name) => ("delete", name),
    };
    let failed = |why: String| anyhow!("Could not {verb} snapshot '{name}': {why}");
    let Some(qcow2) = image.qcow2() else {
        return Err(failed("Operation not supported".to_owned()));
    };
    let done = match &action {
        Action::Create(name) => create(qcow2, name),
        Action::Apply(name) => qcow2.apply_snapshot(name),
        _ => qcow2.delete_snapshot(name),
    };
    done.map_err(|error| match (error, verb) {
        (Error::NotFound(_), "apply") => {
            failed("Failed to load snapshot: No such file or directory".to_owned())
        }
        (Error::NotFound(_), _) => failed("snapshot not found".to_owned()),
        (other, _) => failed(cli::error::chain(&other.into())),
    })?;
    qcow2.flush()?;
    Ok(())
}

fn create(qcow2: &Qcow2, name: &str) -> Result<(), Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    qcow2.create_snapshot(name, now).map(drop)
}

/// A snapshot of `image` as a disk of its own; `name` may also be `snapshot.id=ID,snapshot.name=NAME`.
pub(crate) fn open(image: &Image, name: &str) -> Result<Arc<dyn Block>> {
    let Some(qcow2) = image.qcow2() else {
        bail!("Failed to load snapshot: Device '{}' does not support internal snapshots", image.name());
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
                _ => bail!("Invalid parameter '{}'", part.split('=').next().unwrap_or_default()),
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
        // Writing into a string cannot fail.
        let _ = writeln!(out, "{id:<7} {tag:<16} {size:>8} {date:>19} {clock:>15} {icount:>10}");
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
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// How long the machine had been running: hours, minutes, seconds, milliseconds.
fn clock(nanoseconds: u64) -> String {
    let seconds = nanoseconds / 1_000_000_000;
    let milliseconds = nanoseconds / 1_000_000 % 1000;
    format!("{:04}:{:02}:{:02}.{milliseconds:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
