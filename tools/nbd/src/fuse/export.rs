//! `nbd fuse`: an export of a server as a file, with nbdfuse's words.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command as Process, ExitCode, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use cli::getopt::{Name, Opt, opt, ours};
use fuse::options::MountOptions;
use libimage::Block;
use libimage::storage::{Nbd, NbdOptions};
use nbd_protocol::client::{Server, Target, Wishes, negotiate, security};
use nbd_protocol::stream::Stream;
use nbd_protocol::uri::{self, UriError};
use nbd_protocol::wire::DEFAULT_PORT;

use super::Show;
use cli::error::Help;

use crate::arguments::{Command, HELP, Usage, VERSION, Words, string};
use crate::descriptor;

/// Threads that answer the kernel: servers are far away, and each waits for one answer.
const THREADS: usize = 16;
/// Connections where nothing is said.
const CONNECTIONS: usize = 4;
/// Everybody who gets there may use it.
const MODE: u32 = 0o666;

/// `nbd fuse`
pub(crate) const COMMAND: Command = Command {
    name: "fuse",
    peer: "nbdfuse",
    about: "Show an export as a file",
    operands: "MOUNTPOINT[/FILENAME] URI\nMOUNTPOINT[/FILENAME] [ CMD [ARGS ...] ]\n\
               MOUNTPOINT[/FILENAME] --command CMD [ARGS ...]\nMOUNTPOINT[/FILENAME] --fd N\n\
               MOUNTPOINT[/FILENAME] --tcp HOST PORT\nMOUNTPOINT[/FILENAME] --unix SOCKET\n\
               MOUNTPOINT[/FILENAME] --vsock CID PORT",
    options: OPTIONS,
    operands_last: true,
    run,
};

const OPTIONS: &[Opt] = &[
    opt('C', "connections", "N", "connections to a server that allows several (default: 4)"),
    opt('d', "", "", "the same as -v"),
    opt('o', "", "OPTIONS", "options of the mount: allow_other, kernel_cache, uid=N, gid=N, umask=M, ..."),
    opt('P', "pidfile", "FILE", "write the number of the process when the file can be used"),
    opt('\0', "pid-file", "FILE", ""),
    opt('r', "readonly", "", "nothing can be written"),
    opt('\0', "read-only", "", ""),
    opt('s', "", "", "answer one request at a time"),
    opt('v', "verbose", "", "tell what is connected to"),
    opt('\0', "fuse-help", "", "show the options of the mount"),
    ours("fork", "", "go to the background when the file can be used"),
    HELP,
    VERSION,
];

/// The options of a mount, for `--fuse-help`.
const FUSE_HELP: &str = "\
FUSE options:
    -o ro                  nothing can be written
    -o kernel_cache        what was read stays valid when the file is opened again
    -o allow_other         allow access by all users
    -o allow_root          allow access by root
    -o umask=M             set file permissions (octal)
    -o uid=N               set file owner
    -o gid=N               set file group
    -o fsname=NAME         what the list of mounts shows as the source
    -o subtype=NAME        what it shows after 'fuse.'
";

/// Where the export is.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Uri(String),
    /// A server that gets a listening socket.
    Activated(Vec<OsString>),
    /// A server that speaks on its standard input and output.
    Standard(Vec<OsString>),
    /// A connected socket.
    Descriptor(i32),
    At(Target),
}

impl Place {
    /// Understands what follows the mount point. `None` if it is not complete.
    fn read(words: &[OsString]) -> Result<Option<Self>> {
        let Some((first, rest)) = words.split_first() else { return Ok(None) };
        let one = || match rest {
            [value] => string(value).map(Some),
            _ => Ok(None),
        };
        let number = |text: &str| {
            text.parse::<u32>().map_err(|_| anyhow!("'{text}' is not a number that can stand there"))
        };
        let command = |words: &[OsString]| (!words.is_empty()).then(|| words.to_vec());
        Ok(match string(first)?.as_str() {
            "[" => match rest {
                [inside @ .., close] if close == "]" => command(inside).map(Place::Activated),
                _ => None,
            },
            "--socket-activation" | "--systemd-socket-activation" => command(rest).map(Place::Activated),
            "--command" | "--cmd" => command(rest).map(Place::Standard),
            "--fd" => one()?.map(|text| descriptor_of(&text)).transpose()?.map(Place::Descriptor),
            "--unix" => match rest {
                [path] => Some(Place::At(Target::Unix(path.into()))),
                _ => None,
            },
            "--tcp" => match rest {
                [host, port] => {
                    let port = string(port)?;
                    let port = if port == "nbd" { DEFAULT_PORT } else { u16::try_from(number(&port)?)? };
                    Some(Place::At(Target::Tcp { host: string(host)?, port }))
                }
                _ => None,
            },
            "--vsock" => match rest {
                [cid, port] => Some(Place::At(Target::Vsock {
                    cid: number(&string(cid)?)?,
                    port: number(&string(port)?)?,
                })),
                _ => None,
            },
            "--uri" => one()?.map(Place::Uri),
            unknown if unknown.starts_with('-') => {
                return Err(Usage::error(&COMMAND, format!("unknown mode: {unknown}")));
            }
            name if rest.is_empty() => Some(Place::Uri(name.to_owned())),
            _ => None,
        })
    }
}

fn descriptor_of(text: &str) -> Result<i32> {
    let number = text.parse().ok().filter(|number| *number >= 0);
    number.ok_or_else(|| anyhow!("could not parse file descriptor: {text}"))
}

/// What else was said.
struct Wanted {
    connections: usize,
    read_only: bool,
    is_verbose: bool,
}

fn run(words: Words) -> Result<ExitCode> {
    let mut wanted = Wanted { connections: CONNECTIONS, read_only: false, is_verbose: false };
    let options = MountOptions::default();
    let mut show = Show { options, mode: MODE, pid_file: None, threads: THREADS, background: false };
    let operands = words.read(|name, value| {
        match name {
            Name::Letter('C') => {
                let count = string(value)?.parse().ok().filter(|count| (1..=1024).contains(count));
                let wrong = || anyhow!("--connections parameter must be an unsigned integer >= 1");
                wanted.connections = count.ok_or_else(wrong)?;
            }
            Name::Letter('o') => show.options.add(&string(value)?).map_err(|text| anyhow!(text))?,
            Name::Letter('P') | Name::Long("pid-file") => show.pid_file = Some(value.into()),
            Name::Letter('r') | Name::Long("read-only") => wanted.read_only = true,
            Name::Letter('s') => show.threads = 1,
            Name::Letter('d' | 'v') => wanted.is_verbose = true,
            Name::Long("fuse-help") => return Err(Help(FUSE_HELP.to_owned()).into()),
            _ => show.background = true,
        }
        Ok(())
    })?;
    let incomplete = || Usage::error(&COMMAND, "expecting a mount point and where the export is");
    let Some((point, rest)) = operands.split_first() else { return Err(incomplete()) };
    let place = Place::read(rest)?.ok_or_else(incomplete)?;
    wanted.read_only |= show.options.read_only;
    show.run(point, || wanted.open(place))
}

impl Wanted {
    /// Connects to the export, and returns what has to be kept as well.
    fn open(&self, place: Place) -> Result<(Arc<dyn Block>, Option<Running>)> {
        self.tell(&place);
        let (nbd, running) = match place {
            Place::Uri(text) => {
                let named = || text.clone();
                let address = uri::parse(&text).map_err(|error| match error {
                    UriError::Form(_) if !text.contains(':') => {
                        anyhow!("'{text}' is neither a URI nor a mode")
                    }
                    error => error.into(),
                })?;
                let mut options = NbdOptions::new(address.target.clone(), &address.export, &text);
                options.tls = security(&address).with_context(named)?;
                (Nbd::open(self.options(options)).with_context(named)?, None)
            }
            Place::At(target) => {
                let name = target.to_string();
                (Nbd::open(self.options(NbdOptions::new(target, "", name)))?, None)
            }
            Place::Activated(command) => {
                let server = Server::start(&command)?;
                let options = NbdOptions::new(server.target().clone(), "", named(&command));
                (Nbd::of_server(self.options(options), Some(server))?, None)
            }
            Place::Standard(command) => {
                let (ours, theirs) = UnixStream::pair().context("Could not make a socket")?;
                let running = Running::start(&command, theirs.into())?;
                (self.over(Stream::socket(ours), named(&command))?, Some(running))
            }
            Place::Descriptor(number) => {
                let socket = descriptor::inherited(number)?;
                (self.over(Stream::socket(socket), format!("descriptor {number}"))?, None)
            }
        };
        Ok((Arc::new(nbd), running))
    }

    fn tell(&self, place: &Place) {
        if self.is_verbose {
            eprintln!("{}: connecting to {place:?}", cli::program());
        }
    }

    fn options(&self, options: NbdOptions) -> NbdOptions {
        NbdOptions {
            read_only: self.read_only,
            auto_read_only: true,
            connections: self.connections,
            ..options
        }
    }

    /// An export at the other end of the only connection.
    fn over(&self, stream: Stream, name: String) -> Result<Nbd> {
        let connection = negotiate(stream, &Wishes::new("")).with_context(|| name.clone())?;
        let options = self.options(NbdOptions::new(Target::Unix("".into()), "", name));
        Ok(Nbd::of_connection(options, connection)?)
    }
}

fn named(command: &[OsString]) -> String {
    command.first().map(|word| word.display().to_string()).unwrap_or_default()
}

/// A server that speaks on its standard input and output. When the connection is gone, it ends.
struct Running(Child);

impl Running {
    fn start(command: &[OsString], socket: OwnedFd) -> Result<Self> {
        let failed = || format!("Could not run '{}'", named(command));
        let (program, arguments) =
            command.split_first().ok_or_else(|| anyhow!("The command of a server is missing"))?;
        let output = socket.try_clone().with_context(failed)?;
        let child = Process::new(program)
            .args(arguments)
            .stdin(Stdio::from(socket))
            .stdout(Stdio::from(output))
            .spawn()
            .with_context(failed)?;
        Ok(Running(child))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !crate::attach::device::wait(|| !matches!(self.0.try_wait(), Ok(None))) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<Place> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        Place::read(&words).unwrap()
    }

    #[test]
    fn modes_are_nbdfuse_s() {
        let command = |text: &str| text.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(read("nbd://host/disk"), Some(Place::Uri("nbd://host/disk".to_owned())));
        assert_eq!(read("[ nbdkit [ x ] ]"), Some(Place::Activated(command("nbdkit [ x ]"))));
        assert_eq!(read("--command nbdkit -s null"), Some(Place::Standard(command("nbdkit -s null"))));
        assert_eq!(read("--fd 3"), Some(Place::Descriptor(3)));
        assert_eq!(read("--unix /s"), Some(Place::At(Target::Unix("/s".into()))));
        let tcp = |port| Some(Place::At(Target::Tcp { host: "h".to_owned(), port }));
        assert_eq!((read("--tcp h 7"), read("--tcp h nbd")), (tcp(7), tcp(10809)));
        assert_eq!(read("--vsock 2 7"), Some(Place::At(Target::Vsock { cid: 2, port: 7 })));
        for incomplete in
            ["", "[ nbdkit", "[ ]", "--fd", "--tcp h", "--unix a b", "nbd://h more", "--command"]
        {
            assert_eq!(read(incomplete), None, "{incomplete}");
        }
        for wrong in ["--fd x", "--fd -1", "--tcp h 70000", "--tcp h x", "--vsock a 1", "-C 3", "--nope"] {
            let words: Vec<OsString> = wrong.split_whitespace().map(OsString::from).collect();
            assert!(Place::read(&words).is_err(), "{wrong}");
        }
    }
}
