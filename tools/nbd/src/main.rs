//! `nbd`: serves block devices over the network, copies and inspects them, and attaches them to this machine.
//!
//! Under the names of the programs that people know (`qemu-nbd`, `nbdcopy`, `nbdinfo`, `nbddump`, `nbdfuse`) it is one
//! of its commands, in that program's dialect.

mod ansi;
mod arguments;
mod attach;
mod copy;
mod descriptor;
mod dump;
mod fuse;
mod info;
mod man;
mod origin;
mod serve;
mod source;
mod top;
mod ublk;

use std::io::Write as _;
use std::process::ExitCode;

use arguments::{Command, Usage};

/// All commands, in the order in which help lists them.
const COMMANDS: &[Command] = &[
    attach::COMMAND,
    attach::DETACH,
    copy::COMMAND,
    dump::COMMAND,
    fuse::COMMAND,
    fuse::IMAGE,
    info::COMMAND,
    man::COMMAND,
    serve::COMMAND,
    top::COMMAND,
];

fn main() -> ExitCode {
    let error = match cli::error::settled(arguments::run(COMMANDS)) {
        Ok(code) => return code,
        Err(error) => error,
    };
    let message = match error.downcast_ref::<Usage>() {
        Some(usage) => usage.to_string(),
        None => format!("{}: {}", cli::program(), cli::error::full_chain(&error)),
    };
    // Nobody listens: that does not make it worse.
    let _ = writeln!(std::io::stderr(), "{message}");
    ExitCode::FAILURE
}
