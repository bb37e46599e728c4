//! What a session knows: the guest, what the options ask of every command, and who hears of events.

use std::cell::Cell;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use appliance_engine::launch::Notice;
use guest::{Canceller, ConsoleFn, Guest, NoticeFn, Settings};
use guest_cli::keys::Keys;
use guest_cli::{luks, mount_all, mount_system, notices, uri};
use guestd_api::actions::launch::{AddDomainOptions, AddDriveOptions};
use guestd_api::prelude::*;

use crate::events::Events;
use crate::options::{Disk, Options};
use crate::remote::Client;

/// The state of a session.
pub(crate) struct Session {
    pub(crate) guest: Guest,
    settings: Template,
    pub(crate) events: Arc<Events>,
    pub(crate) keys: Keys,
    /// Commands go to another guestfish.
    pub(crate) remote: Option<Client>,
    pub(crate) json: bool,
    pub(crate) pipe_error: bool,
    pub(crate) destination_paths: bool,
    pub(crate) progress_bars: bool,
    /// Whose lines are read, for messages; nothing at a prompt.
    pub(crate) script: Option<String>,
    /// The appliance has ended by itself.
    pub(crate) lost: Cell<bool>,
    /// The line that runs, from 1.
    pub(crate) line: Cell<usize>,
    pressed: Arc<AtomicBool>,
    /// Of the guest that there is now.
    canceller: Arc<Mutex<Canceller>>,
}

/// What a new guest is made with.
struct Template {
    how: guest::How,
    backend: appliance_engine::launch::Choice,
    memory_mib: Option<i32>,
    cpus: Option<i32>,
    verbose: bool,
    trace: bool,
    network: bool,
    no_sync: bool,
}

impl Template {
    fn make(&self, events: &Arc<Events>) -> Result<Guest> {
        let guest = Guest::create(Settings {
            how: self.how,
            backend: self.backend,
            program: "guestfish".to_owned(),
            notice: Some(warnings(events)),
            console: Some(kernel_words(events)),
            ..Settings::default()
        })?;
        if self.verbose {
            guest.set_verbose(true)?;
        }
        if self.trace {
            guest.set_trace(true)?;
        }
        if self.network {
            guest.set_network(true)?;
        }
        if self.no_sync {
            guest.set_autosync(false)?;
        }
        if let Some(mebibytes) = self.memory_mib {
            guest.set_memsize(mebibytes)?;
        }
        if let Some(cpus) = self.cpus {
            guest.set_smp(cpus)?;
        }
        Ok(guest)
    }
}

/// How a guest ended, unless it had ended by itself and that was told when it was noticed.
fn news(done: guestd_api::Result<()>, told: bool) -> Result<()> {
    match done {
        Err(guestd_api::Error::Disconnected(_)) if told => Ok(()),
        done => Ok(done?),
    }
}

/// Warnings go to standard error unless somebody listens to them.
fn warnings(events: &Arc<Events>) -> NoticeFn {
    let (events, print) = (Arc::clone(events), notices("guestfish"));
    Box::new(move |notice: Notice<'_>, verbose| match notice {
        Notice::Fallback(line) if line.starts_with("warning: ") && events.has("warning") => {
            events.fire("warning", &[line.trim_start_matches("warning: ")]);
        }
        Notice::Fallback(line) | Notice::Detail(line) if verbose && events.has("library") => {
            events.fire("library", &[line]);
        }
        other => print(other, verbose),
    })
}

/// So does what the appliance's kernel says.
fn kernel_words(events: &Arc<Events>) -> ConsoleFn {
    let (events, print) = (Arc::clone(events), guest_cli::console());
    Arc::new(move |text: &[u8], verbose| match events.has("appliance") {
        true => events.fire("appliance", &[&String::from_utf8_lossy(text)]),
        false => print(text, verbose),
    })
}

impl Session {
    /// A session as the options want it, without disks.
    ///
    /// # Errors
    /// When an option or the environment makes no sense, or the other guestfish is not there.
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let settings = Template {
            how: options.how,
            backend: options.backend,
            memory_mib: options.memory_mib,
            cpus: options.cpus,
            verbose: options.verbose,
            trace: options.trace,
            network: options.network,
            no_sync: options.no_sync,
        };
        let interactive = options.is_interactive();
        let events = Arc::new(Events::default());
        let guest = settings.make(&events)?;
        Ok(Session {
            canceller: Arc::new(Mutex::new(guest.canceller())),
            guest,
            settings,
            events,
            keys: options.keys.clone(),
            remote: options.remote.map(Client::connect).transpose()?,
            json: options.json,
            pipe_error: options.pipe_error,
            destination_paths: options.destination_paths,
            progress_bars: options
                .progress_bars
                .unwrap_or_else(|| interactive && std::io::stdout().is_terminal()),
            script: None,
            lost: Cell::new(false),
            line: Cell::new(0),
            pressed: Arc::default(),
        })
    }

    /// What stands before a message: which line of which script.
    pub(crate) fn place(&self) -> String {
        self.script.as_ref().map(|name| format!("{name}:{}: ", self.line.get())).unwrap_or_default()
    }

    /// Adds the disks of the options and, where they ask for it, launches and mounts.
    ///
    /// # Errors
    /// When one of that fails.
    pub(crate) fn prepare(&self, options: &Options) -> Result<()> {
        let mut prepared = Vec::new();
        for disk in &options.disks {
            match disk {
                Disk::Add { file, format, block_size } => {
                    let mut opts = AddDriveOptions::default();
                    if options.read_only {
                        opts = opts.readonly(true);
                    }
                    opts.format = format.as_deref().map(Into::into);
                    opts.blocksize = *block_size;
                    uri::add(&self.guest, file, opts)?;
                }
                Disk::Domain(name) => {
                    let mut opts = AddDomainOptions::default().allowuuid(true).readonly(options.read_only);
                    opts.libvirturi = options.libvirt_uri.as_deref().map(Into::into);
                    // As with -a: what is marked read-only in a domain that is to be written is still read.
                    self.guest.add_domain(name, opts.readonlydisk("read"))?;
                }
                Disk::New(new) => {
                    prepared.push((self.guest.debug_drives()?.len(), new));
                    new.add(&self.guest)?;
                }
            }
        }
        if !options.inspect && options.mounts.is_empty() && prepared.is_empty() {
            return Ok(());
        }
        self.guest.launch()?;
        if !prepared.is_empty() {
            let devices = self.guest.list_devices()?;
            for (index, new) in prepared {
                if let Some(device) = devices.get(index) {
                    new.fill(&self.guest, &device.to_string())?;
                }
            }
        }
        if options.inspect {
            self.inspect(options.read_only, options.is_interactive() && options.commands.is_empty())?;
        }
        mount_all(&self.guest, &options.mounts, options.read_only, "guestfish")
    }

    /// Finds the operating system and mounts it.
    fn inspect(&self, read_only: bool, show: bool) -> Result<()> {
        luks::open_all(&self.guest, &self.keys)?;
        let system = mount_system(&self.guest, read_only, "guestfish")?;
        if show {
            println!("Operating system: {}", system.product_name.as_deref().unwrap_or("unknown"));
            for (point, device) in system.mounts() {
                println!("{device} mounted on {point}");
            }
        }
        Ok(())
    }

    /// Ends the guest and begins a new one, without disks.
    ///
    /// # Errors
    /// When not everything could be written.
    pub(crate) fn reopen(&mut self) -> Result<()> {
        let new = self.settings.make(&self.events)?;
        *self.canceller.lock().unwrap_or_else(PoisonError::into_inner) = new.canceller();
        let old = std::mem::replace(&mut self.guest, new);
        let done = old.shut_down();
        self.events.fire("close", &[]);
        // Those who listen listen to one guest.
        self.events.clear();
        news(done, self.lost.take())
    }

    /// Ends the guest; everything written is on its disks then.
    ///
    /// # Errors
    /// When not everything could be written.
    pub(crate) fn shut_down(self) -> Result<()> {
        let Session { guest, events, lost, .. } = self;
        let done = guest.shut_down();
        events.fire("close", &[]);
        news(done, lost.get())
    }

    /// Takes Ctrl-C over from now on: it ends the action that runs. In a script it ends the script too, and
    /// a second one everything, at once.
    pub(crate) fn take_interrupts(&self, in_script: bool) {
        let pressed = Arc::clone(&self.pressed);
        let canceller = Arc::clone(&self.canceller);
        cli::interrupt::on_interrupt(move || {
            if pressed.swap(in_script, Ordering::SeqCst) {
                std::process::exit(130);
            }
            canceller.lock().unwrap_or_else(PoisonError::into_inner).cancel();
        });
    }

    /// Ctrl-C was pressed in a script.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.pressed.load(Ordering::SeqCst)
    }
}
