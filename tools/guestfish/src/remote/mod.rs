//! One guestfish that serves the commands of others, over a socket that only its user can reach.
//!
//! `--listen` leaves a server behind; `--remote` sends it commands together with the client's own standard
//! input, output and error, so that it works as if it had been started there.

mod client;
mod frame;
mod server;

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

pub(crate) use client::Client;
pub(crate) use server::{announce, is_server, serve};

/// A command to run.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    /// Client and server must be of one version.
    version: String,
    /// The command and its arguments, as bytes.
    words: Vec<Vec<u8>>,
    /// The text of its here document.
    text: Option<String>,
    /// A failure does not end the server.
    ignore_errors: bool,
}

/// What became of it.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
enum Reply {
    Done,
    Failed,
    /// The server has ended, as it was told to.
    Quit,
    /// Client and server do not fit.
    Version(String),
}

/// Where the server with this number listens.
///
/// # Errors
/// When the directory belongs to somebody else.
fn socket_path(pid: u32) -> Result<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    let base = runtime.map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    let directory = base.join(format!(".guestfish-{user}"));
    let made = DirBuilder::new().mode(0o700).create(&directory);
    if let Err(error) = made
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(error).with_context(|| directory.display().to_string());
    }
    let found = fs::symlink_metadata(&directory).with_context(|| directory.display().to_string())?;
    if !found.is_dir() || found.uid() != user || found.permissions().mode() & 0o077 != 0 {
        bail!("{}: it is not a directory that only this user can enter", directory.display());
    }
    Ok(directory.join(format!("socket-{pid}")))
}
