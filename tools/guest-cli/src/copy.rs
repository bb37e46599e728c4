//! Files and whole directories from a guest to the host.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, anyhow, bail};
use guestd_api::actions::archive::TarOutOptions;
use guestd_api::actions::files::{IsDirOptions, IsFileOptions};
use guestd_api::prelude::*;

/// Copies a file or a directory, with all that is in it, into a directory of the host. `tar` is how that program
/// of the host is run.
///
/// # Errors
/// When it is neither, cannot be read, or cannot be written.
pub fn copy_out(
    guest: &dyn Actions,
    remote: &GuestString,
    directory: &Path,
    tar: impl FnOnce() -> Command,
) -> Result<()> {
    let path = remote.as_bytes();
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let slash = path
        .iter()
        .rposition(|&b| b == b'/')
        .or_else(|| (path.is_empty() && remote == "/").then_some(0))
        .ok_or_else(|| anyhow!("copy-out: '{remote}' is not an absolute path"))?;
    let name = GuestString::from(path.get(slash + 1..).unwrap_or_default());
    let target = directory.join(Path::new(name.as_os_str()));
    if guest.is_file(remote.clone(), IsFileOptions::default().followsymlinks(true))? {
        let mut file = File::create(&target).with_context(|| target.display().to_string())?;
        return Ok(guest.download(remote.clone(), &mut file)?);
    }
    let below = GuestString::from(if path.is_empty() { &b"/"[..] } else { path });
    if !guest.is_dir(below.clone(), IsDirOptions::default().followsymlinks(true))? {
        bail!("‘{remote}’ is not a file or directory");
    }
    std::fs::create_dir_all(&target).with_context(|| target.display().to_string())?;
    let mut tar = tar();
    tar.arg("-C").arg(&target).args(["-xf", "-"]).stdin(Stdio::piped());
    let mut tar = tar.spawn().context("tar")?;
    let done = match tar.stdin.take() {
        Some(mut archive) => {
            // The two sides change less often. Where that is not allowed it is slower and nothing else.
            let _ = rustix::pipe::fcntl_setpipe_size(&archive, 1 << 20);
            guest.tar_out(below, &mut archive, TarOutOptions::default())
        }
        None => Ok(()),
    };
    let status = tar.wait()?;
    done?;
    if !status.success() {
        bail!("copy-out: tar failed: {status}");
    }
    Ok(())
}
