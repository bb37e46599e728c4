//! What a session knows: its disks, and the guest once it was launched.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, anyhow, bail};
use appliance_engine::launch;
use guest::{Drive, Guest, Settings, inspect};
use guestd_api::CancelToken;
use guestd_api::prelude::*;
use libimage::format::Format;
use std::io::{IsTerminal, Write};

use crate::options::Options;

/// The state of a session.
pub(crate) struct Session {
    drives: Vec<Drive>,
    guest: Option<Guest>,
    how: guest::How,
    backend: launch::Choice,
    memory_mib: u32,
    cpus: u8,
    verbose: bool,
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
            how: options.how,
            backend: options.backend,
            memory_mib: options.memory_mib,
            cpus: options.cpus,
            verbose: options.verbose,
            trace: options.trace,
            current: Arc::default(),
        }
    }

    /// Adds a disk; only possible before the launch.
    pub(crate) fn add_drive(&mut self, file: &str, format: Option<&str>, read_only: bool) -> Result<()> {
        if self.guest.is_some() {
            bail!("drives must be added before 'run'");
        }
        let format = format.map(Format::by_name).transpose()?;
        let drive = Drive::open(file, format, read_only)?;
        if drive.is_risky_guess() {
            eprintln!(
                "guestfish: warning: the format of '{file}' was not given, and raw was guessed. Writes that would make it another format are refused; --format=raw allows them."
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
        let tell = self.verbose || std::io::stderr().is_terminal();
        let verbose = self.verbose;
        let notice: Box<dyn Fn(&str)> = Box::new(move |line: &str| {
            // Which reader answers is for the curious; a back-end that is missed concerns everybody.
            if verbose || (tell && line.starts_with("KVM")) {
                eprintln!("guestfish: {line}.");
            }
        });
        let console: Option<appliance_engine::backend::LogSink> = match self.verbose {
            true => Some(Box::new(|text: &[u8]| {
                // Nobody reads it: nothing is lost.
                let _ = std::io::stderr().write_all(text);
            })),
            false => None,
        };
        let launch =
            launch::Settings { choice: self.backend, memory_mib: self.memory_mib, cpus: self.cpus, console };
        let settings = Settings { how: self.how, launch, notice: Some(notice) };
        let guest = Guest::new(std::mem::take(&mut self.drives), settings);
        self.guest = Some(guest);
        Ok(())
    }

    /// The guest, once launched.
    pub(crate) fn guest(&self) -> Result<&Guest> {
        self.guest.as_ref().ok_or_else(|| {
            anyhow!("call launch before using this function\n(in guestfish, don't forget to use the 'run' command)")
        })
    }

    /// `DEV[:DIR[:OPTS[:TYPE]]]`, as given to `-m`.
    pub(crate) fn mount(&self, text: &str, read_only: bool) -> Result<()> {
        let mut parts = text.splitn(4, ':');
        let device = parts.next().unwrap_or_default();
        let point = parts.next().filter(|p| !p.is_empty()).unwrap_or("/");
        let options = parts.next().unwrap_or_default();
        let kind = parts.next().unwrap_or_default();
        let guest = self.guest()?;
        let done = match (options, kind) {
            ("", "") if read_only => guest.mount_ro(device, point),
            ("", "") => guest.mount(device, point),
            (options, "") => guest.mount_options(options, device, point),
            (options, kind) => guest.mount_vfs(options, kind, device, point),
        };
        done.with_context(|| format!("-m {text}"))
    }

    /// Finds the operating system and mounts it.
    pub(crate) fn inspect(&self, read_only: bool, show: bool) -> Result<()> {
        let guest = self.guest()?;
        let mut systems = inspect::inspect(guest)?;
        let system = match systems.len() {
            0 => bail!("no operating system was found on this disk"),
            1 => systems.remove(0),
            n => bail!(
                "{n} operating systems were found ({}); mount one of them with -m instead of -i",
                systems.iter().map(|s| s.root.as_str()).collect::<Vec<_>>().join(", ")
            ),
        };
        for warning in inspect::mount(guest, &system, read_only)? {
            eprintln!("guestfish: warning: {warning}");
        }
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
