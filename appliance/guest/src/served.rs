//! A guest that was launched: the best way to each answer about what is on its disks.
//!
//! Read-only guests are read directly as long as that can serve; the first call that needs more boots the
//! appliance, which then mounts what was mounted and answers everything from there on.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;

use appliance_engine::launch::{self, Disk, Notice, Running};
use guestd_api::prelude::*;
use guestd_api::{Call, Error, Result, Value};
use libimage::Block;
use libimage::error::describe;

use crate::direct::{Direct, MountedSystem};
use crate::drive::Drive;
use crate::guest::How;

/// Drives and who serves them.
pub(crate) struct Served {
    drives: Vec<Drive>,
    direct: Option<Direct>,
    running: OnceCell<Running>,
    /// Taken when the appliance boots.
    settings: RefCell<launch::Settings>,
    how: How,
    /// The actions of which it was said that they need no appliance.
    told: RefCell<BTreeSet<&'static str>>,
}

/// Hears, in a line, who answers and why.
pub(crate) type Tell<'a> = &'a dyn Fn(Notice<'_>);

impl Served {
    /// Nothing is started yet.
    pub(crate) fn new(drives: Vec<Drive>, how: How, settings: launch::Settings) -> Self {
        let readable = drives.iter().all(|d| d.read_only && d.block_size == 512) && how != How::ApplianceOnly;
        let blocks = drives.iter().map(|d| Arc::clone(&d.block) as Arc<dyn Block>).collect();
        let direct = readable.then(|| Direct::new(blocks));
        let (running, settings, told) = (OnceCell::new(), RefCell::new(settings), RefCell::default());
        Served { drives, direct, running, settings, how, told }
    }

    /// Boots the appliance now, if it does not run.
    pub(crate) fn boot(&self, tell: Tell<'_>) -> Result<&Running> {
        if let Some(running) = self.running.get() {
            return Ok(running);
        }
        let started =
            self.start(tell).map_err(|e| Error::Unavailable { action: "launch", why: describe(&*e) })?;
        let running = self.running.get_or_init(|| started);
        if let Some(direct) = &self.direct {
            direct.hand_over(running)?;
        }
        Ok(running)
    }

    /// The appliance, if it runs.
    pub(crate) fn running(&self) -> Option<&Running> {
        self.running.get()
    }

    /// The file systems that are mounted and read directly, as long as no appliance runs.
    pub(crate) fn file_systems(&self) -> Option<Vec<MountedSystem>> {
        self.direct.as_ref().filter(|_| self.running.get().is_none())?.file_systems()
    }

    /// Ends it: everything that was written is in the images when this returns.
    pub(crate) fn shut_down(mut self) -> Result<()> {
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

    fn start(&self, tell: Tell<'_>) -> std::result::Result<Running, Box<dyn std::error::Error>> {
        let mut disks = Vec::new();
        for drive in &self.drives {
            let (block, block_size) = (drive.for_appliance()?, drive.block_size);
            disks.push(Disk { block, read_only: false, block_size });
        }
        Ok(launch::launch(disks, self.settings.take(), tell)?)
    }

    /// Carries an action out.
    pub(crate) fn call(&self, call: &Call, context: &mut Context<'_>, tell: Tell<'_>) -> Result<Value> {
        if self.running.get().is_none()
            && let Some(direct) = &self.direct
        {
            match direct.serve(call, context) {
                Ok(answer) => {
                    let name = call.name();
                    if self.told.borrow_mut().insert(name) {
                        tell(Notice::Detail(&format!("{name}: read from the disks, without an appliance")));
                    }
                    return answer;
                }
                Err(why) if self.how == How::DirectOnly => {
                    return Err(Error::Unavailable {
                        action: call.name(),
                        why: format!("it cannot be answered without an appliance: {why}"),
                    });
                }
                Err(why) => {
                    tell(Notice::Detail(&format!("{}: the appliance answers, because {why}", call.name())))
                }
            }
        }
        self.boot(tell)?.call(call, context)
    }
}
