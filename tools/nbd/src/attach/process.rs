//! The process behind a device, and how it goes off in good order.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use cli::signals::Ends;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::device::Device;

/// How often a wait looks around.
const LOOK: Duration = Duration::from_millis(100);
/// Longest wait for a process to write what it still has.
const LAST_WRITES: Timespec = Timespec { tv_sec: 120, tv_nsec: 0 };

/// A process of this program that serves a device.
pub(crate) struct Server(OwnedFd);

impl Server {
    /// The process of that number, if it is one of this program.
    pub(crate) fn find(number: i32) -> Option<Self> {
        let pid = Pid::from_raw(number)?;
        // From here on the number cannot become another's.
        let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let program = |pid: &str| std::fs::read_link(format!("/proc/{pid}/exe"));
        let is_ours = number > 0 && program(&number.to_string()).ok()? == program("self").ok()?;
        is_ours.then_some(Server(process))
    }

    /// Waits until it has ended: everything is written then, and the image is free.
    ///
    /// # Errors
    /// When that takes too long.
    pub(crate) fn wait(self) -> Result<()> {
        let polled = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&LAST_WRITES));
        if polled.context("Could not wait for the process behind a device")? == 0 {
            bail!("The process behind the device has not ended: it may still write to the image");
        }
        Ok(())
    }
}

/// Makes sure that nobody uses a device, unless that does not matter, and writes what the kernel still has of it. Nobody
/// can begin to use it as long as the result is there.
///
/// # Errors
/// When somebody uses it, or it cannot be written.
pub(crate) fn claim(device: &Device, force: bool) -> Result<Option<File>> {
    let name = device.path();
    let file = match device.claim() {
        Ok(file) => file,
        Err(_) if force => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            bail!(
                "'{}' is in use: unmount what is mounted from it, or detach it with --force",
                name.display()
            )
        }
        Err(error) => return Err(error).with_context(|| format!("Could not open '{}'", name.display())),
    };
    let written = if device.is_read_only() { Ok(()) } else { file.sync_all() };
    match written {
        Err(error) if !force => Err(error).with_context(|| {
            format!("Could not write what the kernel still has of '{}' (--force drops it)", name.display())
        }),
        _ => Ok(Some(file)),
    }
}

/// Stays until `is_over`, which waits as long as that, says so. A signal detaches the device if nobody uses it; a second
/// one detaches it anyway.
///
/// # Errors
/// When `stop`, which detaches it, fails.
pub(crate) fn stay(
    mut is_over: impl FnMut(Duration) -> bool,
    device: &Device,
    ends: &Ends,
    mut stop: impl FnMut() -> Result<()>,
) -> Result<()> {
    let mut heard = 0;
    while !is_over(LOOK) {
        let count = ends.count();
        if count == heard {
            continue;
        }
        heard = count;
        match claim(device, count > 1) {
            Ok(claimed) => {
                stop()?;
                drop(claimed);
            }
            Err(error) => eprintln!("{}: {error:#}; another signal does so too", cli::program()),
        }
    }
    Ok(())
}

/// Whether all who held the other end have gone; waits for that so long.
pub(crate) fn all_gone(over: &Receiver<Infallible>, patience: Duration) -> bool {
    matches!(over.recv_timeout(patience), Err(RecvTimeoutError::Disconnected))
}

/// Loads a module of the kernel, where that is possible. Whether it was is seen by what comes next.
pub(crate) fn load_module(name: &str) {
    let mut modprobe = Command::new("modprobe");
    modprobe.args(["-q", name]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _ = modprobe.status();
}

/// The error of a process without the rights.
pub(crate) fn explain(error: io::Error, what: &str) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied => anyhow!("{what}: only root may"),
        _ => anyhow!(error).context(what.to_owned()),
    }
}
