//! `--run`: a command that lives with the server, and knows from variables where it is.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus};

use anyhow::{Context as _, Result};
use nbd_protocol::client::Target;
use nbd_protocol::uri;

use super::listen::Listener;

/// Starts `command` in a shell. `$uri` and `$nbd` name the server, `$unixsocket`, `$port` and `$exportname` its parts.
///
/// # Errors
/// When there is no shell.
pub(super) fn start(
    command: &str,
    listener: Option<&Listener>,
    export: &str,
    encrypted: bool,
) -> Result<Child> {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).env("exportname", export);
    shell.env("tls", if encrypted { "1" } else { "" });
    let (mut address, mut socket, mut port) = (String::new(), String::new(), String::new());
    if let Some(target) = listener.and_then(|listener| listener.target.as_ref()) {
        address = uri::format(target, export, encrypted);
        match target {
            Target::Unix(path) => socket = path.display().to_string(),
            Target::Tcp { port: number, .. } => port = number.to_string(),
            _ => {}
        }
    }
    shell.env("uri", &address).env("nbd", &address).env("unixsocket", socket).env("port", port);
    shell.spawn().context("Could not run the command")
}

/// How the command ended, as a shell tells it.
pub(super) fn code(status: ExitStatus) -> ExitCode {
    let number = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(number).unwrap_or(1))
}
