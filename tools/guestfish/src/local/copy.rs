//! `copy-in` and `copy-out`: trees between host and guest, as streams of tar.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, anyhow, bail};
use guestd_api::GuestString;
use guestd_api::actions::archive::{TarInOptions, TarOutOptions};
use guestd_api::actions::files::{IsDirOptions, IsFileOptions};
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
    let guest = &session.guest;
    for remote in remotes {
        let path = remote.as_bytes();
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let slash = path
            .iter()
            .rposition(|&b| b == b'/')
            .or_else(|| (path.is_empty() && remote == "/").then_some(0))
            .ok_or_else(|| anyhow!("copy-out: '{remote}' is not an absolute path"))?;
        let name = GuestString::from(path.get(slash + 1..).unwrap_or_default());
        if guest.is_file(remote.clone(), IsFileOptions::default().followsymlinks(true))? {
            let target = directory.join(Path::new(name.as_os_str()));
            let mut file = fs::File::create(&target).with_context(|| target.display().to_string())?;
            guest.download(remote.clone(), &mut file)?;
            continue;
        }
        let below = GuestString::from(if path.is_empty() { &b"/"[..] } else { path });
        if !guest.is_dir(below.clone(), IsDirOptions::default().followsymlinks(true))? {
            bail!("‘{remote}’ is not a file or directory");
        }
        let target = directory.join(Path::new(name.as_os_str()));
        fs::create_dir_all(&target).with_context(|| target.display().to_string())?;
        let mut tar = command("tar")
            .arg("-C")
            .arg(&target)
            .args(["-xf", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .context("tar")?;
        let done = match tar.stdin.take() {
            Some(mut archive) => {
                widen(&archive);
                guest.tar_out(below, &mut archive, TarOutOptions::default())
            }
            None => Ok(()),
        };
        let status = tar.wait()?;
        done?;
        if !status.success() {
            bail!("copy-out: tar failed: {status}");
        }
    }
    Ok(Flow::Go)
}
