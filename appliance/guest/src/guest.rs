//! A guest: what is set and added before its launch, and everything that can be asked after it.
//!
//! A [`Guest`] implements [`Actions`]. Actions about the machine (`set-memsize`, `add-drive`, `launch`,
//! `inspect-os`) are answered by [`crate::handle`], all others by whoever serves the disks.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use appliance_engine::launch::{self, Choice, Notice};
use guestd_api::prelude::*;
use guestd_api::{Call, Error, Failure, Result, Value};
use libimage::Block;
use libimage::error::describe;

use crate::direct::MountedSystem;
use crate::drive::{Added, Drive, Source};
use crate::fuse::HostMount;
use crate::handle::{self, Config};
use crate::inspect::{self, System};
use crate::served::Served;

/// Whether guests are read directly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum How {
    /// Directly where that can serve, else by the appliance.
    #[default]
    Auto,
    /// Only directly: what that cannot serve is an error.
    DirectOnly,
    /// Only by the appliance.
    ApplianceOnly,
}

impl FromStr for How {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "auto" => Ok(How::Auto),
            "only" => Ok(How::DirectOnly),
            "never" => Ok(How::ApplianceOnly),
            _ => Err(format!("'{text}' is none of auto, only and never")),
        }
    }
}

/// Listens to what there is to tell, and whether the user wants to hear everything.
pub type NoticeFn = Box<dyn Fn(Notice<'_>, bool)>;

/// Gets a line for each action that is called, and one for what it answered.
pub type TraceFn = Box<dyn Fn(&str)>;

/// Gets what the appliance's kernel says.
pub type ConsoleFn = Arc<dyn Fn(&[u8], bool) + Send + Sync>;

/// How a guest is served, to begin with: actions such as `set-memsize` change it until the launch.
pub struct Settings {
    /// Which way.
    pub how: How,
    /// What runs the appliance.
    pub backend: Choice,
    /// Memory of the appliance in MiB.
    pub memory_mib: u32,
    /// Processors of the appliance.
    pub cpus: u8,
    /// Tell everything.
    pub verbose: bool,
    /// Look at read-only images even while a machine writes to them: what is seen need not hold together.
    pub share: bool,
    /// The program's name, for scripts that ask.
    pub program: String,
    /// Is told, in a line, who answers and why.
    pub notice: Option<NoticeFn>,
    /// Gets every action.
    pub trace: Option<TraceFn>,
    /// Gets what the appliance's kernel says, and whether everything is to be told.
    pub console: Option<ConsoleFn>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            how: How::Auto,
            backend: Choice::Auto,
            memory_mib: 512,
            cpus: 1,
            verbose: false,
            share: false,
            program: String::new(),
            notice: None,
            trace: None,
            console: None,
        }
    }
}

/// Ends the action that a guest carries out, from any thread.
#[derive(Clone, Default)]
pub struct Canceller(Arc<Mutex<Option<CancelToken>>>);

impl Canceller {
    /// Cancels it. Without an action in progress nothing happens.
    pub fn cancel(&self) {
        if let Some(token) = &*self.current() {
            token.cancel();
        }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Option<CancelToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A guest that can be asked.
pub struct Guest {
    pub(crate) config: RefCell<Config>,
    pub(crate) added: RefCell<Vec<Added>>,
    /// What the last `inspect-os` found.
    pub(crate) systems: RefCell<Option<Rc<Vec<System>>>>,
    served: RefCell<Option<Rc<Served>>>,
    /// Where `mount-local` has mounted it.
    pub(crate) host_mount: RefCell<Option<HostMount>>,
    how: Cell<How>,
    share: bool,
    notice: Option<NoticeFn>,
    trace: Option<TraceFn>,
    console: Option<ConsoleFn>,
    canceller: Canceller,
}

impl Guest {
    /// A guest without disks, not launched, with the settings and what the environment says.
    ///
    /// # Errors
    /// When the environment makes no sense.
    pub fn create(settings: Settings) -> Result<Self> {
        let guest = Self::bare(settings);
        let variables = std::env::vars_os();
        let pairs = variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let text = pairs.map(|(name, value)| (name, value.to_string_lossy().into_owned()));
        guest.config.borrow_mut().take_environment(text).map_err(Error::Host)?;
        Ok(guest)
    }

    /// A guest of opened `drives`, launched: it can be asked at once. Nothing is started before that is needed.
    pub fn new(drives: Vec<Drive>, settings: Settings) -> Self {
        let guest = Self::bare(settings);
        guest.serve(drives);
        guest
    }

    fn bare(settings: Settings) -> Self {
        Guest {
            config: RefCell::new(Config::new(&settings)),
            added: RefCell::default(),
            systems: RefCell::default(),
            served: RefCell::default(),
            host_mount: RefCell::default(),
            how: Cell::new(settings.how),
            share: settings.share,
            notice: settings.notice,
            trace: settings.trace,
            console: settings.console,
            canceller: Canceller::default(),
        }
    }

    /// What ends the action in progress from another thread.
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// Boots the appliance now, if it does not run: who only reads may do without.
    ///
    /// # Errors
    /// When it cannot be launched.
    pub fn boot(&self) -> Result<()> {
        let served = self.served("launch")?;
        served.boot(&|notice| self.tell(notice)).map(drop)
    }

    /// Looks for operating systems, and remembers them for the `inspect-` actions. Nothing stays mounted.
    ///
    /// # Errors
    /// When the devices cannot be listed.
    pub fn inspect(&self) -> Result<Vec<System>> {
        let systems = inspect::inspect(self)?;
        self.systems.replace(Some(Rc::new(systems.clone())));
        Ok(systems)
    }

    /// What the guest is mounted on the host over: a port of the appliance, and its exchange.
    pub(crate) fn mount_port(&self) -> std::io::Result<(std::os::unix::net::UnixStream, Arc<dyn Block>)> {
        let served = self.served.borrow();
        match served.as_ref().and_then(|served| served.running()) {
            Some(running) => Ok((running.mount_port()?, running.exchange())),
            None => Err(std::io::Error::other("no appliance runs")),
        }
    }

    /// The file systems that are mounted and read directly, the root first.
    pub(crate) fn file_systems(&self) -> Option<Vec<MountedSystem>> {
        self.served.borrow().as_ref()?.file_systems()
    }

    /// Whether the guest was launched.
    pub fn is_launched(&self) -> bool {
        self.served.borrow().is_some()
    }

    /// The appliance's process, if one runs outside of this one.
    pub fn process_id(&self) -> Option<i32> {
        self.served.borrow().as_ref()?.running()?.process_id()
    }

    /// Ends the guest: everything that was written is in its images when this returns.
    ///
    /// # Errors
    /// When not everything could be written.
    pub fn shut_down(self) -> Result<()> {
        self.end()
    }

    /// The same for a guest that goes on without disks.
    pub(crate) fn end(&self) -> Result<()> {
        self.systems.replace(None);
        self.end_mount()?;
        let Some(served) = self.served.take() else { return Ok(()) };
        match Rc::try_unwrap(served) {
            Ok(served) => served.shut_down(),
            Err(_) => {
                Err(Error::Unavailable { action: "shutdown", why: "an action is in progress".to_owned() })
            }
        }
    }

    /// Opens the disks that were added and makes them available.
    pub(crate) fn begin(&self) -> std::result::Result<(), Failure> {
        if self.added.borrow().is_empty() {
            return Err(Failure::new("you must call guestfs_add_drive before guestfs_launch"));
        }
        let mut drives = Vec::new();
        for added in self.added.borrow().iter() {
            let drive = added.open(self.share).map_err(|e| Failure::new(describe(&e)))?;
            if let Source::File(name) = &added.source
                && drive.is_risky_guess()
            {
                self.tell(Notice::Fallback(&format!(
                    "warning: the format of '{name}' was not given, and raw was guessed. Writes that would make it another format are refused; --format=raw allows them"
                )));
            }
            drives.push(drive);
        }
        self.added.borrow_mut().clear();
        self.serve(drives);
        Ok(())
    }

    fn serve(&self, drives: Vec<Drive>) {
        let config = self.config.borrow();
        let (console, verbose) = (self.console.clone(), config.verbose);
        // The agent finds the labels of disks there.
        let label = |(index, drive): (usize, &Drive)| {
            drive.label.as_ref().map(|label| format!("diskwright.label={index}:{label}"))
        };
        let labels = drives.iter().enumerate().filter_map(label);
        let settings = launch::Settings {
            choice: config.choice(),
            hypervisor: config.hv.as_ref().map(Into::into),
            memory_mib: config.memsize.try_into().unwrap_or(512),
            cpus: config.smp.try_into().unwrap_or(1),
            network: config.network,
            append: config.kernel_words().chain(labels).collect(),
            console: console.map(|show| Box::new(move |text: &[u8]| show(text, verbose)) as _),
        };
        self.served.replace(Some(Rc::new(Served::new(drives, self.how.get(), settings))));
    }

    /// Whether no appliance may be started.
    pub(crate) fn is_direct_only(&self) -> bool {
        self.how.get() == How::DirectOnly
    }

    pub(crate) fn tell(&self, notice: Notice<'_>) {
        let verbose = self.config.borrow().verbose;
        if let Some(hear) = &self.notice {
            hear(notice, verbose);
        }
    }

    fn served(&self, action: &'static str) -> Result<Rc<Served>> {
        self.served.borrow().clone().ok_or_else(|| {
            let why = "call launch before using this function\n(in guestfish, don't forget to use the 'run' command)";
            Error::Action { action, failure: Failure::new(why) }
        })
    }

    /// Carries an action of the guest itself out, such that it can be cancelled.
    fn ask(&self, call: &Call, context: &mut Context<'_>) -> Result<Value> {
        let served = self.served(call.name())?;
        let token = context.cancel.cloned().unwrap_or_default();
        let before = self.canceller.current().replace(token.clone());
        let mut context = Context { cancel: Some(&token), ..context.reborrow() };
        let done = served.call(call, &mut context, &|notice| self.tell(notice));
        *self.canceller.current() = before;
        done
    }
}

impl Actions for Guest {
    fn call(&self, call: &Call, context: &mut Context<'_>) -> Result<Value> {
        let trace = |line: &dyn Fn() -> String| {
            if let Some(hear) = &self.trace {
                hear(&line());
            }
        };
        trace(&|| crate::trace::called(call));
        let answer = match handle::answer(self, call) {
            Some(answer) => answer,
            None => self.ask(call, context),
        };
        trace(&|| crate::trace::answered(call, &answer));
        answer
    }
}
