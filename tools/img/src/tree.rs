//! `img tree`: what an image builds upon, drawn.

use std::collections::HashSet;
use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use libimage::format::qcow2::Snapshot;
use libimage::open::{Image, OpenOptions};
use libimage::units::human;
use serde_json::{Map, Value, json};

use crate::arguments::{self, Command, HELP, OBJECT, OUTPUT, Output, Usage, Words};
use crate::image::Source;
use crate::text;
use cli::getopt::{Name, opt};

pub(crate) const COMMAND: Command = Command {
    name: "tree",
    about: "Draw what an image builds upon: backing files, data files, snapshots",
    operands: "FILENAME...",
    options: &[
        HELP,
        opt('f', "format", "FMT", "format of the images; guessed if not given"),
        opt('U', "force-share", "", "tolerate that others write to the images"),
        opt('\0', "image-opts", "", "the images are lists of options: driver=FMT,file.filename=NAME"),
        OUTPUT,
        OBJECT,
    ],
    run,
};

/// A longer chain is not followed.
const MAX_CHAIN: usize = 200;

fn run(words: Words) -> Result<ExitCode> {
    let (mut source, mut output) = (Source::default(), Output::Human);
    let operands = words.read(|name, value| {
        match name {
            Name::Letter('f') => source.set_format(value)?,
            Name::Letter('U') => source.force_share = true,
            Name::Long("output") => output = Output::parse("tree", value)?,
            _ => source.image_opts = true,
        }
        Ok(())
    })?;
    if operands.is_empty() {
        return Err(Usage::error("tree", "Expecting image file names"));
    }
    // The first of each must be there; what is missing below it is drawn as missing.
    let trees = operands.iter().map(|file| chain(&source, file)).collect::<Result<Vec<_>>>()?;
    let whole = trees.iter().flatten().all(|link| link.facts.is_ok());
    match output {
        Output::Human => {
            let drawn: Vec<String> = trees.iter().map(|links| draw(links)).collect();
            cli::print(&drawn.join("\n"))?;
        }
        Output::Json => {
            let values = trees.iter().map(|links| value(links)).collect();
            cli::print(&text::json(&Value::Array(values)))?;
        }
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One image of a chain.
struct Link {
    name: String,
    /// Why it cannot be looked at, if it cannot.
    facts: Result<Facts, String>,
}

struct Facts {
    format: &'static str,
    size: u64,
    on_disk: Option<u64>,
    data_file: Option<String>,
    snapshots: Vec<Snapshot>,
    bitmaps: Vec<String>,
}

impl Facts {
    fn of(image: &Image) -> Result<Self> {
        let info = image.qcow2().map(|qcow2| qcow2.info()).transpose()?;
        Ok(Facts {
            format: image.driver().name(),
            size: image.block().size(),
            on_disk: image.allocated_bytes(),
            data_file: info.as_ref().and_then(|info| info.data_file.clone()),
            bitmaps: info
                .iter()
                .flat_map(|info| info.bitmaps.iter().map(|bitmap| bitmap.name.clone()))
                .collect(),
            snapshots: info.map(|info| info.snapshots).unwrap_or_default(),
        })
    }

    fn line(&self) -> String {
        let on_disk = self.on_disk.map_or(String::new(), |bytes| format!(", {} on disk", human(bytes)));
        format!("{}, {}{on_disk}", self.format, human(self.size))
    }
}

/// The image and what it builds upon, each looked at for itself.
fn chain(source: &Source, first: &OsString) -> Result<Vec<Link>> {
    let options = OpenOptions { read_only: true, no_backing: true, ..OpenOptions::default() };
    let mut source = source.clone();
    let mut image = source.open(first, options)?;
    let mut links = Vec::new();
    let mut seen = HashSet::from([first.clone()]);
    loop {
        let backing = image.backing_reference()?;
        links.push(Link { name: image.name().to_owned(), facts: Ok(Facts::of(&image)?) });
        let Some(backing) = backing else { return Ok(links) };
        let missing = |why: String| Link { name: backing.name.clone(), facts: Err(why) };
        let next = match &backing.full {
            Ok(_) if arguments::untrusted() => {
                links.push(missing("the image is not trusted".to_owned()));
                return Ok(links);
            }
            Ok(next) if links.len() >= MAX_CHAIN || !seen.insert(next.clone()) => {
                links.push(missing("the chain comes back to it".to_owned()));
                return Ok(links);
            }
            Ok(next) => next,
            Err(why) => {
                links.push(missing(why.to_string()));
                return Ok(links);
            }
        };
        source = Source { format: backing.format.clone(), image_opts: false, ..source };
        match source.open(next, options) {
            Ok(next) => image = next,
            Err(error) => {
                links.push(missing(error.chain().last().map_or(String::new(), ToString::to_string)));
                return Ok(links);
            }
        }
    }
}

fn draw(links: &[Link]) -> String {
    let mut out = String::new();
    for (depth, link) in links.iter().enumerate() {
        // Below the first, each hangs from the one before.
        let indent = "   ".repeat(depth.saturating_sub(1));
        let branch = if depth == 0 { "" } else { "└─ " };
        let facts = match &link.facts {
            Ok(facts) => facts,
            Err(why) => {
                out.push_str(&format!("{indent}{branch}{}  (cannot be opened: {why})\n", link.name));
                continue;
            }
        };
        out.push_str(&format!("{indent}{branch}{}  ({})\n", link.name, facts.line()));
        let indent = "   ".repeat(depth);
        let last = depth + 1 == links.len();
        let mut leaves: Vec<String> = Vec::new();
        leaves.extend(facts.data_file.iter().map(|name| format!("data file {name}")));
        leaves.extend(facts.snapshots.iter().map(|s| {
            let state = if s.vm_state_size > 0 {
                format!(", {} of memory", human(s.vm_state_size))
            } else {
                String::new()
            };
            format!("snapshot {} \"{}\"  ({}{state})", s.id, s.name, human(s.disk_size))
        }));
        leaves.extend(facts.bitmaps.iter().map(|name| format!("bitmap \"{name}\"")));
        let count = leaves.len();
        for (index, leaf) in leaves.into_iter().enumerate() {
            let branch = if last && index + 1 == count { "└─ " } else { "├─ " };
            out.push_str(&format!("{indent}{branch}{leaf}\n"));
        }
    }
    out
}

fn value(links: &[Link]) -> Value {
    let mut below = Value::Null;
    for link in links.iter().rev() {
        let mut object = Map::new();
        object.insert("filename".to_owned(), link.name.as_str().into());
        match &link.facts {
            Ok(facts) => {
                object.insert("format".to_owned(), facts.format.into());
                object.insert("virtual-size".to_owned(), facts.size.into());
                object.insert("actual-size".to_owned(), json!(facts.on_disk));
                if let Some(name) = &facts.data_file {
                    object.insert("data-file".to_owned(), name.as_str().into());
                }
                let snapshots = facts.snapshots.iter().map(|s| {
                    json!({ "id": s.id, "name": s.name, "disk-size": s.disk_size, "vm-state-size": s.vm_state_size })
                });
                object.insert("snapshots".to_owned(), Value::Array(snapshots.collect()));
                object.insert("bitmaps".to_owned(), json!(facts.bitmaps));
            }
            Err(why) => drop(object.insert("error".to_owned(), why.as_str().into())),
        }
        if !below.is_null() {
            object.insert("backing".to_owned(), below);
        }
        below = Value::Object(object);
    }
    below
}
