//! `img measure`: how much space an image will need.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use libimage::Block;
use libimage::format::{Format, names};
use libimage::job::measure::{self, Qcow2Layout, Sizes};
use libimage::open::{Image, OpenOptions};
use serde_json::{Map, Value};

use crate::arguments::{
    Command, FORCE_SHARE, FORMAT, HELP, IMAGE_OPTS, OBJECT, OUTPUT, Output, Words, string,
};
use crate::image::Source;
use crate::options::{Given, Options, number, preallocation, size_argument, size_value, switch};
use crate::{encryption, snapshot, text};
use cli::getopt::{Name, opt};

pub(crate) const COMMAND: Command = Command {
    name: "measure",
    about: "Calculate file size required for a new image",
    operands: "(--size SIZE | FILENAME)",
    options: &[
        HELP,
        opt('O', "target-format", "FMT", "format of the new image: raw (the default) or qcow2"),
        opt('o', "options", "OPTS", "its format options, k=v separated by commas"),
        OUTPUT,
        opt('\0', "size", "SIZE", "size of the new image"),
        FORMAT,
        IMAGE_OPTS,
        opt('l', "snapshot", "SNAPSHOT", "measure this internal snapshot of the image"),
        FORCE_SHARE,
        OBJECT,
    ],
    run,
};

/// What is measured.
struct Measured {
    /// The source, or the size alone.
    source: Option<(Image, Arc<dyn Block>)>,
    size: u64,
}

fn run(words: Words) -> Result<ExitCode> {
    let (mut source, mut output) = (Source::default(), Output::Human);
    let mut format = "raw".to_owned();
    let (mut given, mut size, mut snapshot) = (Given::default(), None, None);
    let operands = words.read(|name, value| {
        match name {
            Name::Letter('f') => source.set_format(value)?,
            Name::Letter('U') => source.force_share = true,
            Name::Letter('O') => format = string(value)?,
            Name::Letter('o') => given.add(string(value)?)?,
            Name::Letter('l') => {
                let name = string(value)?;
                snapshot::check_name(&name)?;
                snapshot = Some(name);
            }
            Name::Long("output") => output = Output::parse("measure", value)?,
            Name::Long("size") => {
                size = Some(size_argument("image size", &value.to_string_lossy(), 0, i64::MAX as u64)?);
            }
            _ => source.image_opts = true,
        }
        Ok(())
    })?;
    let file = match &operands[..] {
        [] => None,
        [file] => Some(file),
        _ => bail!("At most one filename argument is allowed."),
    };
    if file.is_none() && (source.image_opts || source.format.is_some() || snapshot.is_some()) {
        bail!("--image-opts, -f, and -l require a filename argument.");
    }
    if file.is_none() && size.is_none() {
        bail!("Either --size N or one filename must be specified.");
    }
    if file.is_some() && size.is_some() {
        bail!("--size N cannot be used together with a filename.");
    }
    let measured = open(&source, file, snapshot.as_deref(), size)?;
    let format = target(&format)?;
    let options = given.options(format).map_err(|e| {
        anyhow!("{e}\n{}: Invalid options for file format '{}'", text::program(), format.name())
    })?;
    print(&measure(&measured, &options, format)?, output)?;
    Ok(ExitCode::SUCCESS)
}

fn open(
    source: &Source,
    file: Option<&OsString>,
    snapshot: Option<&str>,
    size: Option<u64>,
) -> Result<Measured> {
    let Some(file) = file else { return Ok(Measured { source: None, size: size.unwrap_or(0) }) };
    let image = source.open(file, OpenOptions { read_only: true, ..OpenOptions::default() })?;
    let block = match snapshot {
        Some(name) => snapshot::open(&image, name)?,
        None => image.block(),
    };
    let size = block.size();
    Ok(Measured { source: Some((image, block)), size })
}

/// The format of the new image.
fn target(name: &str) -> Result<Format> {
    match (Format::by_name(name), names::elsewhere(name)) {
        (Ok(format), _) => Ok(format),
        (_, Some(known)) if known.creates => {
            bail!("Block driver '{name}' does not support size measurement")
        }
        (_, Some(_)) => bail!("Format driver '{name}' does not support image creation"),
        _ => bail!("Unknown file format '{name}'"),
    }
}

/// The answer, and the bytes for bitmaps where both images can have some.
fn measure(measured: &Measured, options: &Options, format: Format) -> Result<(Sizes, Option<u64>)> {
    if format != Format::Qcow2 {
        let header = if format == Format::Luks { encryption::of_luks(options)?.0.header_bytes() } else { 0 };
        let size = measured.size.checked_next_multiple_of(512).unwrap_or(u64::MAX).saturating_add(header);
        return Ok((Sizes { required: size, fully_allocated: size }, None));
    }
    let source = measured.source.as_ref();
    let (layout, version) = layout(options)?;
    let sizes = measure::qcow2(&layout, measured.size, source.map(|(_, block)| &**block))?;
    let bitmaps = match source.and_then(|(image, _)| image.qcow2()) {
        Some(qcow2) if version >= 3 => {
            let info = qcow2.info()?;
            (info.version >= 3)
                .then(|| measure::bitmap_bytes(&info.bitmaps, qcow2.size(), layout.cluster_size))
        }
        _ => None,
    };
    Ok((sizes, bitmaps))
}

/// The layout that the options ask for, and the version of the format.
fn layout(options: &Options) -> Result<(Qcow2Layout, u32)> {
    let cluster_size = options.get("cluster_size").map_or(Ok(65_536), |v| size_value("cluster_size", v))?;
    if !cluster_size.is_power_of_two() || !(512..=2 << 20).contains(&cluster_size) {
        bail!("Cluster size must be a power of two between 512 and 2048k");
    }
    let extended_l2 = options.get("extended_l2").map_or(Ok(false), |v| switch("extended_l2", v))?;
    if extended_l2 && cluster_size < 16_384 {
        bail!("Extended L2 entries are only supported with cluster sizes of at least 16384 bytes");
    }
    let version = match options.get("compat") {
        None | Some("1.1" | "v3") => 3,
        Some("0.10" | "v2") => 2,
        Some(other) => bail!("Invalid compatibility level: '{other}'"),
    };
    let refcount_bits = options.get("refcount_bits").map_or(Ok(16), |v| number("refcount_bits", v))?;
    if !refcount_bits.is_power_of_two() || refcount_bits > 64 {
        bail!("Refcount width must be a power of two and may not exceed 64 bits");
    }
    if version < 3 && refcount_bits != 16 {
        bail!(
            "Different refcount widths than 16 bits require compatibility level 1.1 or above (use compat=1.1 or greater)"
        );
    }
    let mode = options.get("preallocation").unwrap_or("off");
    let layout = Qcow2Layout {
        cluster_size,
        refcount_bits: refcount_bits as u32,
        extended_l2,
        preallocation: preallocation(mode).ok_or_else(|| anyhow!("invalid parameter value: {mode}"))?,
        has_backing: options.get("backing_file").is_some(),
        encryption_header: encryption::header_of_qcow2(options)?.next_multiple_of(cluster_size),
    };
    Ok((layout, version))
}

fn print((sizes, bitmaps): &(Sizes, Option<u64>), output: Output) -> Result<()> {
    let text = match output {
        Output::Json => {
            let mut object = Map::new();
            object.insert("required".to_owned(), sizes.required.into());
            object.insert("fully-allocated".to_owned(), sizes.fully_allocated.into());
            if let Some(bytes) = bitmaps {
                object.insert("bitmaps".to_owned(), (*bytes).into());
            }
            text::json(&Value::Object(object))
        }
        Output::Human => {
            let bitmaps = bitmaps.map_or(String::new(), |bytes| format!("bitmaps size: {bytes}\n"));
            let Sizes { required, fully_allocated } = sizes;
            format!("required size: {required}\nfully allocated size: {fully_allocated}\n{bitmaps}")
        }
    };
    cli::print(&text)
}
