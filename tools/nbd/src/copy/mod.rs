//! `nbd copy`: all bytes from one place to another, either of which may be a server.

mod ends;
mod progress;
mod run;
mod stream;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use cli::getopt::{Name, Opt, opt, optional, ours};
use libimage::format::Format;
use libimage::units::scan_size;
use nbd_protocol::client::Server;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::arguments::{Command, HELP, Usage, VERSION, Words, string};

pub(crate) const COMMAND: Command = Command {
    name: "copy",
    peer: "nbdcopy",
    about: "Copy between any two of - | FILE | DEVICE | URI | [ COMMAND ... ], or to null:",
    operands: "SOURCE DESTINATION",
    options: OPTIONS,
    operands_last: false,
    run,
};

const OPTIONS: &[Opt] = &[
    opt('\0', "allocated", "", "write zeroes so that they take up space"),
    opt('C', "connections", "N", "the most connections to one server (4)"),
    opt('\0', "destination-is-zero", "", "the destination reads as zeroes: leave them out"),
    ours("destination-format", "FORMAT", "the destination is an image of this format, and exists"),
    opt('\0', "flush", "", "make everything durable before the end"),
    opt('\0', "no-extents", "", "do not ask the source where holes are"),
    optional('p', "progress", "FD", "show a bar, or write N/100 to this descriptor"),
    opt('\0', "queue-size", "N", "the most bytes under way for each connection (16M)"),
    opt('\0', "request-size", "N", "the most bytes of one request (256K)"),
    opt('R', "requests", "N", "the most requests under way for each connection (64)"),
    ours("source-format", "FORMAT", "the source is an image of this format"),
    opt('S', "sparse", "N", "look for zeroes in pieces of N bytes (4096); 0 to not look"),
    opt('\0', "synchronous", "", "one request after the other, in order"),
    opt('\0', "target-is-zero", "", "the same as --destination-is-zero"),
    opt('T', "threads", "N", "the most threads; 0 for as many as are useful"),
    opt('v', "verbose", "", "say what is done"),
    ours("verify", "", "compare hashes of both ends afterwards"),
    HELP,
    VERSION,
];

/// Progress as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    Nothing,
    Bar,
    Descriptor(u32),
}

/// What the command line says.
#[derive(Debug)]
pub(crate) struct Options {
    allocated: bool,
    connections: usize,
    destination_is_zero: bool,
    flush: bool,
    extents: bool,
    show: Show,
    queue_size: u64,
    request_size: usize,
    requests: usize,
    sparse: usize,
    synchronous: bool,
    threads: usize,
    verbose: bool,
    verify: bool,
    source_format: Option<Format>,
    destination_format: Option<Format>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            allocated: false,
            connections: 4,
            destination_is_zero: false,
            flush: false,
            extents: true,
            show: Show::Nothing,
            queue_size: 16 << 20,
            request_size: 256 << 10,
            requests: 64,
            sparse: 4096,
            synchronous: false,
            threads: 0,
            verbose: false,
            verify: false,
            source_format: None,
            destination_format: None,
        }
    }
}

impl Options {
    fn take(&mut self, name: Name, value: &OsString) -> Result<()> {
        match name {
            Name::Long("allocated") => self.allocated = true,
            Name::Letter('C') | Name::Long("connections") => self.connections = count("connections", value)?,
            Name::Long("destination-is-zero" | "target-is-zero") => self.destination_is_zero = true,
            Name::Long("destination-format") => self.destination_format = Some(format(value)?),
            Name::Long("source-format") => self.source_format = Some(format(value)?),
            Name::Long("flush") => self.flush = true,
            Name::Long("no-extents") => self.extents = false,
            Name::Letter('p') | Name::Long("progress") => {
                self.show = match value.is_empty() {
                    true => Show::Bar,
                    false => Show::Descriptor(string(value)?.parse().map_err(|_| wrong("progress", value))?),
                };
            }
            Name::Long("queue-size") => self.queue_size = size("queue-size", value)?,
            Name::Long("request-size") => self.request_size = request_size(value)?,
            Name::Letter('R') | Name::Long("requests") => self.requests = count("requests", value)?,
            Name::Letter('S') | Name::Long("sparse") => self.sparse = sparse(value)?,
            Name::Long("synchronous") => self.synchronous = true,
            Name::Letter('T') | Name::Long("threads") => {
                self.threads = string(value)?.parse().map_err(|_| wrong("threads", value))?;
            }
            Name::Letter('v') | Name::Long("verbose") => self.verbose = true,
            Name::Long("verify") => self.verify = true,
            other => bail!("Option {other:?} is not known"),
        }
        Ok(())
    }
}

fn wrong(name: &str, value: &OsString) -> anyhow::Error {
    anyhow!("--{name}: could not parse: {}", value.display())
}

fn count(name: &str, value: &OsString) -> Result<usize> {
    let number = string(value)?.parse().ok().filter(|&number| number > 0);
    number.ok_or_else(|| wrong(name, value))
}

fn size(name: &str, value: &OsString) -> Result<u64> {
    scan_size(&string(value)?).map_err(|_| wrong(name, value))
}

fn request_size(value: &OsString) -> Result<usize> {
    let bytes = size("request-size", value)?;
    if !bytes.is_power_of_two() || !(4096..=32 << 20).contains(&bytes) {
        bail!("--request-size: must be a power of 2 within 4096-33554432");
    }
    Ok(bytes as usize)
}

fn sparse(value: &OsString) -> Result<usize> {
    let bytes = size("sparse", value)?;
    // More than a request is never looked at together.
    if bytes != 0 && (!bytes.is_power_of_two() || !(512..=32 << 20).contains(&bytes)) {
        bail!("--sparse: must be a power of 2 and >= 512");
    }
    Ok(bytes as usize)
}

fn format(value: &OsString) -> Result<Format> {
    Ok(Format::by_name(&string(value)?)?)
}

fn run(words: Words) -> Result<ExitCode> {
    let mut options = Options::default();
    let operands = words.read(|name, value| options.take(name, value))?;
    let Some((source, destination)) = ends::split(&operands) else {
        return Err(Usage::error(&COMMAND, "A source and a destination are needed"));
    };
    end_servers_with_us()?;
    match run::run(&source, &destination, &options) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(run::in_peers_words(error)),
    }
}

/// A signal ends the copy at once, and the servers that were started for it.
fn end_servers_with_us() -> Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            Server::end_all();
            let _ = emulate_default_handler(signal);
        }
    })?;
    Ok(())
}
