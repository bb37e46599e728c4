//! `img hash`: a content hash that does not depend on the format.

use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use libimage::Block;
use libimage::job::hash::{Algorithm, hash};
use libimage::job::processors;
use libimage::open::{Image, OpenOptions};
use serde_json::{Map, Value};

use crate::arguments::{Command, HELP, OBJECT, OUTPUT, Output, PROGRESS, Usage, Words, string};
use crate::image::{Source, source_cache};
use crate::{snapshot, text};
use cli::getopt::{Name, opt};

pub(crate) const COMMAND: Command = Command {
    name: "hash",
    about: "Print a hash of what an image shows to its guest, the same in every format",
    operands: "FILENAME...",
    options: &[
        HELP,
        opt('a', "algorithm", "NAME", "sha256 (the default) or sha512; a tree of such hashes"),
        opt('f', "format", "FMT", "format of the images; guessed if not given"),
        opt('l', "snapshot", "SNAPSHOT", "hash this internal snapshot"),
        PROGRESS,
        opt('T', "cache", "MODE", "cache mode of the images (default writeback)"),
        opt('U', "force-share", "", "tolerate that others write to the images"),
        opt('\0', "image-opts", "", "the images are lists of options: driver=FMT,file.filename=NAME"),
        OUTPUT,
        OBJECT,
    ],
    run,
};

fn run(words: Words) -> Result<ExitCode> {
    let (mut source, mut output, mut algorithm) = (Source::default(), Output::Human, Algorithm::default());
    let (mut wanted, mut cache, mut progress) = (None, None, false);
    let operands = words.read(|name, value| {
        match name {
            Name::Letter('a') => algorithm = Algorithm::by_name(&value.to_string_lossy())?,
            Name::Letter('f') => source.set_format(value)?,
            Name::Letter('l') => {
                let name = string(value)?;
                snapshot::check_name(&name)?;
                wanted = Some(name);
            }
            Name::Letter('p') => progress = true,
            Name::Letter('T') => cache = Some(value.clone()),
            Name::Letter('U') => source.force_share = true,
            Name::Long("output") => output = Output::parse("hash", value)?,
            _ => source.image_opts = true,
        }
        Ok(())
    })?;
    if operands.is_empty() {
        return Err(Usage::error("hash", "Expecting image file names"));
    }
    let cache = cache.as_ref().map(source_cache).transpose()?.unwrap_or_default();
    let mut list = Vec::new();
    for file in &operands {
        let image = source.open(file, OpenOptions { read_only: true, cache, ..OpenOptions::default() })?;
        let disk: Arc<dyn Block> = match &wanted {
            Some(name) => snapshot::open(&image, name)?,
            None => image.block(),
        };
        let bar = text::progress(progress && output == Output::Human);
        let digest = hash(&*disk, algorithm, processors(), &bar)?;
        bar.finish();
        let digest = digest.iter().fold(String::new(), |mut text, byte| {
            // Writing into a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        match output {
            Output::Human => cli::print(&format!("{digest}  {}\n", file.display()))?,
            Output::Json => list.push(json(&image, &*disk, algorithm, &digest)),
        }
    }
    if output == Output::Json {
        cli::print(&text::json(&Value::Array(list)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn json(image: &Image, disk: &dyn Block, algorithm: Algorithm, digest: &str) -> Value {
    let mut object = Map::new();
    object.insert("filename".to_owned(), image.name().into());
    object.insert("format".to_owned(), image.format().name().into());
    object.insert("virtual-size".to_owned(), disk.size().into());
    object.insert("algorithm".to_owned(), format!("{}-tree", algorithm.name()).into());
    object.insert("hash".to_owned(), digest.into());
    Value::Object(object)
}
