//! `nbd serve`: images for clients of the network.

mod block_export;
mod catalogue;
mod clients;
mod companion;
mod config;
mod control;
mod ip;
mod list;
mod listen;
mod options;
mod plan;
mod queued;
mod request;
mod security;
mod source;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use cli::background::{self, Background};
use libimage::Block;
use libimage::filter::named::Stack;
use libimage::spec::Objects;
use nbd_protocol::server::{Export, Exports, Mode, Terms};
use nbd_protocol::stream::Stream;
use nbd_protocol::wire::Flags;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::arguments::{Command, Words};
use block_export::{BlockExport, Sending};
use catalogue::Catalogue;
use clients::{House, Rules};
use ip::Doorman;
use listen::Listener;
use plan::Plan;
use request::Request;

pub(crate) use control::directory as windows;

pub(crate) const COMMAND: Command = Command {
    name: "serve",
    peer: "qemu-nbd",
    about: "Serve images to clients",
    operands: "FILE",
    options: options::OPTIONS,
    operands_last: false,
    run,
};

fn run(words: Words) -> Result<ExitCode> {
    match options::read(words)? {
        Request::Serve(plan, objects) => start(*plan, &Arc::new(objects)),
        Request::List(target, tls) => {
            cli::print(&list::lines(&target, tls.as_ref())?)?;
            Ok(ExitCode::SUCCESS)
        }
        Request::Detach(device) => {
            found(&device).with_context(|| format!("Cannot open {}", device.display()))?;
            crate::attach::take_off(&device)?;
            cli::print(&format!("{} disconnected\n", device.display()))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// There is such a file, which can be written to.
fn found(device: &Path) -> std::io::Result<()> {
    std::fs::File::options().read(true).write(true).open(device).map(drop)
}

/// A block as an export, for a client that is told all about it by other means. The image that it is part of must be kept.
pub(crate) fn export(block: Arc<dyn Block>) -> Arc<dyn Export> {
    Arc::new(BlockExport {
        read_only: block.is_read_only(),
        granule: u64::from(block.limits().preferred.max(1)),
        block,
        description: None,
        contexts: Vec::new(),
        sending: Sending::Copied,
        direct: false,
        resizable: false,
        withheld: Flags::default(),
        refuses_fast_zeroes: false,
        may_wait: false,
        _image: None,
        filters: Stack::new(Vec::new()),
    })
}

/// In the background if that is wanted.
fn start(plan: Plan, objects: &Arc<Objects>) -> Result<ExitCode> {
    let fork = plan.fork || plan.device.is_some() && !plan.verbose;
    let background = match (fork, Background::here()?) {
        (true, None) => return Ok(background::start()?),
        (_, here) => here,
    };
    serve(&plan, objects, background)
}

fn serve(plan: &Plan, objects: &Arc<Objects>, background: Option<Background>) -> Result<ExitCode> {
    if let Some(device) = &plan.device {
        return attach(plan, device, objects, background);
    }
    let mut catalogue = Catalogue::new(!options::is_qemu());
    for export in &plan.exports {
        let name = export.name.clone().unwrap_or_default();
        if !catalogue.add(name.clone(), source::open(export, objects)?) {
            bail!("Two exports have the name '{name}'");
        }
    }
    let catalogue = Arc::new(catalogue);
    let house = house(plan, &catalogue, objects)?;
    let listeners = plan.places.iter().map(listen::Place::listen).collect::<Result<Vec<Listener>>>()?;
    write_number(plan)?;
    watch_signals(&house)?;
    if plan.inetd {
        let (input, output) = (rustix::stdio::stdin(), rustix::stdio::stdout());
        let stream = || -> std::io::Result<Stream> {
            Ok(Stream::pair(input.try_clone_to_owned()?, output.try_clone_to_owned()?))
        };
        house.admit(stream()?, Arc::new(stream()?))?;
    } else if background.is_none() && plan.run.is_none() && !options::is_qemu() {
        // Whoever passed a socket knows where it is, and may use standard output for something else.
        for listener in listeners.iter().filter(|listener| listener.target.is_some()) {
            cli::print(&format!("{listener}\n"))?;
        }
    }
    let _window = control::open(&house);
    let companion =
        plan.run.as_ref().map(|command| accompany(command, &house, &listeners, plan)).transpose()?;
    if let Some(background) = background {
        std::env::set_current_dir("/").context("It cannot go to the background")?;
        background.ready().context("It cannot go to the background")?;
    }
    let sockets: Vec<_> = listeners.iter().flat_map(|listener| &listener.sockets).collect();
    house.accept(&sockets)?;
    drop(sockets);
    drop(listeners);
    house.stop();
    house.wait_for_clients();
    for export in catalogue.all() {
        let flushed = if export.read_only { Ok(()) } else { export.block.flush() };
        export.filters.finish();
        flushed?;
    }
    Ok(companion.map_or(ExitCode::SUCCESS, |thread| thread.join().unwrap_or(ExitCode::FAILURE)))
}

/// Serves one image to the kernel alone.
fn attach(
    plan: &Plan,
    device: &Path,
    objects: &Arc<Objects>,
    background: Option<Background>,
) -> Result<ExitCode> {
    let [image] = &plan.exports[..] else { bail!("A device shows one image") };
    if options::is_qemu() {
        // Others may name devices that come into being only when they are needed.
        found(device).with_context(|| format!("Failed to open {}", device.display()))?;
    }
    let export: Arc<dyn Export> = Arc::new(source::open(image, objects)?);
    crate::attach::attach_export(&export, &image.image, device, || {
        write_number(plan)?;
        background.map(Background::ready).transpose().context("It cannot go to the background")?;
        Ok(())
    })
}

/// Tells the number of this process to whoever waits for it.
fn write_number(plan: &Plan) -> Result<()> {
    let Some(path) = &plan.pid_file else { return Ok(()) };
    let number = format!("{}\n", std::process::id());
    std::fs::write(path, number)
        .map_err(|error| anyhow!("Could not create '{}': {}", path.display(), libimage::error::plain(&error)))
}

fn house(plan: &Plan, catalogue: &Arc<Catalogue>, objects: &Objects) -> Result<Arc<House>> {
    let terms = Terms {
        best_mode: if plan.simple_replies { Mode::Simple } else { Mode::Extended },
        oldstyle: plan.oldstyle,
        several: plan.shared != Some(1) && !plan.inetd,
        security: security::of(&plan.tls, objects)?,
    };
    let rules = Rules {
        most: plan.shared,
        persistent: plan.persistent && !plan.inetd,
        patience: (plan.handshake_seconds > 0).then(|| Duration::from_secs(plan.handshake_seconds)),
        verbose: plan.verbose,
        doorman: Doorman::new(&plan.ip)?,
    };
    let images: Vec<_> = plan.exports.iter().map(|export| export.image.to_string_lossy()).collect();
    Ok(House::new(images.join(" "), Arc::clone(catalogue) as Arc<dyn Exports>, terms, rules)?)
}

/// Runs the command that the server is for; when it ends, so does the server.
fn accompany(
    command: &str,
    house: &Arc<House>,
    listeners: &[Listener],
    plan: &Plan,
) -> Result<JoinHandle<ExitCode>> {
    let export = plan.exports.first().and_then(|export| export.name.as_deref()).unwrap_or_default();
    let mut child = companion::start(command, listeners.first(), export, plan.tls.is_on())?;
    let house = Arc::clone(house);
    let wait = move || {
        let code = child.wait().map_or(ExitCode::FAILURE, companion::code);
        house.stop();
        code
    };
    Ok(std::thread::Builder::new().name("companion".to_owned()).spawn(wait)?)
}

/// A signal ends the server in order; a second one at once.
fn watch_signals(house: &Arc<House>) -> Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let house = Arc::clone(house);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for (count, signal) in signals.forever().enumerate() {
            if count > 0 {
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
            house.stop();
        }
    })?;
    Ok(())
}
