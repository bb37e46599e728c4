//! Reads registry hives of Windows, through whoever serves the guest.
//!
//! The reader of hives is safe for hostile ones; what it cannot read is not there.

use guestd_api::actions::hivex::HivexOpenOptions;
use guestd_api::prelude::*;
use guestd_api::{Error, Result};

/// Bytes without a meaning of their own.
const REG_BINARY: i64 = 3;

/// The most keys or values below one key that are looked at: each costs several questions.
const MAX_BELOW: usize = 10_000;

/// What is not there, or cannot be read, is nothing.
fn optional<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::Action { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

/// Calls with the root of a hive, if it can be opened.
pub(super) fn in_hive(
    guest: &dyn Actions,
    path: &str,
    look: impl FnOnce(Key<'_>) -> Result<()>,
) -> Result<()> {
    match guest.hivex_open(path, HivexOpenOptions::default()) {
        Ok(()) => in_open_hive(guest, look),
        Err(Error::Action { .. }) => Ok(()),
        Err(other) => Err(other),
    }
}

/// The same for a hive that must be there.
pub(super) fn in_existing_hive(
    guest: &dyn Actions,
    path: &str,
    look: impl FnOnce(Key<'_>) -> Result<()>,
) -> Result<()> {
    guest.hivex_open(path, HivexOpenOptions::default())?;
    in_open_hive(guest, look)
}

fn in_open_hive(guest: &dyn Actions, look: impl FnOnce(Key<'_>) -> Result<()>) -> Result<()> {
    let looked = match optional(guest.hivex_root()) {
        Ok(Some(node)) => look(Key { guest, node }),
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    optional(guest.hivex_close())?;
    looked
}

/// A key of the hive that is open.
#[derive(Clone, Copy)]
pub(super) struct Key<'g> {
    pub(super) guest: &'g dyn Actions,
    node: i64,
}

impl Key<'_> {
    /// The key below it, several levels down.
    pub(super) fn below(&self, path: &[&str]) -> Result<Option<Self>> {
        let mut node = self.node;
        for name in path {
            match optional(self.guest.hivex_node_get_child(node, name))? {
                Some(child) if child != 0 => node = child,
                _ => return Ok(None),
            }
        }
        Ok(Some(Key { node, ..*self }))
    }

    /// The keys right below it.
    pub(super) fn children(&self) -> Result<Vec<Self>> {
        let children = optional(self.guest.hivex_node_children(self.node))?.unwrap_or_default();
        Ok(children.iter().take(MAX_BELOW).map(|child| Key { node: child.hivex_node_h, ..*self }).collect())
    }

    pub(super) fn name(&self) -> Result<Option<GuestString>> {
        optional(self.guest.hivex_node_name(self.node))
    }

    fn value(&self, name: &str) -> Result<Option<i64>> {
        let value = optional(self.guest.hivex_node_get_value(self.node, name))?;
        Ok(value.filter(|&value| value != 0))
    }

    /// Its binary values: names and bytes, in the hive's order.
    pub(super) fn binaries(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut found = Vec::new();
        let values = optional(self.guest.hivex_node_values(self.node))?.unwrap_or_default();
        for value in values.iter().take(MAX_BELOW) {
            let handle = value.hivex_value_h;
            if optional(self.guest.hivex_value_type(handle))? != Some(REG_BINARY) {
                continue;
            }
            let name = optional(self.guest.hivex_value_key(handle))?;
            let data = optional(self.guest.hivex_value_value(handle))?;
            if let (Some(name), Some(data)) = (name, data) {
                found.push((name.to_string(), data));
            }
        }
        Ok(found)
    }

    /// A value as text.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        Ok(optional(self.guest.hivex_value_string(value))?.map(|text| text.to_string()))
    }

    /// A value as a number.
    pub(super) fn number(&self, name: &str) -> Result<Option<i32>> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        let data = optional(self.guest.hivex_value_value(value))?;
        Ok(data.and_then(|data| <[u8; 4]>::try_from(&data[..]).ok()).map(i32::from_le_bytes))
    }
}
