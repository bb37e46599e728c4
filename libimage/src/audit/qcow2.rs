//! qcow2: references, contradictions and hidden data.
//!
//! The header is read twice: field by field, so that what it refers to is known however damaged the rest is,
//! and then by the code that would open the image.

use std::sync::Arc;

use super::look::Look;
use super::{Audit, Severity, contents, nested};
use crate::block::Block;
use crate::error::{Result, describe};
use crate::fields::Fields;
use crate::format::qcow2::{OpenOptions, Qcow2};
use crate::units::human;

const DIRTY: u64 = 1;
const CORRUPT: u64 = 1 << 1;
const DATA_FILE: u64 = 1 << 2;
const KNOWN: u64 = 0x1f;

/// Header extensions.
const END: u32 = 0;
const DATA_FILE_NAME: u32 = 0x4441_5441;
const BITMAPS: u32 = 0x2385_2875;
const EXTENSIONS: [(u32, &str); 4] = [
    (0xe279_2aca, "backing format"),
    (0x6803_f857, "feature names"),
    (0x0537_be77, "encryption"),
    (DATA_FILE_NAME, "data file"),
];
/// A header that describes more is not believed.
const MAX_EXTENSIONS: usize = 1000;
/// Names of snapshots that are told.
const NAMES: usize = 5;
/// Expanding more than this is not what an ordinary disk does.
const EXPANSION: u64 = 200;

pub(super) fn inspect(look: &Look, audit: &mut Audit) -> Result<()> {
    let head = look.at(0, 112)?;
    let f = Fields(&head);
    let version = f.be32(4);
    let incompatible = if version >= 3 { f.be64(72) } else { 0 };
    audit.virtual_size = Some(f.be64(24));
    if f.be64(8) != 0 {
        let name = look.at(f.be64(8), (f.be32(16) as usize).min(1023))?;
        audit.refers("backing file", &String::from_utf8_lossy(&name));
    }
    let header_length = if version >= 3 { f.be32(100) } else { 72 };
    extensions(look, u64::from(header_length), audit)?;
    if incompatible & DATA_FILE != 0 && !audit.references.iter().any(|r| r.kind == "data file") {
        audit.say(Severity::Danger, "reference", "It keeps its data in another file, without a name");
    }
    if incompatible & CORRUPT != 0 {
        audit.say(Severity::Danger, "corrupt", "It is marked as corrupt");
    }
    if incompatible & DIRTY != 0 {
        audit.say(Severity::Warning, "dirty", "It was not shut down cleanly");
    }
    if incompatible & !KNOWN != 0 {
        let text = format!("It needs features that are not known: {:#x}", incompatible & !KNOWN);
        audit.say(Severity::Danger, "unknown-feature", text);
    }
    let encrypted = f.be32(32) != 0;
    if encrypted {
        audit.say(Severity::Warning, "encrypted", "It is encrypted: what is in it cannot be looked at");
    }
    // The disk itself, unless part of it is elsewhere: that is never opened here.
    if incompatible & DATA_FILE == 0 {
        inside(look, audit, encrypted);
    }
    Ok(())
}

fn extensions(look: &Look, start: u64, audit: &mut Audit) -> Result<()> {
    let mut at = start;
    for _ in 0..MAX_EXTENSIONS {
        let head = look.at(at, 8)?;
        let f = Fields(&head);
        let (id, length) = (f.be32(0), f.be32(4));
        if id == END {
            return Ok(());
        }
        match id {
            DATA_FILE_NAME => {
                let name = look.at(at + 8, (length as usize).min(4096))?;
                audit.refers("data file", &String::from_utf8_lossy(&name));
            }
            BITMAPS => audit.say(Severity::Note, "bitmaps", "It has persistent bitmaps"),
            id if EXTENSIONS.iter().any(|(known, _)| *known == id) => {}
            id => {
                let text =
                    format!("Its header has an extension that is not known: {id:#x} of {length} bytes");
                audit.say(Severity::Warning, "unknown-extension", text);
            }
        }
        at = at.saturating_add(8).saturating_add(u64::from(length).next_multiple_of(8));
        if at >= look.size() {
            break;
        }
    }
    audit.say(Severity::Danger, "invalid", "Its header extensions do not end");
    Ok(())
}

fn inside(look: &Look, audit: &mut Audit, encrypted: bool) {
    let options = OpenOptions { read_only: true, check: true, ..OpenOptions::default() };
    let image = match Qcow2::open(Arc::clone(look.storage()), options) {
        Ok(image) => Arc::new(image),
        Err(error) => {
            audit.say(Severity::Danger, "invalid", format!("It cannot be opened: {}", describe(&error)));
            return;
        }
    };
    structure(&image, look, audit);
    hidden(&image, audit);
    if !encrypted {
        let disk: Arc<dyn Block> = image;
        nested(&disk, audit);
        // With a backing file, what is seen here is only what differs from it.
        if audit.references.is_empty() {
            audit.contents = contents(&disk);
        }
    }
}

/// What a check finds, and what it tells of the file's parts.
fn structure(image: &Qcow2, look: &Look, audit: &mut Audit) {
    let report = match image.check() {
        Ok(report) => report,
        Err(error) => {
            audit.say(Severity::Danger, "invalid", format!("It cannot be checked: {}", describe(&error)));
            return;
        }
    };
    let wrong = report.corruptions + report.check_errors;
    if wrong > 0 {
        let first = report.messages.first().map_or("", String::as_str);
        let text = format!("A check finds {wrong} errors in it, the first of them: {first}");
        audit.say(Severity::Danger, "errors", text);
    }
    if report.leaks > 0 {
        let bytes = report.leaks.saturating_mul(image.cluster_size());
        let text = format!("{} of the file belong to nothing that the image describes", human(bytes));
        audit.say(Severity::Warning, "hidden-data", text);
    }
    // The last cluster may be cut short, but nothing may follow it.
    let tail = look.size().saturating_sub(report.image_end_offset);
    if report.image_end_offset > 0 && tail > 0 && wrong == 0 {
        let text = format!("{} follow the end of the image in its file", human(tail));
        audit.say(Severity::Warning, "hidden-data", text);
    }
    let disk = report.allocated_clusters.saturating_mul(image.cluster_size());
    if disk / EXPANSION > look.size() {
        let text = format!("A file of {} expands to {} of data", human(look.size()), human(disk));
        audit.say(Severity::Danger, "expands", text);
    }
}

/// Data that is kept besides the disk.
fn hidden(image: &Qcow2, audit: &mut Audit) {
    let Ok(info) = image.info() else { return };
    if info.snapshots.is_empty() {
        return;
    }
    let names: Vec<String> = info
        .snapshots
        .iter()
        .take(NAMES)
        .map(|snapshot| snapshot.name.chars().filter(|c| !c.is_control()).collect())
        .collect();
    let more = if info.snapshots.len() > NAMES { ", ..." } else { "" };
    let plural = if info.snapshots.len() == 1 { "" } else { "s" };
    let text =
        format!("It has {} internal snapshot{plural}: {}{more}", info.snapshots.len(), names.join(", "));
    audit.say(Severity::Warning, "snapshots", text);
    let state: u64 =
        info.snapshots.iter().map(|snapshot| snapshot.vm_state_size).fold(0, u64::saturating_add);
    if state > 0 {
        let text = format!("Its snapshots hold {} of a machine's memory", human(state));
        audit.say(Severity::Warning, "vm-state", text);
    }
}
