//! What a session knows: its disks, and the guest once it was launched.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, anyhow, bail};
use guest::{Drive, Guest};
use guest_cli::{DriveSpec, MountSpec, Service, mount_system};
use guestd_api::{Actions, Call, CancelToken, Context, Value};

use crate::options::Options;

/// The state of a session.
pub(crate) struct Session {
    drives: Vec<Drive>,
    guest: Option<Guest>,
    service: Service,
    /// Show every command before it runs.
    pub(crate) trace: bool,
    interrupt: Arc<Interrupt>,
}

/// What Ctrl-C does.
#[derive(Default)]
struct Interrupt {
    /// The action that runs now, which it ends.
    current: Mutex<Option<CancelToken>>,
    /// It was pressed.
    pressed: AtomicBool,
}

impl Interrupt {
    fn current(&self) -> std::sync::MutexGuard<'_, Option<CancelToken>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The guest, with every action such that Ctrl-C ends it.
pub(crate) struct Interruptible<'s> {
    guest: &'s Guest,
    interrupt: &'s Interrupt,
}

impl Actions for Interruptible<'_> {
    fn call(&self, call: &Call, context: &mut Context<'_>) -> guestd_api::Result<Value> {
        let token = CancelToken::new();
        *self.interrupt.current() = Some(token.clone());
        let mut context = Context {
            input: match &mut context.input {
                Some(input) => Some(&mut **input),
                None => None,
            },
            output: match &mut context.output {
                Some(output) => Some(&mut **output),
                None => None,
            },
            progress: context.progress,
            cancel: Some(&token),
        };
        let done = self.guest.call(call, &mut context);
        *self.interrupt.current() = None;
        done
    }
}

impl Session {
    pub(crate) fn new(options: &Options) -> Self {
        Session {
            drives: Vec::new(),
            guest: None,
            service: options.guest.service,
            trace: options.trace,
            interrupt: Arc::default(),
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
    pub(crate) fn guest(&self) -> Result<Interruptible<'_>> {
        let guest = self.guest.as_ref().ok_or_else(|| {
            anyhow!("call launch before using this function\n(in guestfish, don't forget to use the 'run' command)")
        })?;
        Ok(Interruptible { guest, interrupt: &self.interrupt })
    }

    /// Mounts what an option `-m` names.
    pub(crate) fn mount(&self, mount: &MountSpec, read_only: bool) -> Result<()> {
        mount.mount(&self.guest()?, read_only)
    }

    /// Finds the operating system and mounts it.
    pub(crate) fn inspect(&self, read_only: bool, show: bool) -> Result<()> {
        let system = mount_system(&self.guest()?, read_only, "guestfish")?;
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

    /// Takes Ctrl-C over from now on: it ends the action that runs. In a script it ends the script too, and
    /// a second one everything, at once.
    pub(crate) fn take_interrupts(&self, in_script: bool) {
        let interrupt = Arc::clone(&self.interrupt);
        cli::interrupt::on_interrupt(move || {
            if interrupt.pressed.swap(in_script, Ordering::SeqCst) {
                std::process::exit(130);
            }
            if let Some(token) = &*interrupt.current() {
                token.cancel();
            }
        });
    }

    /// Ctrl-C was pressed in a script.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupt.pressed.load(Ordering::SeqCst)
    }
}
