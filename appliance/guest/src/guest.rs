//! A guest: some disks, and the best way to each answer about what is on them.
//!
//! Read-only guests are read directly as long as that can serve; the first call that needs more boots the
//! appliance, which then mounts what was mounted and answers everything from there on.

use std::cell::{OnceCell, RefCell};
use std::str::FromStr;
use std::sync::Arc;

use appliance_engine::launch::{self, Notice, Running};
use guestd_api::prelude::*;
use guestd_api::{Call, Error, Result, Value};
use libimage::Block;
use libimage::error::describe;
use libimage::filter::Watch;
use libimage::format::Format;
use libimage::format::qcow2::{CreateOptions, Qcow2};
use libimage::open::{Image, OpenOptions};
use libimage::storage::Memory;

use crate::direct::Direct;

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

/// Listens to what there is to tell.
pub type NoticeFn = Box<dyn Fn(Notice<'_>)>;

/// How a guest is served.
#[derive(Default)]
pub struct Settings {
    /// Which way.
    pub how: How,
    /// How the appliance runs, once it is needed.
    pub launch: launch::Settings,
    /// Is told, in a line, who answers and why.
    pub notice: Option<NoticeFn>,
}

/// A disk of a guest.
pub struct Drive {
    block: Arc<Watch<Arc<dyn Block>>>,
    read_only: bool,
    /// Keeps the image and its backing files open and locked.
    image: Option<Image>,
}

impl Drive {
    /// Opens an image. A read-only drive's file is never written.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &str, format: Option<Format>, read_only: bool) -> libimage::Result<Self> {
        let image = Image::open(path, OpenOptions { format, read_only, ..OpenOptions::default() })?;
        Ok(Drive { block: Arc::new(Watch::new(image.block())), read_only, image: Some(image) })
    }

    /// The image's name and format are only guessed, and it can be written: worth a warning.
    pub fn is_risky_guess(&self) -> bool {
        !self.read_only && self.image.as_ref().is_some_and(|i| i.is_guessed() && i.format() == Format::Raw)
    }

    /// What the appliance gets: of a read-only drive a copy-on-write view in memory, so that it can
    /// replay journals as if it could write.
    fn for_appliance(&self) -> libimage::Result<Arc<dyn Block>> {
        if !self.read_only {
            return Ok(self.block.clone());
        }
        let options = CreateOptions { size: self.block.size(), ..CreateOptions::default() };
        let overlay = Qcow2::create(Arc::new(Memory::new(0)), &options)?;
        overlay.set_backing(Some(self.block.clone()));
        Ok(Arc::new(overlay))
    }
}

/// A guest that can be asked.
pub struct Guest {
    drives: Vec<Drive>,
    direct: Option<Direct>,
    running: OnceCell<Running>,
    settings: RefCell<Settings>,
    how: How,
}

impl Guest {
    /// A guest of `drives`. Nothing is started yet.
    pub fn new(drives: Vec<Drive>, settings: Settings) -> Self {
        let readable = drives.iter().all(|d| d.read_only) && settings.how != How::ApplianceOnly;
        let blocks = drives.iter().map(|d| Arc::clone(&d.block) as Arc<dyn Block>).collect();
        let direct = readable.then(|| Direct::new(blocks));
        let how = settings.how;
        Guest { drives, direct, running: OnceCell::new(), settings: RefCell::new(settings), how }
    }

    /// Boots the appliance now, if it does not run.
    ///
    /// # Errors
    /// When it cannot be launched.
    pub fn launch(&self) -> Result<&Running> {
        if let Some(running) = self.running.get() {
            return Ok(running);
        }
        let running = self.boot().map_err(|e| Error::Unavailable { action: "launch", why: describe(&*e) })?;
        let running = self.running.get_or_init(|| running);
        if let Some(direct) = &self.direct {
            for (device, point) in direct.mounts() {
                running.mount_ro(device, point)?;
            }
        }
        Ok(running)
    }

    /// The appliance's process, if one runs outside of this one.
    pub fn process_id(&self) -> Option<i32> {
        self.running.get().and_then(Running::process_id)
    }

    /// Ends the guest: everything that was written is in its images when this returns.
    ///
    /// # Errors
    /// When not everything could be written.
    pub fn shut_down(mut self) -> Result<()> {
        let done = match self.running.take() {
            Some(running) => running.shut_down(),
            None => Ok(()),
        };
        for drive in self.drives.iter().filter(|d| !d.read_only) {
            drive.block.flush().map_err(|e| Error::Unavailable { action: "shutdown", why: describe(&e) })?;
            // A guest keeps failed writes to itself when they were somebody's cached pages.
            if let Some(failure) = drive.block.failure() {
                let why = format!("not everything could be written to '{}': {failure}", drive.block.name());
                return Err(Error::Unavailable { action: "shutdown", why });
            }
        }
        done
    }

    fn boot(&self) -> std::result::Result<Running, Box<dyn std::error::Error>> {
        let mut disks = Vec::new();
        for drive in &self.drives {
            disks.push((drive.for_appliance()?, false));
        }
        let mut settings = self.settings.borrow_mut();
        let launch = std::mem::take(&mut settings.launch);
        let notice = |line: Notice<'_>| {
            if let Some(notice) = &settings.notice {
                notice(line);
            }
        };
        Ok(launch::launch(disks, launch, &notice)?)
    }

    fn notice(&self, line: &str) {
        if let Ok(settings) = self.settings.try_borrow()
            && let Some(notice) = &settings.notice
        {
            notice(Notice::Detail(line));
        }
    }
}

impl Actions for Guest {
    fn call(&self, call: &Call, context: &mut Context<'_>) -> Result<Value> {
        if self.running.get().is_none()
            && let Some(direct) = &self.direct
        {
            match direct.serve(call, context) {
                Ok(answer) => return answer,
                Err(why) if self.how == How::DirectOnly => {
                    return Err(Error::Unavailable {
                        action: call.name(),
                        why: format!("it cannot be answered without an appliance: {why}"),
                    });
                }
                Err(why) => self.notice(&format!("{}: the appliance answers, because {why}", call.name())),
            }
        }
        self.launch()?.call(call, context)
    }
}
