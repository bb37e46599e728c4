//! Changing key slots: adding passphrases and taking them away.
//!
//! Nothing that would make the payload unreadable happens unless it is forced.

use std::time::Duration;

use super::create::{DEFAULT_ITER_TIME, iter_time};
use super::header::{Header, SLOTS};
use super::keyslot::MasterKey;
use crate::block::Block;
use crate::crypto::Secret;
use crate::error::{Error, Result};

/// What becomes of key slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotState {
    /// They hold the key under a new passphrase.
    Active,
    /// They hold nothing.
    Inactive,
}

impl SlotState {
    /// The state called `name`.
    ///
    /// # Errors
    /// With QEMU's words for a name that is none.
    pub fn by_name(name: &str) -> Result<Self> {
        match name {
            "active" => Ok(SlotState::Active),
            "inactive" => Ok(SlotState::Inactive),
            other => Err(Error::Invalid(format!("Parameter 'state' does not accept value '{other}'"))),
        }
    }
}

/// A change of key slots.
#[derive(Debug, Clone)]
pub struct Amend {
    /// What the slots become.
    pub state: SlotState,
    /// The passphrase to add.
    pub new_secret: Option<Secret>,
    /// The slots that this passphrase opens.
    pub old_secret: Option<Secret>,
    /// This slot.
    pub keyslot: Option<i64>,
    /// Processor time that trying the new passphrase should take.
    pub iter_time: Option<Duration>,
    /// Also where the payload becomes unreadable.
    pub force: bool,
}

impl Amend {
    /// A change to `state` of which nothing else is said yet.
    pub fn new(state: SlotState) -> Self {
        Amend { state, new_secret: None, old_secret: None, keyslot: None, iter_time: None, force: false }
    }

    /// Takes the `iter-time` of a command line.
    ///
    /// # Errors
    /// When it is not a number.
    pub fn set_iter_time(&mut self, value: &str) -> Result<()> {
        self.iter_time = Some(iter_time(value)?);
        Ok(())
    }
}

fn refuse<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::Invalid(what.into()))
}

fn checked_slot(number: i64) -> Result<usize> {
    let last = SLOTS - 1;
    match usize::try_from(number) {
        Ok(slot) if slot <= last => Ok(slot),
        _ => refuse(format!("Invalid keyslot {number} specified, must be between 0 and {last}")),
    }
}

impl Header {
    /// Changes key slots of the header in `area`, whose master key is `key`.
    ///
    /// # Errors
    /// With QEMU's words for options that do not go together, slots that are not as they should be, and
    /// changes that need to be forced; then nothing was changed. And when the header cannot be written.
    pub fn amend(&mut self, area: &dyn Block, key: &MasterKey, change: &Amend) -> Result<()> {
        match change.state {
            SlotState::Active => self.add_key(area, key, change),
            SlotState::Inactive => self.erase_keys(area, change),
        }
    }

    fn is_active(&self, index: usize) -> bool {
        self.slots.get(index).is_some_and(|slot| slot.active)
    }

    fn add_key(&mut self, area: &dyn Block, key: &MasterKey, change: &Amend) -> Result<()> {
        let Some(password) = &change.new_secret else {
            return refuse("'new-secret' is required to activate a keyslot");
        };
        if change.old_secret.is_some() {
            return refuse("'old-secret' must not be given when activating keyslots");
        }
        let slot = match change.keyslot {
            Some(number) => checked_slot(number)?,
            None => match self.slots.iter().position(|slot| !slot.active) {
                Some(free) => free,
                None => return refuse("Can't add a keyslot - all keyslots are in use"),
            },
        };
        if !change.force && self.is_active(slot) {
            return refuse(format!("Refusing to overwrite active keyslot {slot} - please erase it first"));
        }
        self.fill_slot(area, slot, key, password, change.iter_time.unwrap_or(DEFAULT_ITER_TIME))
    }

    fn erase_keys(&mut self, area: &dyn Block, change: &Amend) -> Result<()> {
        if change.new_secret.is_some() {
            return refuse("'new-secret' must not be given when erasing keyslots");
        }
        if change.iter_time.is_some() {
            return refuse("'iter-time' must not be given when erasing keyslots");
        }
        match (change.keyslot, &change.old_secret) {
            (Some(number), password) => {
                let slot = checked_slot(number)?;
                if let Some(password) = password
                    && self.open_slot(area, slot, password)?.is_none()
                {
                    return refuse(format!(
                        "Given keyslot {slot} doesn't contain the given old password for erase operation"
                    ));
                }
                if !change.force && !self.is_active(slot) {
                    return refuse(format!("Given keyslot {slot} is already erased (inactive) "));
                }
                if !change.force && self.active_slots().count() == 1 {
                    return refuse(format!(
                        "Attempt to erase the only active keyslot {slot} which will erase all the data in the \
                         image irreversibly - refusing operation"
                    ));
                }
                self.erase_slot(area, slot)
            }
            (None, Some(password)) => {
                let mut matching = Vec::new();
                for slot in self.active_slots() {
                    if self.open_slot(area, slot, password)?.is_some() {
                        matching.push(slot);
                    }
                }
                if matching.is_empty() {
                    return refuse("No keyslots match given (old) password for erase operation");
                }
                if !change.force && matching.len() == self.active_slots().count() {
                    return refuse(
                        "All the active keyslots match the (old) password that was given and erasing them \
                         will erase all the data in the image irreversibly - refusing operation",
                    );
                }
                matching.into_iter().try_for_each(|slot| self.erase_slot(area, slot))
            }
            (None, None) => refuse(
                "To erase keyslot(s), either explicit keyslot index or the password currently contained in \
                 them must be given",
            ),
        }
    }
}
