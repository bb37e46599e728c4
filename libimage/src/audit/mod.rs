//! Is an image from a stranger safe to take in?
//!
//! An upload can be taken for another format than the one it claims, can name files that it wants read, can
//! say sizes that nobody could store, and can carry data that nobody sees. An audit looks for all of that
//! without opening anything but the file itself, and believes nothing that the file says.

mod foreign;
mod formats;
mod look;
mod qcow2;

use std::sync::Arc;

use crate::block::Block;
use crate::error::{Result, describe};
use crate::format::probe::{self, Guess};
use crate::fs::detect;
use crate::units::human;
use crate::volume::{self, TableKind};

use look::Look;

/// A disk of this size, and so many times as large as its file, is worth a word.
const HUGE: u64 = 1 << 40;
const SPARSE: u64 = 1000;

/// What is asked besides the questions that are always asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// Larger disks are refused, in bytes.
    pub max_virtual_size: Option<u64>,
}

/// What an audit found.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    /// Bytes of the file.
    pub file_size: u64,
    /// Bytes that it takes up on its medium, where that can be told.
    pub allocated: Option<u64>,
    /// Every format that some program would take it for. Empty: none but raw.
    pub formats: Vec<Candidate>,
    /// Bytes of the disk in it, where the format is known well enough to tell.
    pub virtual_size: Option<u64>,
    /// What lies on the disk, as far as it can be seen without help.
    pub contents: Vec<String>,
    /// What it wants read besides itself.
    pub references: Vec<Reference>,
    /// What is to be said about it, the worst first.
    pub findings: Vec<Finding>,
}

impl Audit {
    /// Nothing was found that forbids taking it in.
    pub fn is_safe(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Danger)
    }

    /// The format that most programs would choose.
    pub fn format(&self) -> &'static str {
        self.formats.first().map_or("raw", |candidate| candidate.format)
    }

    fn say(&mut self, severity: Severity, code: &'static str, text: impl Into<String>) {
        self.findings.push(Finding { severity, code, text: text.into() });
    }

    fn refers(&mut self, kind: &'static str, name: &str) {
        let name: String = name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        let how = match name.split_once(':') {
            Some((scheme, _)) if !scheme.contains('/') => ", which is no plain file name",
            _ => "",
        };
        let text = format!("It wants something else read, its {kind}{how}: '{name}'");
        self.say(Severity::Danger, "reference", text);
        self.references.push(Reference { kind, name });
    }
}

/// A format that the file could be taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The name that qemu-img has for it, or the common one.
    pub format: &'static str,
    /// Where its mark is, in bytes.
    pub offset: u64,
}

/// Something outside the file that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// What it is to the image: `backing file`, `data file`, `extent`.
    pub kind: &'static str,
    /// The name as the file has it, without control characters.
    pub name: String,
}

/// Something worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A word that scripts can compare.
    pub code: &'static str,
    /// A sentence.
    pub text: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The image must not be taken in.
    Danger,
    /// Somebody should look at it.
    Warning,
    /// Good to know.
    Note,
}

impl Severity {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Danger => "danger",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// Looks at what is in `storage`.
///
/// # Errors
/// When it cannot be read. What is wrong with its contents is in the audit.
pub fn audit(storage: &Arc<dyn Block>, bounds: Bounds) -> Result<Audit> {
    let look = Look::new(Arc::clone(storage));
    let mut audit = Audit {
        file_size: storage.size(),
        allocated: storage.allocated_bytes(),
        formats: formats::candidates(&look)?,
        ..Audit::default()
    };
    for candidate in audit.formats.clone() {
        match candidate.format {
            "qcow2" => qcow2::inspect(&look, &mut audit)?,
            other => foreign::inspect(other, candidate.offset, &look, &mut audit)?,
        }
    }
    match audit.formats.len() {
        0 => {
            audit.virtual_size = Some(storage.size());
            audit.contents = contents(storage);
        }
        1 => {}
        _ => {
            let names: Vec<&str> = audit.formats.iter().map(|candidate| candidate.format).collect();
            let text = format!("It can be taken for several formats: {}", names.join(", "));
            audit.say(Severity::Danger, "ambiguous-format", text);
        }
    }
    sizes(&mut audit, bounds);
    audit.findings.sort_by_key(|finding| finding.severity);
    Ok(audit)
}

/// Every format that some program would take the contents of `storage` for, raw left out.
///
/// # Errors
/// When it cannot be read.
pub fn formats(storage: &Arc<dyn Block>) -> Result<Vec<Candidate>> {
    formats::candidates(&Look::new(Arc::clone(storage)))
}

fn sizes(audit: &mut Audit, bounds: Bounds) {
    let Some(size) = audit.virtual_size else { return };
    if let Some(max) = bounds.max_virtual_size.filter(|max| size > *max) {
        let text = format!("The disk of {} is larger than the {} that are allowed", human(size), human(max));
        audit.say(Severity::Danger, "too-large", text);
    }
    if size == 0 {
        audit.say(Severity::Warning, "empty", "The disk has no bytes at all");
    }
    if size >= HUGE && size / SPARSE > audit.file_size {
        let text = format!("A file of {} claims a disk of {}", human(audit.file_size), human(size));
        audit.say(Severity::Note, "sparse", text);
    }
}

/// What is on a disk, in words.
fn contents(disk: &Arc<dyn Block>) -> Vec<String> {
    let mut list = Vec::new();
    if let Ok(Some(table)) = volume::partitions(disk) {
        let kind = match table.kind {
            TableKind::Gpt => "GPT",
            TableKind::Mbr => "MBR",
        };
        let count = table.partitions.iter().filter(|partition| !partition.extended).count();
        let damaged = if table.damaged { ", damaged" } else { "" };
        list.push(format!("{kind} partition table ({count} partitions{damaged})"));
        for partition in table.partitions.iter().filter(|partition| !partition.extended) {
            let content = partition.open(disk).ok().and_then(|part| detect::detect(&part).ok().flatten());
            if let Some(content) = content {
                list.push(format!("partition {}: {}", partition.number, named(&content)));
            }
        }
    }
    // What a whole disk holds may be there beside a partition table: hybrid images of CDs are like that.
    if let Ok(Some(content)) = detect::detect(&**disk) {
        list.push(named(&content));
    }
    list
}

fn named(content: &detect::Content) -> String {
    match &content.label {
        Some(label) => {
            let label: String = label.chars().filter(|c| !c.is_control()).collect();
            format!("{} \"{label}\"", content.kind)
        }
        None => content.kind.clone(),
    }
}

/// A disk that begins like an image is one in the eyes of whoever guesses its format later.
fn nested(disk: &Arc<dyn Block>, audit: &mut Audit) {
    let mut head = [0; probe::PROBE_BYTES];
    let head = &mut head[..disk.size().min(probe::PROBE_BYTES as u64) as usize];
    match disk.read_at(head, 0).map(|()| probe::guess(head)) {
        Ok(Guess::Known(crate::format::Format::Raw)) => {}
        Ok(guess) => {
            let name = match guess {
                Guess::Known(format) => format.name(),
                Guess::Other(name) => name,
            };
            let text = format!(
                "The disk begins like a {name} image: as a raw image its format must never be guessed"
            );
            audit.say(Severity::Danger, "nested-image", text);
        }
        Err(error) => {
            let text = format!("The first sector of the disk cannot be read: {}", describe(&error));
            audit.say(Severity::Danger, "unreadable", text);
        }
    }
}
