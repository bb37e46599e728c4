//! The agent: it carries out the actions of `guestd-api` inside the appliance.
//!
//! As the first process of a machine it is that machine's init (module `init`). Started with `--serve FD`
//! it serves one host on an open socket, with a directory as the guest and the machine's own tools: that is
//! how its actions are developed and tested without an appliance. The directory is then entered by chroot, so
//! this needs root as well.

mod actions;
mod agent;
mod augeas;
mod disks;
mod exchange;
mod fuse;
mod init;
mod modules;
mod network;
mod passing;
mod probe;
mod ptable;
mod run;
mod serve;
mod session;
mod sys;
mod tar;
mod task;
mod tools;
mod volumes;
mod worker;

use std::io::Write;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    if std::process::id() == 1 && std::env::args_os().len() == 1 {
        init::run();
    }
    if let Some(module) = wanted_module() {
        let loaded = modules::modprobe_for_kernel(&module);
        return if matches!(loaded, Ok(true)) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    match serve_directory() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "guestd: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The module that the kernel wants, when it runs the agent as `modprobe -q -- MODULE`.
fn wanted_module() -> Option<String> {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    match args.as_slice() {
        [quiet, end, module] if quiet == "-q" && end == "--" => module.to_str().map(str::to_owned),
        _ => None,
    }
}

const USAGE: &str =
    "usage: guestd --serve FD --sysroot DIR [--disk NODE]... [--directory-is-guest] [--exchange FILE]";

/// What `--serve` was given.
struct Options {
    fd: RawFd,
    sysroot: PathBuf,
    disks: Vec<PathBuf>,
    directory_is_guest: bool,
    exchange: Option<PathBuf>,
}

fn options() -> Option<Options> {
    let mut args = std::env::args_os().skip(1);
    let mut options = Options {
        fd: -1,
        sysroot: PathBuf::new(),
        disks: Vec::new(),
        directory_is_guest: false,
        exchange: None,
    };
    while let Some(arg) = args.next() {
        match arg.to_str()? {
            "--serve" => options.fd = args.next()?.to_str()?.parse().ok()?,
            "--sysroot" => options.sysroot = args.next()?.into(),
            "--disk" => options.disks.push(args.next()?.into()),
            "--exchange" => options.exchange = Some(args.next()?.into()),
            "--directory-is-guest" => options.directory_is_guest = true,
            _ => return None,
        }
    }
    (options.fd >= 0 && options.sysroot.is_absolute()).then_some(options)
}

fn serve_directory() -> std::io::Result<()> {
    let options = options().ok_or_else(|| std::io::Error::other(USAGE))?;
    // SAFETY: whoever started this process left the descriptor open for it; a number that is not open makes
    // the duplication fail and nothing else. It stays open for the life of the process.
    let host = unsafe { BorrowedFd::borrow_raw(options.fd) }.try_clone_to_owned()?;
    let host = UnixStream::from(host);
    let sysroot = options.sysroot.canonicalize()?;
    let disks = disks::Disks::Nodes(options.disks);
    let agent = agent::Agent::new(sysroot, tools::Tools::Own, disks, options.directory_is_guest)?;
    // The machine's disks are nobody's exchange here.
    let exchange = options.exchange.map(|path| exchange::Exchange::in_file(&path)).transpose()?;
    let _ = agent.way.set(exchange.map(Arc::new));
    serve::serve(&Arc::new(agent), host.try_clone()?, host).map(|_| ())
}
