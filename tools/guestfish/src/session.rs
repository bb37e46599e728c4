//! What a session knows: its disks, and the guest once it was launched.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, anyhow, bail};
use guest::{Drive, Guest};
use guest_cli::{DriveSpec, MountSpec, Service, mount_system};
use guestd_api::CancelToken;

use crate::options::Options;

/// The state of a session.
pub(crate) struct Session {
    drives: Vec<Drive>,
    guest: Option<Guest>,
    service: Service,
    /// Show every command before it runs.
    pub(crate) trace: bool,
    /// What Ctrl-C ends: the action that runs now.
    current: Arc<Mutex<Option<CancelToken>>>,
}

impl Session {
    pub(crate) fn new(options: &Options) -> Self {
        Session {
            drives: Vec::new(),
            guest: None,
            service: options.guest.service,
            trace: options.trace,
            current: Arc::default(),
        }
    }

    /// Adds a disk; only possible before the launch.
    pub(crate) fn add_drive(&mut self, spec: &DriveSpec, read_only: bool) -> Result<()> {
        if self.guest.is_some() {
            bail!("drives must be added before 'run'");
        }
        let drive = spec.open(read_only)?;
        if drive.is_risky_guess() {
            eprintln!(
                "guestfish: warning: the format of '{}' was not given, and raw was guessed. Writes that would make it another format are refused; --format=raw allows them.",
                spec.file
            );
        }
        self.drives.push(drive);
        Ok(())
    }

    /// Makes the guest available. Read-only guests may never need an appliance, so none boots yet.
    pub(crate) fn launch(&mut self) -> Result<()> {
        if self.guest.is_some() {
            return Ok(());
        }
        if self.drives.is_empty() {
            bail!("you must call 'add-drive' before 'run'");
        }
        self.guest = Some(Guest::new(std::mem::take(&mut self.drives), self.service.settings("guestfish")));
        Ok(())
    }

    /// The guest, once launched.
    pub(crate) fn guest(&self) -> Result<&Guest> {
        self.guest.as_ref().ok_or_else(|| {
            anyhow!("call launch before using this function\n(in guestfish, don't forget to use the 'run' command)")
        })
    }

    /// Mounts what an option `-m` names.
    pub(crate) fn mount(&self, mount: &MountSpec, read_only: bool) -> Result<()> {
        mount.mount(self.guest()?, read_only)
    }

    /// Finds the operating system and mounts it.
    pub(crate) fn inspect(&self, read_only: bool, show: bool) -> Result<()> {
        let system = mount_system(self.guest()?, read_only, "guestfish")?;
        if show {
            println!("Operating system: {}", system.product_name.as_deref().unwrap_or("unknown"));
            for (point, device) in &system.mountpoints {
                println!("{device} mounted on {point}");
            }
        }
        Ok(())
    }

    /// Ends the guest; everything written is on its disks then.
    pub(crate) fn shut_down(&mut self) -> Result<()> {
        match self.guest.take() {
            Some(guest) => Ok(guest.shut_down()?),
            None => Ok(()),
        }
    }

    /// A token for the action that is about to run.
    pub(crate) fn begin(&self) -> CancelToken {
        let token = CancelToken::new();
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        token
    }

    /// No action runs any more.
    pub(crate) fn end(&self) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Something that ends the action that runs when it is called; false when none does.
    pub(crate) fn canceller(&self) -> impl Fn() -> bool + Send + 'static {
        let current = Arc::clone(&self.current);
        move || match &*current.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(token) => {
                token.cancel();
                true
            }
            None => false,
        }
    }
}
