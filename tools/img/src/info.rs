//! `img info`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use libimage::Block;
use libimage::format::Format;
use libimage::format::qcow2::{CompressionType, Info};
use libimage::open::{self, Image, OpenOptions};
use libimage::units::human;
use serde_json::{Map, Value, json};

use crate::arguments::{Command, HELP, OBJECT, Output, Usage, Words};
use crate::getopt::{Name, opt};
use crate::image::Source;
use crate::{snapshot, text};

pub(crate) const COMMAND: Command = Command {
    name: "info",
    about: "Show what an image is",
    operands: "FILENAME",
    options: &[
        HELP,
        opt('f', "format", "FMT", "format of the image; guessed if not given"),
        opt('\0', "output", "human|json", "how to print (default human)"),
        opt('b', "backing-chain", "", "show the backing files too"),
        OBJECT,
        opt('\0', "image-opts", "", "FILENAME is a list of options: driver=FMT,file.filename=NAME"),
        opt('U', "force-share", "", "tolerate that others write to the image"),
    ],
    run,
};

fn run(words: Words) -> Result<ExitCode> {
    let (mut source, mut output, mut whole_chain) = (Source::default(), Output::Human, false);
    let operands = words.read(|name, value| {
        match name {
            Name::Letter('f') => source.set_format(value)?,
            Name::Letter('b') => whole_chain = true,
            Name::Letter('U') => source.force_share = true,
            Name::Long("output") => output = Output::parse("info", value)?,
            _ => source.image_opts = true,
        }
        Ok(())
    })?;
    let [file] = &operands[..] else { return Err(Usage::error("info", "Expecting one image file name")) };
    let options = OpenOptions { read_only: true, no_backing: true, ..OpenOptions::default() };
    let image = source.open(file, options)?;
    let mut facts = vec![Facts::of(&image)?];
    if whole_chain {
        let options = OpenOptions { force_share: source.force_share, ..options };
        add_backing(image, options, &mut facts)?;
    }
    match output {
        Output::Human => {
            let texts: Vec<String> = facts.iter().map(Facts::human).collect();
            cli::print(&texts.join("\n"))?;
        }
        Output::Json => {
            let mut values: Vec<Value> = facts.iter().map(Facts::json).collect();
            let value = if whole_chain { Value::Array(values) } else { values.remove(0) };
            cli::print(&text::json(&value))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Looks at each backing file for itself: one that cannot be opened is the only one that matters.
fn add_backing(top: Image, options: OpenOptions, facts: &mut Vec<Facts>) -> Result<()> {
    let mut seen = vec![top.storage().identity()];
    let mut last = top;
    while let Some((path, format)) = last.backing_reference()? {
        let next = Image::open(&path, OpenOptions { format, ..options })?;
        if seen.contains(&next.storage().identity()) {
            bail!("Backing file '{}' creates an infinite loop.", path.display());
        }
        seen.push(next.storage().identity());
        facts.push(Facts::of(&next)?);
        last = next;
    }
    Ok(())
}

/// All there is to say about one image.
struct Facts {
    name: String,
    format: Format,
    size: u64,
    on_disk: Option<u64>,
    file_length: u64,
    qcow2: Option<Info>,
    backing: Option<BackingFacts>,
}

struct BackingFacts {
    name: String,
    path: PathBuf,
    format: Option<String>,
}

impl Facts {
    fn of(image: &Image) -> Result<Self> {
        let qcow2 = image.qcow2().map(|q| q.info()).transpose()?;
        let backing = qcow2.as_ref().and_then(|info| {
            let name = info.backing_file.clone()?;
            // What is no local file is called the same everywhere.
            let path = open::resolve(image.storage().path(), &name).unwrap_or_else(|_| name.clone().into());
            Some(BackingFacts { name, path, format: info.backing_format.clone() })
        });
        Ok(Facts {
            name: image.name().to_owned(),
            format: image.format(),
            size: image.block().size(),
            on_disk: image.storage().allocated_bytes(),
            file_length: image.storage().size().next_multiple_of(512),
            qcow2,
            backing,
        })
    }

    fn human(&self) -> String {
        let mut out = String::new();
        let mut line = |text: String| {
            out.push_str(&text);
            out.push('\n');
        };
        let on_disk = self.on_disk.map_or("unavailable".to_owned(), human);
        line(format!("image: {}", self.name));
        line(format!("file format: {}", self.format.name()));
        line(format!("virtual size: {} ({} bytes)", human(self.size), self.size));
        line(format!("disk size: {on_disk}"));
        if let Some(info) = &self.qcow2 {
            line(format!("cluster_size: {}", info.cluster_size));
            if info.dirty {
                line("cleanly shut down: no".to_owned());
            }
        }
        if let Some(backing) = &self.backing {
            let actual = match backing.path.as_os_str() == backing.name.as_str() {
                true => String::new(),
                false => format!(" (actual path: {})", backing.path.display()),
            };
            line(format!("backing file: {}{actual}", backing.name));
            if let Some(format) = &backing.format {
                line(format!("backing file format: {format}"));
            }
        }
        if let Some(info) = &self.qcow2 {
            let table = snapshot::table(&info.snapshots);
            if !table.is_empty() {
                line(table.trim_end().to_owned());
            }
            line("Format specific information:".to_owned());
            lines(&details(info), 1, &mut line);
        }
        line("Child node '/file':".to_owned());
        line(format!("    filename: {}", self.name));
        line("    protocol type: file".to_owned());
        line(format!("    file length: {} ({} bytes)", human(self.file_length), self.file_length));
        line(format!("    disk size: {on_disk}"));
        out
    }

    fn json(&self) -> Value {
        let mut object = Map::new();
        let mut add = |name: &str, value: Value| object.insert(name.to_owned(), value);
        let mut file = json!({
            "children": [],
            "virtual-size": self.file_length,
            "filename": self.name,
            "format": "file",
            "format-specific": { "type": "file", "data": {} },
            "dirty-flag": false,
        });
        if let (Some(bytes), Some(file)) = (self.on_disk, file.as_object_mut()) {
            file.insert("actual-size".to_owned(), bytes.into());
        }
        add("children", json!([{ "name": "file", "info": file }]));
        if let Some(info) = self.qcow2.as_ref().filter(|info| !info.snapshots.is_empty()) {
            add("snapshots", info.snapshots.iter().map(snapshot_json).collect());
        }
        if let Some(backing) = &self.backing {
            add("backing-filename", backing.name.clone().into());
            add("full-backing-filename", backing.path.display().to_string().into());
            if let Some(format) = &backing.format {
                add("backing-filename-format", format.clone().into());
            }
        }
        add("virtual-size", self.size.into());
        add("filename", self.name.clone().into());
        add("format", self.format.name().into());
        if let Some(bytes) = self.on_disk {
            add("actual-size", bytes.into());
        }
        if let Some(info) = &self.qcow2 {
            add("cluster-size", info.cluster_size.into());
            add("format-specific", json!({ "type": "qcow2", "data": details(info) }));
        }
        add("dirty-flag", self.qcow2.as_ref().is_some_and(|info| info.dirty).into());
        Value::Object(object)
    }
}

fn snapshot_json(snapshot: &libimage::format::qcow2::Snapshot) -> Value {
    let mut value = json!({
        "id": snapshot.id,
        "name": snapshot.name,
        "vm-state-size": snapshot.vm_state_size,
        "date-sec": snapshot.date_seconds,
        "date-nsec": snapshot.date_nanoseconds,
        "vm-clock-sec": snapshot.vm_clock / 1_000_000_000,
        "vm-clock-nsec": snapshot.vm_clock % 1_000_000_000,
    });
    if let (Some(icount), Some(object)) = (snapshot.icount, value.as_object_mut()) {
        object.insert("icount".to_owned(), icount.into());
    }
    value
}

/// What only qcow2 images have.
fn details(info: &Info) -> Value {
    let compression = match info.compression {
        CompressionType::Zlib => "zlib",
        CompressionType::Zstd => "zstd",
    };
    let mut object = Map::new();
    let mut add = |name: &str, value: Value| object.insert(name.to_owned(), value);
    add("compat", info.compat().into());
    add("compression-type", compression.into());
    if info.version >= 3 {
        add("lazy-refcounts", info.lazy_refcounts.into());
    }
    if !info.bitmaps.is_empty() {
        add("bitmaps", info.bitmaps.iter().map(bitmap_json).collect());
    }
    add("refcount-bits", info.refcount_bits.into());
    if info.version >= 3 {
        add("corrupt", info.corrupt.into());
        add("extended-l2", info.extended_l2.into());
    }
    Value::Object(object)
}

fn bitmap_json(bitmap: &libimage::format::qcow2::BitmapInfo) -> Value {
    let flags = [(bitmap.in_use, "in-use"), (bitmap.auto, "auto")];
    let flags: Vec<&str> = flags.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect();
    json!({ "flags": flags, "name": bitmap.name, "granularity": bitmap.granularity })
}

/// Prints a value for people: keys with blanks for hyphens, four spaces a level.
fn lines(value: &Value, level: usize, line: &mut dyn FnMut(String)) {
    let indent = "    ".repeat(level);
    let mut entry = |key: String, value: &Value| match value {
        Value::Object(_) | Value::Array(_) => {
            line(format!("{indent}{key}:"));
            lines(value, level + 1, line);
        }
        Value::String(text) => line(format!("{indent}{key}: {text}")),
        other => line(format!("{indent}{key}: {other}")),
    };
    match value {
        Value::Object(object) => object.iter().for_each(|(key, value)| entry(key.replace('-', " "), value)),
        Value::Array(list) => list.iter().enumerate().for_each(|(i, value)| entry(format!("[{i}]"), value)),
        other => line(format!("{indent}{other}")),
    }
}
