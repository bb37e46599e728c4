//! The copy itself, between two ends that are open.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Result, anyhow, bail};
use libimage::Error;
use libimage::block::{Block, Zero};
use libimage::filter::Slice;
use libimage::job::copy::{Manner, Target, copy};
use libimage::job::hash::{Algorithm, hash};
use libimage::job::{Progress, Silent, ordered};

use super::ends::{End, Opened, nothing, open_destination, open_source};
use super::progress::Shown;
use super::{Options, stream};

/// Requests under way for each connection, so that both ends always have something to do.
const BUSY: usize = 2;
/// More threads than this only get in each other's way.
const MAX_WORKERS: usize = 16;

/// Copies.
///
/// # Errors
/// When an end cannot be opened, read or written, or the destination is too small.
pub(super) fn run(source: &End, destination: &End, options: &Options) -> Result<()> {
    let source = open_source(source, options)?;
    let size = match &source {
        Opened::Block(block, _) => Some(block.size()),
        _ => None,
    };
    let destination = open_destination(destination, size, options)?;
    if options.verbose {
        tell("source", &source);
        tell("destination", &destination);
    }
    let is_checkable = matches!((&source, &destination), (Opened::Block(..), Opened::Block(..)));
    if options.verify && !is_checkable {
        bail!("--verify: what is streamed or thrown away cannot be read again");
    }
    let progress = Shown::new(options.show)?;
    match (source, destination) {
        (Opened::Block(source, _), Opened::Block(target, is_new)) => {
            if source.size() > target.size() {
                return Err(too_small(target.size(), source.size()));
            }
            let is_zero = is_new || options.destination_is_zero;
            let sink = Sink { block: &*target, is_zero, turn: is_new.then(Mutex::default), options };
            blocks(&*source, &sink, options, &progress)?;
            // An image's own tables are part of what was written.
            if options.flush || options.destination_format.is_some() {
                target.flush()?;
            }
            if options.verify {
                verify(source, target, options)?;
            }
        }
        (Opened::Block(source, _), Opened::Null) => {
            let nothing = nothing(source.size())?;
            // What is thrown away is not looked at.
            let unlooked = Options { sparse: 0, ..Options::default() };
            let sink = Sink { block: &*nothing, is_zero: true, turn: None, options: &unlooked };
            blocks(&*source, &sink, options, &progress)?;
        }
        (Opened::Block(source, _), Opened::Stream(mut out, name)) => {
            to_stream(&*source, &mut out, &name, options, &progress)?;
        }
        (Opened::Stream(mut input, name), destination) => {
            stream::copy(&mut input, &name, &destination, options)?;
        }
        // No source is opened like that, and no new file for a source whose size is known.
        _ => bail!("These cannot be copied to each other"),
    }
    progress.finish();
    Ok(())
}

fn tell(what: &str, end: &Opened) {
    let program = cli::program();
    match end {
        Opened::Block(block, _) => eprintln!("{program}: {what}: {} ({} bytes)", block.name(), block.size()),
        Opened::New(file) => eprintln!("{program}: {what}: {}", file.name()),
        Opened::Stream(_, name) => eprintln!("{program}: {what}: {name}"),
        Opened::Null => eprintln!("{program}: {what}: null:"),
    }
}

pub(super) fn too_small(destination: u64, source: u64) -> anyhow::Error {
    anyhow!("error: destination size ({destination}) is smaller than source size ({source})")
}

/// Threads that copy: each has one request under way.
fn workers(options: &Options) -> usize {
    if options.synchronous {
        return 1;
    }
    let queued = usize::try_from(options.queue_size / options.request_size as u64).unwrap_or(usize::MAX);
    let each = options.requests.min(queued).clamp(1, BUSY);
    let most = if options.threads == 0 { MAX_WORKERS } else { options.threads.saturating_mul(each) };
    options.connections.saturating_mul(each).min(most).clamp(1, 64)
}

fn blocks(source: &dyn Block, sink: &Sink<'_>, options: &Options, progress: &Shown) -> Result<()> {
    let mut manner = Manner::plain(workers(options));
    manner.request = options.request_size;
    Ok(copy(source, sink, &manner, progress)?)
}

/// A destination with positions.
struct Sink<'a> {
    block: &'a dyn Block,
    /// It reads as zeroes already.
    is_zero: bool,
    /// For files: the kernel lets one write at a time, and keeps a processor busy with whoever waits for it; a server on
    /// this machine has a use for that.
    turn: Option<Mutex<()>>,
    options: &'a Options,
}

impl Target for Sink<'_> {
    fn write(&self, bytes: &[u8], offset: u64) -> libimage::Result<()> {
        let _turn = self.turn.as_ref().map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner));
        self.block.write_at(bytes, offset)
    }

    fn zero(&self, range: Range<u64>) -> libimage::Result<()> {
        let how = if self.options.allocated { Zero::KeepAllocated } else { Zero::MayUnmap };
        self.block.write_zeroes(range, how)
    }

    fn granularity(&self) -> usize {
        self.options.sparse.max(512)
    }

    fn detects_zeroes(&self) -> bool {
        self.options.sparse != 0
    }

    fn starts_zeroed(&self) -> bool {
        self.is_zero && !self.options.allocated
    }

    fn over_backing(&self) -> bool {
        false
    }
}

/// All bytes in order, read ahead by several threads.
fn to_stream(
    source: &dyn Block,
    out: &mut File,
    name: &str,
    options: &Options,
    progress: &Shown,
) -> Result<()> {
    let size = source.size();
    progress.step("Copying", size);
    let piece = options.request_size as u64;
    let make = |number: u64| -> libimage::Result<Vec<u8>> {
        let start = number * piece;
        let end = size.min(start + piece);
        let mut bytes = vec![0; (end - start) as usize];
        let mut at = start;
        while at < end {
            let extent = source.status(at..end)?;
            let stop = at + extent.length.min(end - at);
            if !extent.zero {
                let part = (at - start) as usize..(stop - start) as usize;
                source.read_at(bytes.get_mut(part).unwrap_or_default(), at)?;
            }
            at = stop;
        }
        Ok(bytes)
    };
    let take = |bytes: Vec<u8>| {
        out.write_all(&bytes).map_err(|error| Error::io("write to", name, error))?;
        progress.advance(bytes.len() as u64);
        Ok(())
    };
    Ok(ordered::ordered(size.div_ceil(piece), workers(options), make, take)?)
}

/// Reads both ends again, and compares what was read.
fn verify(source: Arc<dyn Block>, target: Arc<dyn Block>, options: &Options) -> Result<()> {
    let size = source.size();
    let target: Arc<dyn Block> = match target.size() == size {
        true => target,
        false => Arc::new(Slice::new(target, 0, size)?),
    };
    let of = |block: &dyn Block| hash(block, Algorithm::Sha256, 2, &Silent);
    let (one, other) = thread::scope(|scope| {
        let one = scope.spawn(|| of(&*source));
        let other = of(&*target);
        (one.join(), other)
    });
    let (one, other) = (one.map_err(|_| anyhow!("A thread ended early"))??, other?);
    if one != other {
        bail!(
            "The destination differs from the source after the copy: it was changed meanwhile, or lost data"
        );
    }
    if options.verbose {
        let digits: String = one.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("{}: both ends have the hash {digits}", cli::program());
    }
    Ok(())
}

/// An error as `nbdcopy` would have told it, if its name is used.
pub(super) fn in_peers_words(error: anyhow::Error) -> anyhow::Error {
    if !cli::plays_peer() {
        return error;
    }
    let mut cause = error.downcast_ref::<Error>();
    while let Some(found) = cause {
        match found {
            Error::Context { source, .. } => cause = Some(source),
            Error::Io { action, offset: Some(offset), source, .. } => {
                let what = match *action {
                    "read" => "read",
                    "examine" => "extents",
                    _ => "write",
                };
                return anyhow!("{what} at offset {offset} failed: {}", libimage::error::plain(source));
            }
            _ => break,
        }
    }
    error
}
