//! The command line: what the options mean together.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use appliance_engine::launch::Choice;
use guest::How;
use guest_cli::MountSpec;
use guest_cli::keys::{Keys, Selector};

use crate::getopt::{self, Known, Value};
use crate::prepared::{self, Prepared};

/// A disk that an option asks for.
#[derive(Debug, Clone)]
pub(crate) enum Disk {
    /// A file or a URI of one, with the format and the block size that were in force.
    Add { file: String, format: Option<String>, block_size: Option<i32> },
    /// The disks of a domain.
    Domain(String),
    /// A new one.
    New(Prepared),
}

/// What the user asked for.
pub(crate) struct Options {
    pub(crate) disks: Vec<Disk>,
    pub(crate) mounts: Vec<MountSpec>,
    pub(crate) inspect: bool,
    pub(crate) read_only: bool,
    pub(crate) script: Option<PathBuf>,
    pub(crate) trace: bool,
    pub(crate) verbose: bool,
    pub(crate) network: bool,
    pub(crate) no_sync: bool,
    pub(crate) listen: bool,
    pub(crate) csh: bool,
    /// Commands go to this process.
    pub(crate) remote: Option<u32>,
    pub(crate) keys: Keys,
    pub(crate) pipe_error: bool,
    /// Complete paths in the guest.
    pub(crate) destination_paths: bool,
    pub(crate) progress_bars: Option<bool>,
    pub(crate) libvirt_uri: Option<String>,
    pub(crate) json: bool,
    pub(crate) how: How,
    pub(crate) backend: Choice,
    pub(crate) memory_mib: Option<i32>,
    pub(crate) cpus: Option<i32>,
    pub(crate) commands: Vec<OsString>,
}

impl Options {
    /// Somebody sits at a terminal and types.
    pub(crate) fn is_interactive(&self) -> bool {
        self.script.is_none() && std::io::stdin().is_terminal()
    }
}

/// What the command line asks for.
pub(crate) enum Parsed {
    Run(Box<Options>),
    Exit(ExitCode),
}

const OPTIONS: &[Known] = &[
    (Some('a'), "add", Value::Required),
    (None, "backend", Value::Required),
    (None, "blocksize", Value::Optional),
    (Some('h'), "cmd-help", Value::Optional),
    (Some('c'), "connect", Value::Required),
    (None, "csh", Value::None),
    (None, "direct", Value::Required),
    (Some('d'), "domain", Value::Required),
    (None, "echo-keys", Value::None),
    (Some('f'), "file", Value::Required),
    (None, "format", Value::Optional),
    (None, "help", Value::None),
    (Some('i'), "inspector", Value::None),
    (None, "json", Value::None),
    (None, "key", Value::Required),
    (None, "keys-from-stdin", Value::None),
    (None, "listen", Value::None),
    (None, "live", Value::None),
    (None, "memsize", Value::Required),
    (Some('m'), "mount", Value::Required),
    (None, "network", Value::None),
    (Some('N'), "new", Value::Required),
    (Some('D'), "no-dest-paths", Value::None),
    (None, "no-progress-bars", Value::None),
    (Some('n'), "no-sync", Value::None),
    (None, "pipe-error", Value::None),
    (None, "progress-bars", Value::None),
    (None, "remote", Value::Optional),
    (Some('r'), "ro", Value::None),
    (Some('w'), "rw", Value::None),
    (None, "selinux", Value::None),
    (None, "smp", Value::Required),
    (Some('x'), "trace", Value::None),
    (Some('v'), "verbose", Value::None),
    (Some('V'), "version", Value::None),
];

const HELP: &str = "guestfish: a shell for the file systems of guests

Usage:
  guestfish [OPTIONS] [COMMAND [: COMMAND ...]]

Disks:
  -a, --add FILE|URI         Add a disk image
  -d, --domain NAME|XML      Add the disks of a libvirt domain
  -N, --new [FILE=]KIND      Make a new disk image and add it ('-N help' lists the kinds)
      --format[=FORMAT]      Format of the images that follow; without a value, guess
      --blocksize[=N]        Sector size of the images that follow: 512 or 4096
  -r, --ro                   Never write to the images
  -w, --rw                   Write to the images (the default)
  -c, --connect URI          Accepted for old scripts; domains are found in libvirt's files

What is mounted:
  -i, --inspector            Find the operating system and mount its file systems
  -m, --mount DEV[:DIR[:OPTS[:TYPE]]]
                             Mount a device (on / unless said)
      --key ID:key:TEXT | ID:file:FILE | ID:clevis
                             The key of an encrypted device, a UUID, or 'all'
      --keys-from-stdin      Read keys from standard input
      --echo-keys            Show keys while they are typed

Commands:
  -f, --file SCRIPT          Read commands from a file
  -h, --cmd-help [COMMAND]   List all commands, or explain one
      --json                 Print every result as a line of JSON
      --listen               Serve commands in the background; prints how to reach it
      --csh                  With --listen: print that for csh
      --remote[=PID]         Send the commands there (to $GUESTFISH_PID)
      --pipe-error           A command of the host that does not read everything is an error
  -x                         Show every action before and after it runs

The rest:
  -D, --no-dest-paths        Do not complete paths in the guest
      --progress-bars        Show progress also when nobody sits there
      --no-progress-bars     Never show progress
      --network              Give the appliance a network
      --backend auto|kvm|uml|tcg
                             What runs the appliance
      --direct auto|only|never
                             Whether to read images without an appliance
      --memsize MIB, --smp N Memory and processors of the appliance
  -n, --no-sync              Accepted for old scripts; data is always written out
  -v, --verbose              Tell who answers and why, and what the appliance's kernel says
      --help, -V, --version

Commands are separated by a colon of their own:

  guestfish --ro -a disk.qcow2 -i ls /home : cat /etc/fstab

Without commands they are read from standard input.
";

pub(crate) fn parse() -> Parsed {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (found, rest) = match getopt::parse(OPTIONS, words) {
        Ok(parsed) => parsed,
        Err(why) => {
            eprintln!("guestfish: {why}\nTry 'guestfish --help' for more information.");
            return Parsed::Exit(ExitCode::FAILURE);
        }
    };
    let text = match found.iter().find(|(name, _)| ["help", "version", "cmd-help"].contains(name)) {
        Some(("help", _)) => Some(Ok(HELP.to_owned())),
        Some(("version", _)) => Some(Ok(format!("guestfish {}\n", env!("CARGO_PKG_VERSION")))),
        Some((_, attached)) => {
            let name = attached.clone().or_else(|| rest.first().cloned());
            Some(crate::help::about(name.map(|n| n.to_string_lossy().into_owned()).as_deref()))
        }
        None => None,
    };
    if let Some(text) = text {
        let code = match text.and_then(|text| cli::print(&text)) {
            Err(error) if !cli::error::is_broken_pipe(&error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
            _ => ExitCode::SUCCESS,
        };
        return Parsed::Exit(code);
    }
    if found.iter().any(|(name, value)| *name == "new" && value.as_ref().is_some_and(|v| v == "help")) {
        // Who does not read it does not miss it.
        let _ = cli::print(&prepared::help());
        return Parsed::Exit(ExitCode::SUCCESS);
    }
    match options(found, rest) {
        Ok(options) => Parsed::Run(Box::new(options)),
        Err(error) => {
            eprintln!("guestfish: {}", cli::error::chain(&error));
            Parsed::Exit(ExitCode::FAILURE)
        }
    }
}

/// What the options say, in their order.
fn options(found: Vec<getopt::Found>, commands: Vec<OsString>) -> Result<Options> {
    let mut options = Options {
        disks: Vec::new(),
        mounts: Vec::new(),
        inspect: false,
        read_only: crate::defaults::read_only(),
        script: None,
        trace: false,
        verbose: false,
        network: false,
        no_sync: false,
        listen: false,
        csh: false,
        remote: None,
        keys: Keys::default(),
        pipe_error: false,
        destination_paths: true,
        progress_bars: None,
        libvirt_uri: None,
        json: false,
        how: How::Auto,
        backend: Choice::Auto,
        memory_mib: None,
        cpus: None,
        commands,
    };
    let (mut format, mut block_size) = (None, None);
    // Set by a format that no image has followed yet.
    let mut unused = None;
    let mut chosen: Option<&str> = None;
    for (name, value) in found {
        let text = || -> Result<String> {
            let value = value.clone().unwrap_or_default();
            value.into_string().map_err(|v| anyhow::anyhow!("{}: it is not UTF-8", v.display()))
        };
        match name {
            "add" => {
                options.disks.push(Disk::Add { file: text()?, format: format.clone(), block_size });
                unused = None;
            }
            "domain" => {
                options.disks.push(Disk::Domain(text()?));
                unused = None;
            }
            "new" => {
                let count = options.disks.iter().filter(|disk| matches!(disk, Disk::New(_))).count();
                options.disks.push(Disk::New(Prepared::parse(&text()?, count + 1)?));
            }
            "format" => {
                format = value.is_some().then(text).transpose()?.filter(|word| !word.is_empty());
                unused = value.is_some().then_some("--format");
            }
            "blocksize" => {
                block_size = match value {
                    None => None,
                    Some(_) => {
                        let word = text()?;
                        Some(
                            word.parse()
                                .map_err(|_| anyhow::anyhow!("--blocksize: '{word}' is no number"))?,
                        )
                    }
                };
                unused = value.is_some().then_some("--blocksize");
            }
            "mount" => options.mounts.push(MountSpec::parse(&text()?)),
            "ro" | "rw" => {
                if chosen.is_some_and(|other| other != name) {
                    bail!("cannot mix --ro and --rw options");
                }
                chosen = Some(name);
                options.read_only = name == "ro";
            }
            "file" => {
                let before = options.script.replace(value.unwrap_or_default().into());
                if before.is_some() {
                    bail!("only one -f parameter can be given");
                }
            }
            "remote" => {
                let number = match value {
                    Some(_) => text()?,
                    None => std::env::var("GUESTFISH_PID").map_err(|_| {
                        anyhow::anyhow!("remote: $GUESTFISH_PID must be set to the PID of the remote process")
                    })?,
                };
                let pid = number.trim().parse().ok().filter(|pid| *pid > 0);
                let what = || anyhow::anyhow!("remote: '{number}' is not the number of a process");
                options.remote = Some(pid.ok_or_else(what)?);
            }
            "inspector" => options.inspect = true,
            "trace" => options.trace = true,
            "verbose" => options.verbose = true,
            "network" => options.network = true,
            "no-sync" => options.no_sync = true,
            "listen" => options.listen = true,
            "csh" => options.csh = true,
            "pipe-error" => options.pipe_error = true,
            "no-dest-paths" => options.destination_paths = false,
            "progress-bars" => options.progress_bars = Some(true),
            "no-progress-bars" => options.progress_bars = Some(false),
            "connect" => options.libvirt_uri = Some(text()?),
            "json" => options.json = true,
            "key" => options.keys.selectors.push(Selector::parse(&text()?)?),
            "keys-from-stdin" => options.keys.from_stdin = true,
            "echo-keys" => options.keys.echo = true,
            "live" => bail!("libguestfs live support was removed in libguestfs 1.48"),
            "direct" => options.how = text()?.parse().map_err(anyhow::Error::msg)?,
            "backend" => options.backend = text()?.parse()?,
            "memsize" => options.memory_mib = Some(number(name, &text()?)?),
            "smp" => options.cpus = Some(number(name, &text()?)?),
            _ => {}
        }
    }
    if options.backend == Choice::Auto {
        options.backend = Choice::from_environment()?;
    }
    if let Some(name) = unused {
        bail!("{name} parameter must appear before -a parameter");
    }
    if options.listen && (options.remote.is_some() || options.script.is_some()) {
        bail!("--listen cannot be used together with --remote or -f");
    }
    // How this was written long ago: the disks behind the options.
    if options.inspect && options.disks.is_empty() {
        for word in std::mem::take(&mut options.commands) {
            let word = word.into_string().map_err(|w| anyhow::anyhow!("{}: it is not UTF-8", w.display()))?;
            let is_file = word.contains('/') || std::path::Path::new(&word).exists();
            options.disks.push(match is_file {
                true => Disk::Add { file: word, format: format.clone(), block_size },
                false => Disk::Domain(word),
            });
        }
    }
    Ok(options)
}

fn number(name: &str, text: &str) -> Result<i32> {
    text.parse().map_err(|_| anyhow::anyhow!("--{name}: '{text}' is no number"))
}
