//! The command line of `nbd serve` and of `qemu-nbd`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use cli::getopt::{Name, Opt, opt, ours};
use libimage::open::CacheMode;
use libimage::spec::Objects;
use nbd_protocol::client::Target;
use nbd_protocol::tls;

use super::listen::{Place, passed};
use super::plan::{ExportPlan, Plan, TlsPlan};
use super::{COMMAND, config, list};
use crate::arguments::{HELP, Usage, VERSION, Words, string};

/// Clients at once unless told otherwise: more come by mistake, or to do harm.
const MOST_CLIENTS: usize = 1000;

/// The longest name or description.
const MAX_STRING: usize = 4096;

pub(super) const OPTIONS: &[Opt] = &[
    HELP,
    VERSION,
    opt('p', "port", "PORT", "listen on this TCP port (default 10809; 0: any that is free)"),
    opt('b', "bind", "ADDRESS", "listen on this address"),
    opt('k', "socket", "PATH", "listen on a Unix socket"),
    ours("vsock", "", "listen on a port for virtual machines"),
    ours("inetd", "", "serve one client on standard input and output"),
    opt('e', "shared", "N", "serve N clients at once (default 1000; as qemu-nbd 1), 0 for any number"),
    opt('t', "persistent", "", "stay when the last client has left"),
    ours("exit-last", "", "end when the last client has left"),
    opt('v', "verbose", "", "tell about clients"),
    opt('x', "export-name", "NAME", "name of the export (default: none)"),
    opt('D', "description", "TEXT", "what the export is, for people"),
    opt('\0', "handshake-limit", "N", "clients have N seconds to choose an export (default 10; 0: any time)"),
    opt('o', "offset", "OFFSET", "leave out so many bytes at the beginning"),
    ours("partition", "N", "serve partition N of the image"),
    opt('A', "allocation-depth", "", "tell how deep in the chain data is (qemu:allocation-depth)"),
    opt('B', "bitmap", "NAME", "tell what a bitmap says is dirty (qemu:dirty-bitmap:NAME)"),
    opt('L', "list", "", "list the exports of another server"),
    opt('\0', "object", "OBJDEF", "an object that options refer to: secret,id=ID,file=FILE"),
    opt('\0', "tls-creds", "ID", "encrypt with the credentials of this object"),
    opt('\0', "tls-hostname", "NAME", "the name that the certificate of the other server is for"),
    opt('\0', "tls-authz", "ID", "let in whom this object allows"),
    opt('T', "trace", "TRACE", ""),
    opt('\0', "fork", "", "go to the background when clients can come"),
    opt('\0', "pid-file", "PATH", "write the number of the process there"),
    opt('\0', "selinux-label", "LABEL", ""),
    opt('c', "connect", "DEV", "attach the image to this device of this machine"),
    opt('d', "disconnect", "", "detach the device that stands in place of FILE"),
    opt('f', "format", "FORMAT", "format of the image; guessed if not given"),
    opt('r', "read-only", "", "refuse writes"),
    opt('s', "snapshot", "", "keep what is written in a temporary overlay"),
    opt(
        'l',
        "load-snapshot",
        "SNAPSHOT",
        "serve an internal snapshot: ID, NAME, snapshot.id=ID, snapshot.name=NAME",
    ),
    opt('n', "nocache", "", "past the page cache: --cache=none"),
    opt('\0', "cache", "MODE", "none, writeback (default), writethrough, directsync, unsafe"),
    opt('\0', "aio", "MODE", "native, io_uring or threads"),
    opt('\0', "discard", "MODE", "ignore or unmap: whether space that clients trim is given back"),
    opt('\0', "detect-zeroes", "MODE", "off, on or unmap: whether zeroes that are written become cheap ones"),
    opt('\0', "image-opts", "", "FILE is a list of options: driver=FMT,file.filename=NAME"),
    ours(
        "filter",
        "NAME[,KEY=VALUE...]",
        "put a filter over the image; the first lies outermost ('list' shows all)",
    ),
    ours("config", "FILE", "serve what a file says, several exports perhaps"),
    ours("resizable", "", "let clients change the size of the image"),
    ours("run", "COMMAND", "run this with $uri set, and end with it"),
    ours(
        "tls",
        "off|on|require",
        "whether clients may or must encrypt; require as soon as there are credentials",
    ),
    ours("tls-certificates", "DIR", "encrypt with the certificates in a directory"),
    ours("tls-psk", "FILE", "encrypt with the keys in a file"),
    ours("tls-verify-peer", "", "let in clients with a certificate only"),
    ours("oldstyle", "", "for clients that know no negotiation"),
    ours("no-structured-replies", "", "answer in the simplest form"),
    ours("ip", "allow=LIST|deny=LIST", "addresses that may come or not"),
];

/// What a command line asks for.
pub(super) enum Request {
    /// To serve.
    Serve(Box<Plan>, Objects),
    /// To show what another server has.
    List(Target, Option<tls::Client>),
    /// To take a device off.
    Detach(PathBuf),
}

struct Reading {
    export: ExportPlan,
    objects: Objects,
    bind: Option<String>,
    port: Option<String>,
    socket: Option<PathBuf>,
    vsock: bool,
    inetd: bool,
    shared: Option<usize>,
    persistent: bool,
    fork: bool,
    pid_file: Option<PathBuf>,
    handshake_seconds: u64,
    verbose: bool,
    cache_given: bool,
    aio_given: bool,
    discard_given: bool,
    lists: bool,
    hostname: Option<String>,
    authorization: Option<String>,
    oldstyle: bool,
    simple_replies: bool,
    run: Option<String>,
    config: Option<PathBuf>,
    tls: TlsPlan,
    ip: Vec<String>,
    device: Option<PathBuf>,
    detaches: bool,
}

/// Under the name `qemu-nbd` defaults are that program's.
pub(super) fn is_qemu() -> bool {
    cli::program() == COMMAND.peer
}

/// Reads a command line.
///
/// # Errors
/// With the words that scripts know.
pub(super) fn read(words: Words) -> Result<Request> {
    let mut reading = Reading {
        export: ExportPlan { discard: is_qemu().then(|| "ignore".to_owned()), ..ExportPlan::default() },
        objects: Objects::default(),
        bind: None,
        port: None,
        socket: None,
        vsock: false,
        inetd: false,
        shared: Some(if is_qemu() { 1 } else { MOST_CLIENTS }),
        persistent: !is_qemu(),
        fork: false,
        pid_file: None,
        handshake_seconds: 10,
        verbose: false,
        cache_given: false,
        aio_given: false,
        discard_given: false,
        lists: false,
        hostname: None,
        authorization: None,
        oldstyle: false,
        simple_replies: false,
        run: None,
        config: None,
        tls: TlsPlan::default(),
        ip: Vec::new(),
        device: None,
        detaches: false,
    };
    let files = words.read(|name, value| reading.option(name, value))?;
    reading.finish(files)
}

impl Reading {
    fn option(&mut self, name: Name, value: &OsString) -> Result<()> {
        let export = &mut self.export;
        match name {
            Name::Letter('p') => self.port = Some(string(value)?),
            Name::Letter('b') => self.bind = Some(string(value)?),
            Name::Letter('k') => {
                let path = PathBuf::from(value);
                if !path.is_absolute() && is_qemu() {
                    bail!("socket path must be absolute");
                }
                self.socket = Some(path);
            }
            Name::Letter('e') => {
                let text = string(value)?;
                let number: u32 =
                    text.parse().map_err(|_| anyhow!("Invalid shared device number '{text}'"))?;
                let number = usize::try_from(number).ok().filter(|_| i32::try_from(number).is_ok());
                let number = number.ok_or_else(|| anyhow!("Invalid shared device number '{text}'"))?;
                self.shared = (number > 0).then_some(number);
            }
            Name::Letter('t') => self.persistent = true,
            Name::Letter('v') => self.verbose = true,
            Name::Letter('x') => export.name = Some(limited("export name", value)?),
            Name::Letter('D') => export.description = Some(limited("export description", value)?),
            Name::Letter('o') => export.offset = number("offset", &string(value)?)?,
            Name::Letter('A') => export.allocation_depth = true,
            Name::Letter('B') => export.bitmaps.push(string(value)?),
            Name::Letter('f') => export.format = Some(string(value)?),
            Name::Letter('r') => export.read_only = true,
            Name::Letter('s') => export.temporary = true,
            Name::Letter('l') => export.snapshot = Some(snapshot(&string(value)?)?),
            Name::Letter('n') => self.cache(CacheMode::None)?,
            Name::Letter('L') => self.lists = true,
            Name::Letter('c') => self.device = Some(PathBuf::from(value)),
            Name::Letter('d') => self.detaches = true,
            Name::Letter(_) => {}
            Name::Long(long) => self.long_option(long, value)?,
        }
        Ok(())
    }

    fn cache(&mut self, mode: CacheMode) -> Result<()> {
        if std::mem::replace(&mut self.cache_given, true) {
            bail!("-n and --cache can only be specified once");
        }
        self.export.cache = mode;
        Ok(())
    }

    fn long_option(&mut self, long: &'static str, value: &OsString) -> Result<()> {
        let text = string(value)?;
        let export = &mut self.export;
        match long {
            "handshake-limit" => {
                let seconds = text.parse().map_err(|_| anyhow!("Invalid handshake limit '{text}'"))?;
                self.handshake_seconds = seconds;
            }
            "object" => {
                if let Some(help) = libimage::spec::object_help(&text) {
                    return Err(crate::arguments::Help(help).into());
                }
                self.objects.add(&text)?;
            }
            "fork" => self.fork = true,
            "pid-file" => self.pid_file = Some(PathBuf::from(value)),
            "cache" => {
                let mode = CacheMode::by_name(&text).ok_or_else(|| anyhow!("Invalid cache mode `{text}'"))?;
                self.cache(mode)?;
            }
            "aio" => {
                if std::mem::replace(&mut self.aio_given, true) {
                    bail!("--aio can only be specified once");
                }
                if !["native", "io_uring", "threads"].contains(&text.as_str()) {
                    bail!("Invalid aio mode '{text}'");
                }
            }
            "discard" => {
                if std::mem::replace(&mut self.discard_given, true) {
                    bail!("--discard can only be specified once");
                }
                if !["ignore", "off", "unmap", "on"].contains(&text.as_str()) {
                    bail!("Invalid discard mode `{text}'");
                }
                export.discard = Some(text);
            }
            "detect-zeroes" => {
                if !["off", "on", "unmap"].contains(&text.as_str()) {
                    bail!("Failed to parse detect_zeroes mode: invalid parameter value: {text}");
                }
                let unmaps = matches!(export.discard.as_deref(), Some("unmap" | "on"));
                if text == "unmap" && !unmaps {
                    bail!(
                        "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap"
                    );
                }
                export.detect_zeroes = Some(text);
            }
            "image-opts" => export.image_opts = true,
            "partition" => {
                let number = text.parse().ok().filter(|&number| number > 0);
                export.partition = Some(number.ok_or_else(|| anyhow!("Invalid partition number '{text}'"))?);
            }
            "filter" if text == "list" => {
                return Err(crate::arguments::Help(libimage::filter::named::help()).into());
            }
            "filter" => export.filters.push(text),
            "resizable" => export.resizable = true,
            "vsock" => self.vsock = true,
            "inetd" => self.inetd = true,
            "exit-last" => self.persistent = false,
            "run" => self.run = Some(text),
            "config" => self.config = Some(PathBuf::from(value)),
            "tls" => {
                if !["off", "on", "require"].contains(&text.as_str()) {
                    bail!("--tls takes off, on or require, not '{text}'");
                }
                self.tls.mode = Some(text);
            }
            "tls-creds" => self.tls.object = Some(text),
            "tls-hostname" => self.hostname = Some(text),
            "tls-authz" => self.authorization = Some(text),
            "selinux-label" => bail!("Labels of SELinux are not supported"),
            "tls-certificates" => self.tls.certificates = Some(PathBuf::from(value)),
            "tls-psk" => self.tls.psk = Some(PathBuf::from(value)),
            "tls-verify-peer" => self.tls.verify_peer = true,
            "oldstyle" => self.oldstyle = true,
            "no-structured-replies" => self.simple_replies = true,
            "ip" => self.ip.push(text),
            // All others have letters.
            _ => {}
        }
        Ok(())
    }

    fn finish(self, files: Vec<OsString>) -> Result<Request> {
        if self.export.image_opts && self.export.format.is_some() {
            bail!("--image-opts and -f are mutually exclusive");
        }
        self.check_tls()?;
        if self.lists {
            return self.list(&files);
        }
        if self.detaches {
            let [device] = &files[..] else {
                return Err(Usage::error(&COMMAND, "Invalid number of arguments"));
            };
            return Ok(Request::Detach(PathBuf::from(device)));
        }
        let (exports, places) = self.exports(files)?;
        let places = if places.is_empty() { self.places()? } else { places };
        let plan = Plan {
            exports,
            places,
            device: self.device,
            inetd: self.inetd,
            shared: self.shared,
            persistent: self.persistent,
            fork: self.fork,
            pid_file: self.pid_file,
            handshake_seconds: self.handshake_seconds,
            verbose: self.verbose,
            oldstyle: self.oldstyle,
            simple_replies: self.simple_replies,
            run: self.run,
            tls: self.tls,
            ip: self.ip,
        };
        Ok(Request::Serve(Box::new(plan), self.objects))
    }

    fn check_tls(&self) -> Result<()> {
        for (given, name) in
            [(self.hostname.is_some(), "--tls-hostname"), (self.authorization.is_some(), "--tls-authz")]
        {
            if given && self.tls.object.is_none() {
                bail!("{name} is not permitted without --tls-creds");
            }
        }
        if self.hostname.is_some() && !self.lists {
            bail!("TLS hostname is only supported with export list");
        }
        if self.authorization.is_some() {
            bail!("--tls-authz is not supported: --ip and certificates decide who may come");
        }
        if self.tls.is_on() && self.device.is_some() {
            bail!("TLS is not supported with a host device");
        }
        Ok(())
    }

    fn list(&self, files: &[OsString]) -> Result<Request> {
        let export = &self.export;
        if !files.is_empty() {
            bail!("List mode is incompatible with a file name");
        }
        let of_a_device = export.name.is_some()
            || export.description.is_some()
            || export.offset > 0
            || export.format.is_some()
            || export.snapshot.is_some()
            || export.allocation_depth
            || !export.bitmaps.is_empty()
            || self.device.is_some()
            || self.detaches
            || self.cache_given
            || self.aio_given
            || self.discard_given;
        if of_a_device {
            bail!("List mode is incompatible with per-device settings");
        }
        if self.fork {
            bail!("List mode is incompatible with forking");
        }
        let host = self.bind.as_deref().unwrap_or(if is_qemu() { "0.0.0.0" } else { "localhost" });
        let port = self.port.as_deref().unwrap_or("10809");
        let target = list::target(self.socket.as_deref(), host, port)?;
        let Some(id) = &self.tls.object else { return Ok(Request::List(target, None)) };
        let could_not = |error| anyhow!("Failed to get TLS creds: {error}");
        let credentials = self.objects.tls(id).map_err(could_not)?;
        if credentials.is_server() {
            bail!("Failed to get TLS creds: Expected TLS credentials for a client endpoint");
        }
        let client = credentials.client(self.hostname.as_deref(), &target).map_err(could_not)?;
        Ok(Request::List(target, Some(client)))
    }

    /// What is served, and where, as far as a file says that.
    fn exports(&self, files: Vec<OsString>) -> Result<(Vec<ExportPlan>, Vec<Place>)> {
        let several = files.len() > 1;
        match &self.config {
            Some(_) if !files.is_empty() => bail!("Either files or --config can be served, not both"),
            Some(config) => return config::read(config, &self.export),
            None if files.is_empty() || several && is_qemu() => {
                return Err(Usage::error(&COMMAND, "Invalid number of arguments"));
            }
            None if several && self.export.name.is_some() => {
                bail!("A name is for one export; several have the names of their files")
            }
            None => {}
        }
        let export = |image: OsString| {
            let file = Path::new(&image).file_name().map(|name| name.to_string_lossy().into_owned());
            let name = if several { file } else { self.export.name.clone() };
            ExportPlan { name, image, ..self.export.clone() }
        };
        Ok((files.into_iter().map(export).collect(), Vec::new()))
    }

    fn places(&self) -> Result<Vec<Place>> {
        if let Some(count) = passed()? {
            for (given, what) in [
                (self.port.is_some() || self.bind.is_some(), "a TCP address"),
                (self.socket.is_some(), "a Unix socket path"),
            ] {
                if given {
                    bail!("Cannot use both socket activation and {what}");
                }
            }
            return Ok(vec![Place::Passed(count)]);
        }
        if self.inetd {
            return Ok(Vec::new());
        }
        let port = || self.port.clone().unwrap_or_else(|| "10809".to_owned());
        if self.vsock {
            let number = port();
            let port = number.parse().map_err(|_| anyhow!("Invalid vsock port '{number}'"))?;
            return Ok(vec![Place::Vsock { cid: u32::MAX, port }]);
        }
        let anywhere = self.socket.is_none() && self.port.is_none() && self.bind.is_none();
        if self.run.is_some() && anywhere && !self.vsock {
            return Ok(vec![Place::Private]);
        }
        if let Some(path) = &self.socket {
            return Ok(vec![Place::Unix(std::path::absolute(path)?)]);
        }
        let everywhere = if is_qemu() { "0.0.0.0" } else { "localhost" };
        let host = self.bind.clone().unwrap_or_else(|| everywhere.to_owned());
        Ok(vec![Place::Tcp { host, port: port() }])
    }
}

/// A text that clients get.
fn limited(what: &str, value: &OsString) -> Result<String> {
    let text = string(value)?;
    if text.len() > MAX_STRING {
        bail!("{what} '{text}' too long");
    }
    Ok(text)
}

/// A number of bytes without any suffix.
fn number(what: &str, text: &str) -> Result<u64> {
    let digits = text.trim_start();
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.strip_prefix('+').unwrap_or(digits)),
    };
    let parsed = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16),
        None if digits.len() > 1 && digits.starts_with('0') => u64::from_str_radix(digits, 8),
        None => digits.parse(),
    };
    match parsed {
        Ok(number) if !negative && i64::try_from(number).is_ok() => Ok(number),
        Ok(_) => bail!("Value '{text}' is out of range for parameter '{what}'"),
        Err(_) => bail!("Invalid {what} '{text}'"),
    }
}

/// What `-l` names.
fn snapshot(text: &str) -> Result<String> {
    let Some(list) = text.strip_prefix("snapshot.") else { return Ok(text.to_owned()) };
    let mut chosen = None;
    for part in format!("snapshot.{list}").split(',') {
        match part.split_once('=') {
            Some(("snapshot.id" | "snapshot.name", value)) => chosen = Some(value.to_owned()),
            _ => bail!("Failed to load snapshot: '{part}' does not name one"),
        }
    }
    chosen.ok_or_else(|| anyhow!("Failed to load snapshot: '{text}' does not name one"))
}
