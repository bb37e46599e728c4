//! The command line of `nbd serve` and of `qemu-nbd`.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use cli::getopt::{Name, Opt, opt, ours};
use libimage::open::CacheMode;
use libimage::spec::Objects;

use super::COMMAND;
use super::plan::{ExportPlan, TlsPlan};
use super::request::Request;
use crate::arguments::{HELP, VERSION, Words, string};

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
    opt(
        '\0',
        "tls-authz",
        "ID",
        "the object (authz-simple, authz-list, authz-list-file) that says whose certificates are accepted",
    ),
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

/// What was read so far.
pub(super) struct Reading {
    pub(super) export: ExportPlan,
    pub(super) objects: Objects,
    pub(super) bind: Option<String>,
    pub(super) port: Option<String>,
    pub(super) socket: Option<PathBuf>,
    pub(super) vsock: bool,
    pub(super) inetd: bool,
    pub(super) shared: Option<usize>,
    pub(super) persistent: bool,
    pub(super) fork: bool,
    pub(super) pid_file: Option<PathBuf>,
    pub(super) handshake_seconds: u64,
    pub(super) verbose: bool,
    pub(super) cache_given: bool,
    pub(super) aio_given: bool,
    pub(super) discard_given: bool,
    pub(super) lists: bool,
    pub(super) hostname: Option<String>,
    pub(super) oldstyle: bool,
    pub(super) simple_replies: bool,
    pub(super) run: Option<String>,
    pub(super) config: Option<PathBuf>,
    pub(super) tls: TlsPlan,
    pub(super) ip: Vec<String>,
    pub(super) device: Option<PathBuf>,
    pub(super) detaches: bool,
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
                    return Err(cli::error::Help(help).into());
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
                export.native_aio = text == "native";
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
                return Err(cli::error::Help(libimage::filter::named::help()).into());
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
            "tls-authz" => self.tls.authorization = Some(text),
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
            _ => {
                let key = part.split('=').next().unwrap_or_default();
                let program = cli::program();
                bail!("Invalid parameter '{key}'\n{program}: Failed in parsing snapshot param `{text}'")
            }
        }
    }
    chosen.ok_or_else(|| anyhow!("Failed to load snapshot: '{text}' does not name one"))
}
