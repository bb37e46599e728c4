//! `nbd attach` and `nbd detach`: an image or an export as a block device of this machine.
//!
//! The kernel's nbd driver is a client that never shakes hands: it is given connected sockets and told what lies behind
//! them ([`kernel`], or [`ioctl`] where netlink does not lead to it). For an image, this process serves the other ends.

mod attributes;
mod detach;
pub(crate) mod device;
mod generic;
mod ioctl;
mod kernel;
mod link;
mod list;
mod local;
mod process;
mod remote;

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use cli::background::{self, Background};
use cli::getopt::{Name, Opt, opt};
use cli::signals::Ends;
use libimage::open::Image;
use nbd_protocol::server::{Export, Session};
use nbd_protocol::uri::Address;
use nbd_protocol::wire::Flags;

use crate::arguments::{Command, HELP, Usage, VERSION, Words, string};
use crate::source::{CACHE, FORMAT, IMAGE_OPTS, OBJECT, READ_ONLY, Source};
use crate::ublk;
use device::Device;
use kernel::Wanted;
use link::{Attached, Link};
use local::Connections;
use remote::Remote;

pub(crate) use detach::{COMMAND as DETACH, take_off};
pub(crate) use process::{Server, all_gone, claim, load_module, stay};

/// How the devices are called.
const PREFIX: &str = "nbd";
/// The most connections that make sense: the kernel has a queue for each.
const MAX_CONNECTIONS: usize = 64;
/// The most of them where nothing is said.
const CONNECTIONS: usize = 4;
/// Bytes of a sector, which is what partition tables count in.
const SECTOR: u32 = 512;

/// `nbd attach`
pub(crate) const COMMAND: Command = Command {
    name: "attach",
    peer: "",
    about: "Make an image or an export a block device of this machine",
    operands: "[/dev/nbdN] IMAGE|URI\n--ublk [--id N] IMAGE|URI\n--list",
    options: OPTIONS,
    operands_last: false,
    run,
};

const OPTIONS: &[Opt] = &[
    FORMAT,
    IMAGE_OPTS,
    OBJECT,
    CACHE,
    READ_ONLY,
    opt(
        'C',
        "connections",
        "N",
        "connections of the kernel, each with a queue of its own (default: one for each processor, up to 4)",
    ),
    opt('b', "block-size", "N", "bytes of a sector: 512 (default), 1024, 2048 or 4096"),
    opt('t', "timeout", "SECONDS", "a request that takes longer breaks its connection (default: never)"),
    opt(
        '\0',
        "reconnect",
        "SECONDS",
        "stay, and connect anew to a server that was lost; requests wait so long for that",
    ),
    opt('\0', "disconnect-on-close", "", "detach it when nobody has it open any more"),
    opt('\0', "ublk", "", "by the ublk driver, not by nbd: faster, from Linux 6.5 on"),
    opt('\0', "id", "N", "the number of the ublk device (default: a free one)"),
    opt('l', "list", "", "list what is attached"),
    opt('P', "pid-file", "FILE", "write the number of the process that serves it"),
    opt('\0', "foreground", "", "stay until it is detached"),
    HELP,
    VERSION,
];

/// What was asked for.
#[derive(Default)]
struct Arguments {
    source: Source,
    connections: Option<usize>,
    block_size: Option<u32>,
    timeout: u64,
    reconnect: u64,
    disconnect_on_close: bool,
    ublk: bool,
    id: Option<u32>,
    pid_file: Option<PathBuf>,
    foreground: bool,
}

fn number<T: std::str::FromStr>(text: &str, what: &str) -> Result<T> {
    text.parse().map_err(|_| anyhow!("'{text}' is not a number of {what}"))
}

fn run(words: Words) -> Result<ExitCode> {
    let mut arguments = Arguments::default();
    let mut wants_list = false;
    let operands = words.read(|name, value| {
        match name {
            Name::Letter('C') => {
                let count = number(&string(value)?, "connections")?;
                if !(1..=MAX_CONNECTIONS).contains(&count) {
                    bail!("There can be 1 to {MAX_CONNECTIONS} connections");
                }
                arguments.connections = Some(count);
            }
            Name::Letter('b') => {
                let size = number(&string(value)?, "bytes")?;
                if ![512, 1024, 2048, 4096].contains(&size) {
                    bail!("A sector has 512, 1024, 2048 or 4096 bytes");
                }
                arguments.block_size = Some(size);
            }
            Name::Letter('t') => arguments.timeout = number(&string(value)?, "seconds")?,
            Name::Long("reconnect") => arguments.reconnect = number(&string(value)?, "seconds")?,
            Name::Long("disconnect-on-close") => arguments.disconnect_on_close = true,
            Name::Long("ublk") => arguments.ublk = true,
            Name::Long("id") => arguments.id = Some(number(&string(value)?, "a device")?),
            Name::Letter('l') => wants_list = true,
            Name::Letter('P') => arguments.pid_file = Some(value.into()),
            Name::Long("foreground") => arguments.foreground = true,
            _ => drop(arguments.source.option(name, value)?),
        }
        Ok(())
    })?;
    if wants_list {
        return list::run();
    }
    if arguments.id.is_some() && !arguments.ublk {
        return Err(Usage::error(&COMMAND, "--id is for --ublk: name the device, as in /dev/nbd0"));
    }
    let (device, image) = match &operands[..] {
        [image] => (None, image),
        [device, image] if !arguments.ublk => (Some(Path::new(device)), image),
        _ => return Err(Usage::error(&COMMAND, "Expecting the name of one image, and perhaps of a device")),
    };
    let index = device.map(|word| Device::named(word, PREFIX)).transpose()?.map(|(_, number)| number);
    let background = match Background::here().context("Could not go to the background")? {
        None if !arguments.foreground => {
            return background::start().context("Could not go to the background");
        }
        background => background,
    };
    arguments.attach(index, image, background)
}

impl Arguments {
    fn attach(self, index: Option<u32>, image: &OsStr, background: Option<Background>) -> Result<ExitCode> {
        let ends = Ends::watch().context("Could not wait for signals")?;
        let announce = |device: &Device| self.announce(device, background);
        if self.ublk {
            let opened = self.open(image)?;
            ublk::attach(opened.block(), self.id, &ends, announce)?;
            return Ok(ExitCode::SUCCESS);
        }
        // What is missing in the kernel is said before anything is opened.
        let link = Link::find(index)?;
        match self.source.server(image)? {
            Some(address) => self.hand_over(link, index, image, &address, &ends, announce)?,
            None => {
                if self.reconnect != 0 {
                    bail!(
                        "--reconnect is for servers that the kernel itself speaks with: nbd://HOST/NAME and such"
                    );
                }
                let opened = self.open(image)?;
                let export = crate::serve::export(opened.block());
                let flags = Session::plain(Arc::clone(&export)).flags;
                let wanted = self.wanted(index, image, export.size(), SECTOR, flags)?;
                let ready = |attached: &Attached| self.ready(attached, &wanted, announce);
                serve(&export, link, &wanted, self.connections(), &ends, ready)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Opens the image, to be served by this process.
    fn open(&self, image: &OsStr) -> Result<Image> {
        let opened = self.source.open(image)?;
        let size = opened.block().size();
        if size < u64::from(SECTOR) {
            bail!("'{}' is smaller than a sector", image.display());
        }
        // While memory is short the kernel may wait for this process to write: it must not wait for the kernel then.
        let _ = rustix::process::configure_io_flusher_behavior(true);
        Ok(opened)
    }

    /// The device for what `image` names.
    fn wanted(
        &self,
        index: Option<u32>,
        image: &OsStr,
        size: u64,
        least: u32,
        flags: Flags,
    ) -> Result<Wanted> {
        let block_size = match self.block_size {
            None if least <= 4096 => least.max(SECTOR),
            Some(given) if least <= given => given,
            _ => bail!("'{}' wants requests of {least} bytes or more", image.display()),
        };
        let rest = size % u64::from(block_size);
        if rest != 0 {
            let program = cli::program();
            eprintln!(
                "{program}: warning: the last {rest} bytes of '{}' are no whole sector, and left out",
                image.display()
            );
        }
        Ok(Wanted {
            index,
            size: size - rest,
            block_size,
            flags: flags.with(Flags::READ_ONLY, self.source.read_only).0,
            timeout: self.timeout,
            dead_timeout: self.reconnect,
            backend: image.to_string_lossy().chars().take(1000).collect(),
        })
    }

    /// Connects to a server, and leaves the connections to the kernel.
    fn hand_over(
        &self,
        link: Link,
        index: Option<u32>,
        image: &OsStr,
        address: &Address,
        ends: &Ends,
        announce: impl FnOnce(&Device) -> Result<()>,
    ) -> Result<()> {
        let remote = Remote::connect(address, self.connections())?;
        let info = &remote.info;
        let wanted = self.wanted(index, image, info.size, info.alignment(), info.flags)?;
        if wanted.size == 0 {
            bail!("'{}' is smaller than a sector", image.display());
        }
        let breaks = match self.reconnect {
            0 => None,
            _ => Some(link.breaks()?),
        };
        let attached = link.connect(&wanted, &remote.sockets())?;
        let device = attached.device();
        device.limit_requests(info.max_payload());
        let size = info.size;
        // From here on they are the kernel's alone: a server that is gone shall not seem to be there.
        drop(remote);
        attached.ready(wanted.size, |attached| self.ready(attached, &wanted, announce))?;
        if breaks.is_none() && attached.is_left_alone() {
            return Ok(());
        }
        let is_over = |patience| {
            let broken = match &breaks {
                Some(breaks) => breaks.of(attached.number(), patience).unwrap_or(0),
                None => {
                    std::thread::sleep(patience);
                    0
                }
            };
            for _ in 0..broken {
                let patience = Duration::from_secs(self.reconnect);
                let hand_over = |sockets: &[BorrowedFd<'_>]| attached.reconnect(&wanted.backend, sockets);
                let is_over = || device.process().is_none();
                if let Err(error) = remote::again(address, size, patience, hand_over, is_over) {
                    eprintln!("{}: {error:#}", cli::program());
                }
            }
            device.process().is_none()
        };
        stay(is_over, &device, ends, || attached.disconnect())
    }

    /// Says the last about a device that can be used, and tells of it.
    fn ready(
        &self,
        attached: &Attached,
        wanted: &Wanted,
        announce: impl FnOnce(&Device) -> Result<()>,
    ) -> Result<()> {
        if self.disconnect_on_close {
            // Not before: to look at it is to open and close it.
            attached.disconnect_on_close(&wanted.backend)?;
        }
        announce(&attached.device())
    }

    fn connections(&self) -> usize {
        self.connections.unwrap_or_else(usual_connections)
    }

    /// Tells everybody who waits that the device can be used.
    fn announce(&self, device: &Device, background: Option<Background>) -> Result<()> {
        if let Some(path) = &self.pid_file {
            let text = format!("{}\n", std::process::id());
            std::fs::write(path, text).with_context(|| format!("Could not write '{}'", path.display()))?;
        }
        cli::print(&format!("{}\n", device.path().display()))?;
        background.map(Background::ready).transpose().context("Could not go to the background")?;
        Ok(())
    }
}

/// Connections where nothing is said.
fn usual_connections() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(CONNECTIONS)
}

/// Serves `export` to the kernel until the device is detached.
fn serve(
    export: &Arc<dyn Export>,
    link: Link,
    wanted: &Wanted,
    connections: usize,
    ends: &Ends,
    ready: impl FnOnce(&Attached) -> Result<()>,
) -> Result<()> {
    let mut connections = Connections::new(export, connections).context("Could not make connections")?;
    let connected = link.connect(wanted, &connections.sockets());
    connections.handed_over();
    let attached = connected?;
    attached.ready(wanted.size, ready)?;
    let is_over = |patience| all_gone(&connections.over, patience);
    stay(is_over, &attached.device(), ends, || attached.disconnect())?;
    if export.flags().has(Flags::READ_ONLY) {
        return Ok(());
    }
    export.flush().context("Not everything may be written")
}

/// Attaches `export` as a device that was named, and serves it until it is detached.
///
/// # Errors
/// When it is no such device, or cannot be attached, or not everything can be written in the end.
pub(crate) fn attach_export(
    export: &Arc<dyn Export>,
    backend: &OsStr,
    device: &Path,
    announce: impl FnOnce() -> Result<()>,
) -> Result<ExitCode> {
    let ends = Ends::watch().context("Could not wait for signals")?;
    let (_, index) = Device::named(device, PREFIX)?;
    let mut wanted =
        Arguments::default().wanted(Some(index), backend, export.size(), SECTOR, Flags::default())?;
    wanted.flags = Session::plain(Arc::clone(export)).flags.0;
    let link = Link::find(Some(index))?;
    let _ = rustix::process::configure_io_flusher_behavior(true);
    serve(export, link, &wanted, usual_connections(), &ends, |_| announce())?;
    Ok(ExitCode::SUCCESS)
}
