//! `img info`: what an image is. Nothing but the image itself is opened, and with `--backing-chain` the files that
//! it builds upon, each for itself.

use std::collections::HashSet;
use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use libimage::Limits;
use libimage::format::luks;
use libimage::format::qcow2::{BitmapInfo, CompressionType, EncryptionInfo, Info, Snapshot};
use libimage::open::{BackingReference, Image, OpenOptions};
use libimage::units::human;
use serde_json::{Map, Value, json};

use crate::arguments::{
    self, Command, FORCE_SHARE, FORMAT, HELP, IMAGE_OPTS, OBJECT, OUTPUT, Output, Usage, Words,
};
use crate::image::Source;
use crate::{snapshot, text};
use cli::getopt::{Name, opt};

pub(crate) const COMMAND: Command = Command {
    name: "info",
    about: "Display information about image",
    operands: "FILENAME",
    options: &[
        HELP,
        FORMAT,
        OUTPUT,
        opt('b', "backing-chain", "", "show the backing files too"),
        OBJECT,
        IMAGE_OPTS,
        FORCE_SHARE,
        opt('\0', "limits", "", "show what sizes requests should have"),
    ],
    run,
};

fn run(words: Words) -> Result<ExitCode> {
    let (mut source, mut output) = (Source::default(), Output::Human);
    let (mut whole_chain, mut limits) = (false, false);
    let operands = words.read(|name, value| {
        match name {
            Name::Letter('f') => source.set_format(value)?,
            Name::Letter('b') => whole_chain = true,
            Name::Letter('U') => source.force_share = true,
            Name::Long("output") => output = Output::parse("info", value)?,
            Name::Long("limits") => limits = true,
            _ => source.image_opts = true,
        }
        Ok(())
    })?;
    let [file] = &operands[..] else { return Err(Usage::error("info", "Expecting one image file name")) };
    let facts = gather(source, file.clone(), whole_chain, limits)?;
    match output {
        Output::Human => {
            let texts: Vec<String> = facts.iter().map(|facts| facts.human("", 0)).collect();
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

/// Looks at an image, or at each of its chain.
fn gather(mut source: Source, first: OsString, whole_chain: bool, limits: bool) -> Result<Vec<Facts>> {
    let options = OpenOptions { read_only: true, no_backing: true, ..OpenOptions::default() };
    let mut list = Vec::new();
    let mut seen = HashSet::new();
    let mut next = Some(first);
    while let Some(file) = next.take() {
        if !seen.insert(file.clone()) {
            bail!("Backing file '{}' creates an infinite loop.", file.display());
        }
        let image = source.open(&file, options)?;
        let facts = Facts::of(&image, limits)?;
        if let (true, Some(backing)) = (whole_chain, &facts.backing) {
            if arguments::untrusted() {
                bail!("The image names a backing file ('{}'), and is not trusted", backing.name);
            }
            let full = backing.full.as_ref().map_err(|why| anyhow!("{why}"))?;
            next = Some(full.clone());
            source = Source { format: backing.format.clone(), image_opts: false, ..source };
        }
        list.push(facts);
    }
    Ok(list)
}

/// All there is to say about one node.
struct Facts {
    name: String,
    driver: &'static str,
    is_protocol: bool,
    size: u64,
    on_disk: Option<u64>,
    /// The image was not shut down cleanly, where that can be told.
    dirty: Option<bool>,
    cluster_size: Option<u64>,
    qcow2: Option<Info>,
    luks: Option<luks::Info>,
    backing: Option<BackingReference>,
    limits: Option<Limits>,
    children: Vec<(&'static str, Facts)>,
}

impl Facts {
    fn of(image: &Image, limits: bool) -> Result<Self> {
        let block = image.block();
        let qcow2 = image.qcow2().map(|q| q.info()).transpose()?;
        // A raw image says of itself what is below it.
        let below = if image.driver().is_protocol() { None } else { image.file().and_then(Image::qcow2) };
        let cluster_size = image.qcow2().or(below).map(|qcow2| qcow2.cluster_size());
        let dirty = qcow2.as_ref().map(|info| info.dirty);
        let children = image
            .children()
            .map(|(name, child)| Ok((name, Facts::of(child, limits)?)))
            .collect::<Result<_>>()?;
        Ok(Facts {
            name: image.name().to_owned(),
            driver: image.driver().name(),
            is_protocol: image.driver().is_protocol(),
            size: block.size().next_multiple_of(512),
            on_disk: image.allocated_bytes(),
            dirty: dirty.or(image.storage().map(|_| false)),
            cluster_size,
            qcow2,
            luks: image.luks().map(|luks| luks.info()).transpose()?,
            backing: image.backing_reference()?,
            limits: limits.then(|| block.limits()),
            children,
        })
    }

    fn is_encrypted(&self) -> bool {
        self.luks.is_some() || self.qcow2.as_ref().is_some_and(|info| info.encryption.is_some())
    }

    /// Lines for people. `path` is that of the node below the image, `level` how far it is indented.
    fn human(&self, path: &str, level: usize) -> String {
        let mut out = String::new();
        let indent = "    ".repeat(level);
        let mut line = |text: String| {
            out.push_str(&indent);
            out.push_str(&text);
            out.push('\n');
        };
        let names = match self.is_protocol && level > 0 {
            true => ["filename", "protocol type", "file length"],
            false => ["image", "file format", "virtual size"],
        };
        line(format!("{}: {}", names[0], self.name));
        line(format!("{}: {}", names[1], self.driver));
        line(format!("{}: {} ({} bytes)", names[2], human(self.size), self.size));
        line(format!("disk size: {}", self.on_disk.map_or("unavailable".to_owned(), human)));
        if self.is_encrypted() {
            line("encrypted: yes".to_owned());
        }
        if let Some(size) = self.cluster_size {
            line(format!("cluster_size: {size}"));
        }
        if self.dirty == Some(true) {
            line("cleanly shut down: no".to_owned());
        }
        if let Some(backing) = &self.backing {
            let actual = match &backing.full {
                Ok(full) if *full == *backing.name => String::new(),
                Ok(full) => format!(" (actual path: {})", full.display()),
                Err(_) => " (cannot determine actual path)".to_owned(),
            };
            line(format!("backing file: {}{actual}", backing.name));
            if let Some(format) = &backing.format {
                line(format!("backing file format: {format}"));
            }
        }
        if let Some(info) = &self.qcow2 {
            snapshot::table(&info.snapshots).lines().for_each(|row| line(row.to_owned()));
            line("Format specific information:".to_owned());
            lines(&qcow2_json(info), 1, &mut line);
        }
        if let Some(info) = &self.luks {
            line("Format specific information:".to_owned());
            lines(&luks_json(info), 1, &mut line);
        }
        if let Some(limits) = &self.limits {
            line("Block limits:".to_owned());
            lines(&limits_json(limits), 1, &mut line);
        }
        for (name, child) in &self.children {
            let path = format!("{path}/{name}");
            line(format!("Child node '{path}':"));
            // Its lines carry the whole indentation.
            let text = child.human(&path, level + 1);
            let text = text.lines().map(|l| l.strip_prefix(indent.as_str()).unwrap_or(l).to_owned());
            text.for_each(&mut line);
        }
        out
    }

    fn json(&self) -> Value {
        let mut object = Map::new();
        let mut add = |name: &str, value: Value| object.insert(name.to_owned(), value);
        let child = |(name, facts): &(&str, Facts)| json!({ "name": name, "info": facts.json() });
        add("children", self.children.iter().map(child).collect());
        if let Some(info) = self.qcow2.as_ref().filter(|info| !info.snapshots.is_empty()) {
            add("snapshots", info.snapshots.iter().map(snapshot_json).collect());
        }
        if let Some(backing) = &self.backing {
            add("backing-filename", backing.name.clone().into());
            if let Ok(full) = &backing.full {
                add("full-backing-filename", full.to_string_lossy().into());
            }
            if let Some(format) = &backing.format {
                add("backing-filename-format", format.clone().into());
            }
        }
        add("virtual-size", self.size.into());
        add("filename", self.name.clone().into());
        add("format", self.driver.into());
        if let Some(bytes) = self.on_disk {
            add("actual-size", bytes.into());
        }
        if let Some(size) = self.cluster_size {
            add("cluster-size", size.into());
        }
        if let Some(info) = &self.qcow2 {
            add("format-specific", json!({ "type": "qcow2", "data": qcow2_json(info) }));
        } else if let Some(info) = &self.luks {
            add("format-specific", json!({ "type": "luks", "data": luks_json(info) }));
        } else if self.is_protocol && self.dirty.is_some() {
            add("format-specific", json!({ "type": "file", "data": {} }));
        }
        if self.is_encrypted() {
            add("encrypted", true.into());
        }
        if let Some(limits) = &self.limits {
            add("limits", limits_json(limits));
        }
        if let Some(dirty) = self.dirty {
            add("dirty-flag", dirty.into());
        }
        Value::Object(object)
    }
}

fn limits_json(limits: &Limits) -> Value {
    json!({ "request-alignment": limits.alignment, "opt-transfer": limits.preferred })
}

pub(crate) fn snapshot_json(snapshot: &Snapshot) -> Value {
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
fn qcow2_json(info: &Info) -> Value {
    let compression = match info.compression {
        CompressionType::Zlib => "zlib",
        CompressionType::Zstd => "zstd",
    };
    let mut object = Map::new();
    let mut add = |name: &str, value: Value| object.insert(name.to_owned(), value);
    add("compat", info.compat().into());
    add("compression-type", compression.into());
    add("refcount-bits", info.refcount_bits.into());
    if let Some(name) = &info.data_file {
        if !name.is_empty() {
            add("data-file", name.clone().into());
        }
        add("data-file-raw", info.data_file_raw.into());
    }
    if info.version >= 3 {
        add("lazy-refcounts", info.lazy_refcounts.into());
        add("corrupt", info.corrupt.into());
        add("extended-l2", info.extended_l2.into());
    }
    if let Some(encryption) = &info.encryption {
        let mut value = match encryption {
            EncryptionInfo::Aes => json!({}),
            EncryptionInfo::Luks(info) => luks_json(info),
        };
        if let Some(object) = value.as_object_mut() {
            object.insert("format".to_owned(), encryption.format().into());
        }
        add("encrypt", value);
    }
    if !info.bitmaps.is_empty() {
        add("bitmaps", info.bitmaps.iter().map(bitmap_json).collect());
    }
    Value::Object(object)
}

/// What a LUKS header says.
fn luks_json(info: &luks::Info) -> Value {
    let slot = |slot: &luks::SlotInfo| {
        let mut value = json!({ "active": slot.active.is_some(), "key-offset": slot.key_offset });
        if let (Some((iterations, stripes)), Some(object)) = (slot.active, value.as_object_mut()) {
            object.insert("iters".to_owned(), iterations.into());
            object.insert("stripes".to_owned(), stripes.into());
        }
        value
    };
    let mut value = json!({
        "ivgen-alg": info.ivgen.name(),
        "detached-header": info.detached_header,
        "hash-alg": info.hash.name(),
        "cipher-alg": info.alg.name(),
        "uuid": info.uuid,
        "cipher-mode": info.mode.name(),
        "slots": info.slots.iter().map(slot).collect::<Value>(),
        "payload-offset": info.payload_offset,
        "master-key-iters": info.master_key_iterations,
    });
    if let (Some(hash), Some(object)) = (info.ivgen_hash, value.as_object_mut()) {
        object.insert("ivgen-hash-alg".to_owned(), hash.name().into());
    }
    value
}

fn bitmap_json(bitmap: &BitmapInfo) -> Value {
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
        Value::Object(object) => {
            let mut pairs: Vec<_> = object.iter().collect();
            pairs.sort_by_key(|(key, _)| libimage::spec::json::key_order(key));
            pairs.into_iter().for_each(|(key, value)| entry(key.replace('-', " "), value));
        }
        Value::Array(list) => list.iter().enumerate().for_each(|(i, value)| entry(format!("[{i}]"), value)),
        other => line(format!("{indent}{other}")),
    }
}
