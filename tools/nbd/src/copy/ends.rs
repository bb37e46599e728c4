//! The two ends of a copy: what their names mean, and how they are opened.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use libimage::block::{Block, Extent, Limits, Zero};
use libimage::open::{Context, Image, OpenOptions as ImageOptions};
use libimage::spec::{Objects, Spec};
use libimage::storage::{FileOptions, FileStorage, Nbd, NbdOptions, Null};
use nbd_protocol::client::{Server, security};
use nbd_protocol::uri;

use super::Options;

/// An end as the command line names it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Standard input or output.
    Standard,
    /// Nothing, for destinations.
    Null,
    /// A file, a device, a URI, or whatever an image may be called.
    Name(OsString),
    /// A server to be started.
    Command(Vec<OsString>),
}

/// An end that is open.
pub(super) enum Opened {
    /// Bytes at positions. True if it is new, and so reads as zeroes.
    Block(Arc<dyn Block>, bool),
    /// Bytes one after the other.
    Stream(File, String),
    /// A file that is as long as what is written to it.
    New(Arc<FileStorage>),
    /// Nothing.
    Null,
}

/// Takes the two ends out of the operands. Brackets may contain brackets.
pub(super) fn split(operands: &[OsString]) -> Option<(End, End)> {
    let mut rest = operands;
    let ends = (next(&mut rest)?, next(&mut rest)?);
    rest.is_empty().then_some(ends)
}

fn next(rest: &mut &[OsString]) -> Option<End> {
    let (first, mut after) = rest.split_first()?;
    let end = match first.to_str() {
        Some("[") => {
            let mut depth = 1usize;
            let close = after.iter().position(|word| {
                match word.to_str() {
                    Some("[") => depth += 1,
                    Some("]") => depth -= 1,
                    _ => {}
                }
                depth == 0
            })?;
            let (command, behind) = after.split_at(close);
            after = behind.get(1..)?;
            End::Command(command.to_vec())
        }
        Some("-") => End::Standard,
        Some("null:") => End::Null,
        _ => End::Name(first.clone()),
    };
    *rest = after;
    Some(end)
}

/// How an end's server is asked.
fn nbd_options(uri: &uri::Address, name: &str, options: &Options, is_source: bool) -> Result<NbdOptions> {
    let mut nbd = NbdOptions::new(uri.target.clone(), &uri.export, name);
    nbd.read_only = is_source;
    nbd.connections = if options.synchronous { 1 } else { options.connections };
    if !is_source || !options.extents {
        nbd.context = None;
    }
    nbd.tls = security(uri)?;
    Ok(nbd)
}

fn started(command: &[OsString], options: &Options, is_source: bool) -> Result<Arc<dyn Block>> {
    let server = Server::start(command)?;
    let name = command.first().map(|word| word.display().to_string()).unwrap_or_default();
    let address = uri::Address {
        target: server.target().clone(),
        export: String::new(),
        encrypted: false,
        user: None,
        tls: uri::TlsParameters::default(),
        unknown: Vec::new(),
    };
    let nbd = Nbd::of_server(nbd_options(&address, &name, options, is_source)?, Some(server));
    Ok(Arc::new(nbd.map_err(|error| of_server(&name, error))?))
}

fn of_server(name: &str, error: libimage::Error) -> anyhow::Error {
    match error.to_string().as_str() {
        "Could not open image: Permission denied" => {
            anyhow!("{name}: the destination is read-only, cannot write to it")
        }
        _ => anyhow::Error::from(error).context(name.to_owned()),
    }
}

fn remote(name: &str, options: &Options, is_source: bool) -> Result<Arc<dyn Block>> {
    let address = uri::parse(name).with_context(|| name.to_owned())?;
    let nbd = Nbd::open(nbd_options(&address, name, options, is_source)?);
    Ok(Arc::new(nbd.map_err(|error| of_server(name, error))?))
}

fn image(name: &OsStr, format: libimage::format::Format, read_only: bool) -> Result<Arc<dyn Block>> {
    let objects = Objects::default();
    let warn = |text: &str| eprintln!("{}: warning: {text}", cli::program());
    let context = Context { objects: &objects, warn: &warn, untrusted: false };
    let options = ImageOptions { format: Some(format), read_only, ..ImageOptions::default() };
    let image = Spec::name(name).and_then(|spec| Image::open_spec(spec, options, &context));
    let image = image.with_context(|| format!("Could not open '{}'", name.display()))?;
    Ok(image.block())
}

/// A name that a server is meant by.
fn as_uri(name: &OsStr) -> Option<&str> {
    name.to_str().filter(|name| uri::is_uri(name))
}

/// Opens the source.
pub(super) fn open_source(end: &End, options: &Options) -> Result<Opened> {
    if let (Some(format), End::Name(name)) = (options.source_format, end) {
        return Ok(Opened::Block(seen(image(name, format, true)?, options), false));
    }
    if options.source_format.is_some() {
        bail!("--source-format is for files and URIs");
    }
    let block = match end {
        End::Standard => return standard(io::stdin(), "standard input"),
        End::Null => bail!("null:: No such file or directory"),
        End::Command(command) => started(command, options, true)?,
        End::Name(name) => match as_uri(name) {
            Some(uri) => remote(uri, options, true)?,
            None => return local_source(Path::new(name), options),
        },
    };
    Ok(Opened::Block(block, false))
}

fn standard(end: impl std::os::fd::AsFd, name: &str) -> Result<Opened> {
    let file = File::from(end.as_fd().try_clone_to_owned()?);
    Ok(Opened::Stream(file, name.to_owned()))
}

fn local_source(path: &Path, options: &Options) -> Result<Opened> {
    let shown = path.display();
    let file = File::open(path).map_err(|error| said(path, &error))?;
    let kind = file.metadata().map_err(|error| said(path, &error))?.file_type();
    if kind.is_dir() {
        bail!("{shown}: Is a directory");
    }
    if !kind.is_file() && !kind.is_block_device() {
        return Ok(Opened::Stream(file, shown.to_string()));
    }
    let file_options = FileOptions { read_only: true, unlocked: true, ..FileOptions::default() };
    let block: Arc<dyn Block> = Arc::new(FileStorage::open(path, file_options)?);
    Ok(Opened::Block(seen(block, options), false))
}

fn seen(block: Arc<dyn Block>, options: &Options) -> Arc<dyn Block> {
    if options.extents { block } else { Arc::new(Opaque(block)) }
}

fn said(path: &Path, error: &io::Error) -> anyhow::Error {
    anyhow!("{}: {}", path.display(), libimage::error::plain(error))
}

/// Opens the destination for a source of `size` bytes, if that is known.
pub(super) fn open_destination(end: &End, size: Option<u64>, options: &Options) -> Result<Opened> {
    if let (Some(format), End::Name(name)) = (options.destination_format, end) {
        return Ok(Opened::Block(image(name, format, false)?, false));
    }
    if options.destination_format.is_some() {
        bail!("--destination-format is for files and URIs");
    }
    let block = match end {
        End::Standard => return standard(io::stdout(), "standard output"),
        End::Null => return Ok(Opened::Null),
        End::Command(command) => started(command, options, false)?,
        End::Name(name) => match as_uri(name) {
            Some(uri) => remote(uri, options, false)?,
            None => return local_destination(Path::new(name), size),
        },
    };
    Ok(Opened::Block(block, false))
}

fn local_destination(path: &Path, size: Option<u64>) -> Result<Opened> {
    let kind = match std::fs::metadata(path) {
        Ok(metadata) => Some(metadata.file_type()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(said(path, &error)),
    };
    match kind {
        Some(kind) if kind.is_dir() => bail!("{}: Is a directory", path.display()),
        Some(kind) if kind.is_block_device() => {
            Ok(Opened::Block(Arc::new(FileStorage::open(path, FileOptions::default())?), false))
        }
        Some(kind) if !kind.is_file() => {
            let file = OpenOptions::new().write(true).open(path).map_err(|error| said(path, &error))?;
            Ok(Opened::Stream(file, path.display().to_string()))
        }
        _ => {
            let file = Arc::new(FileStorage::create(path)?);
            match size {
                None => Ok(Opened::New(file)),
                Some(size) => {
                    file.resize(size, libimage::block::Preallocation::Off)?;
                    Ok(Opened::Block(file, true))
                }
            }
        }
    }
}

/// Nothing, as large as is needed.
pub(super) fn nothing(size: u64) -> Result<Arc<dyn Block>> {
    Ok(Arc::new(Null::new("null-co", size, true, false)?))
}

/// A source that does not tell where its holes are.
struct Opaque(Arc<dyn Block>);

impl Block for Opaque {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> libimage::Result<()> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> libimage::Result<()> {
        self.0.write_at(buf, offset)
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> libimage::Result<()> {
        self.0.write_zeroes(range, how)
    }

    fn discard(&self, range: Range<u64>) -> libimage::Result<()> {
        self.0.discard(range)
    }

    fn flush(&self) -> libimage::Result<()> {
        self.0.flush()
    }

    fn status(&self, range: Range<u64>) -> libimage::Result<Extent> {
        Ok(Extent { offset: None, ..Extent::data(range.end.saturating_sub(range.start), 0) })
    }

    fn limits(&self) -> Limits {
        self.0.limits()
    }

    fn is_read_only(&self) -> bool {
        self.0.is_read_only()
    }

    fn name(&self) -> &str {
        self.0.name()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;

    fn of(words: &str) -> Option<(End, End)> {
        let words: Vec<OsString> = words.split(' ').map(OsString::from).collect();
        split(&words)
    }

    #[test]
    fn brackets_nest() {
        let command = |words: &str| End::Command(words.split(' ').map(OsString::from).collect());
        assert_eq!(of("- null:"), Some((End::Standard, End::Null)));
        assert_eq!(of("[ a b ] x"), Some((command("a b"), End::Name("x".into()))));
        assert_eq!(of("[ a [ b ] c ] [ d ]"), Some((command("a [ b ] c"), command("d"))));
        for bad in ["x", "a b c", "[ a b", "[ a ]", "[ a [ b ] x", "a ] b"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
