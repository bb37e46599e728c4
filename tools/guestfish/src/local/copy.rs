//! `copy-in` and `copy-out`: trees between host and guest, as streams of tar.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, anyhow, bail};
use guestd_api::GuestString;
use guestd_api::actions::archive::TarInOptions;
use guestd_api::actions::files::IsDirOptions;
use guestd_api::prelude::*;

use super::Flow;
use crate::environment::command;
use crate::session::Session;
use crate::shell::{Shell, Usage};

/// Streams a tar archive of the host's files into the guest.
pub(super) fn copy_in(
    _: &mut Shell,
    session: &mut Session,
    words: &[GuestString],
    _: &mut dyn Write,
) -> Result<Flow> {
    let Some((remote, locals)) = words.split_last().filter(|(_, l)| !l.is_empty()) else {
        let text = "use 'copy-in <local> [<local>...] <remotedir>' to copy files into the image";
        return Err(Usage(text.to_owned()).into());
    };
    let mut sources = Vec::new();
    for local in locals {
        let found = fs::canonicalize(Path::new(local.as_os_str()));
        sources.push(found.map_err(|_| anyhow!("source ‘{local}’ does not exist (or cannot be read)"))?);
    }
    let guest = &session.guest;
    if !guest.is_dir(remote.clone(), IsDirOptions::default().followsymlinks(true))? {
        bail!("target ‘{remote}’ is not a directory");
    }
    for path in sources {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            bail!("{}: cannot be copied", path.display())
        };
        let mut tar = command("tar")
            .arg("-C")
            .arg(parent)
            .env("TAR_OPTIONS", record_size())
            .args(["-cf", "-", "--"])
            .arg(name)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("tar")?;
        let done = match tar.stdout.take() {
            Some(mut archive) => {
                widen(&archive);
                guest.tar_in(&mut archive, remote.clone(), TarInOptions::default())
            }
            None => Ok(()),
        };
        let status = tar.wait()?;
        done?;
        if !status.success() {
            bail!("copy-in: tar failed on '{}': {status}", path.display());
        }
    }
    Ok(Flow::Go)
}

/// Has GNU tar write a quarter of the pipe at a time. Others do not look at this variable, and may not know the option.
fn record_size() -> OsString {
    let mut options = std::env::var_os("TAR_OPTIONS").unwrap_or_default();
    options.push(" --blocking-factor=512");
    options
}

/// Makes a pipe hold more, so that the two sides change less often. Where that is not allowed it is slower and
/// nothing else.
fn widen(pipe: impl AsFd) {
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, 1 << 20);
}

/// Streams a tar archive of the guest's files to the host.
pub(super) fn copy_out(
    _: &mut Shell,
    session: &mut Session,
    words: &[GuestString],
    _: &mut dyn Write,
) -> Result<Flow> {
    let Some((local, remotes)) = words.split_last().filter(|(_, r)| !r.is_empty()) else {
        let text = "use 'copy-out <remote> [<remote>...] <localdir>' to copy files out of the image";
        return Err(Usage(text.to_owned()).into());
    };
    let directory = PathBuf::from(local.as_os_str());
    if !directory.is_dir() {
        bail!("target ‘{local}’ is not a directory");
    }
    for remote in remotes {
        guest_cli::copy::copy_out(&session.guest, remote, &directory, || command("tar"))?;
    }
    Ok(Flow::Go)
}
