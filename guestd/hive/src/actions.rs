//! What the actions of the group `hivex` answer, whoever holds the hive: the agent or the direct reader.
//!
//! Nodes and values come and go as the numbers that users see.

use guestd_api::structs::{HivexNode, HivexValue};
use guestd_api::{Failure, GuestString};
use rustix::io::Errno;

use crate::{Handle, Hive, utf16_to_string};

/// The largest hive that is read; those of Windows stay below 2 GB, in practice below 200 MB.
pub const MAX_HIVE: u64 = 1 << 30;

type Answer<T> = Result<T, Failure>;

/// What an action says that comes before `hivex-open`.
pub fn not_open(action: &str) -> String {
    format!("do_{action}: you must call 'hivex-open' first to initialize the hivex handle")
}

/// What `hivex-open` says of a file that is no hive, or too large.
pub fn not_opened(path: &[u8], error: Errno) -> Failure {
    Failure::io([b"hivex failed to open ", path].concat(), &error.into())
}

/// What `hivex-open` says of a file that cannot be opened at all.
pub fn no_file(failure: Failure) -> Failure {
    let what = [b"hivex failed to open ", failure.message.as_bytes()].concat();
    Failure::new(what).with_errno(failure.errno)
}

fn failed(error: Errno) -> Failure {
    Failure::io("failed", &error.into())
}

/// A node or value as a user gives it.
fn handle(number: i64) -> Answer<Handle> {
    Handle::try_from(number).map_err(|_| failed(Errno::INVAL))
}

fn number(handle: Handle) -> Answer<i64> {
    i64::try_from(handle).map_err(|_| failed(Errno::RANGE))
}

/// A name as the registry has it.
fn text(name: &GuestString) -> Answer<&str> {
    name.to_str().ok_or_else(|| failed(Errno::ILSEQ))
}

/// `hivex-root`.
///
/// # Errors
/// What a user is told, as for all functions here.
pub fn root(hive: &Hive) -> Answer<i64> {
    number(hive.root().map_err(failed)?)
}

/// `hivex-node-name`.
///
/// # Errors
/// See [`root`].
pub fn node_name(hive: &Hive, node: i64) -> Answer<GuestString> {
    hive.node_name(handle(node)?).map(GuestString::from).map_err(failed)
}

/// `hivex-node-children`.
///
/// # Errors
/// See [`root`].
pub fn node_children(hive: &Hive, node: i64) -> Answer<Vec<HivexNode>> {
    let children = hive.children(handle(node)?).map_err(failed)?;
    children.into_iter().map(|child| Ok(HivexNode { hivex_node_h: number(child)? })).collect()
}

/// `hivex-node-get-child`.
///
/// # Errors
/// See [`root`].
pub fn node_get_child(hive: &Hive, node: i64, name: &GuestString) -> Answer<i64> {
    let child = hive.child(handle(node)?, text(name)?).map_err(failed)?;
    number(child.unwrap_or_default())
}

/// `hivex-node-parent`.
///
/// # Errors
/// See [`root`].
pub fn node_parent(hive: &Hive, node: i64) -> Answer<i64> {
    number(hive.node_parent(handle(node)?).map_err(failed)?)
}

/// `hivex-node-values`.
///
/// # Errors
/// See [`root`].
pub fn node_values(hive: &Hive, node: i64) -> Answer<Vec<HivexValue>> {
    let values = hive.values(handle(node)?).map_err(failed)?;
    values.into_iter().map(|value| Ok(HivexValue { hivex_value_h: number(value)? })).collect()
}

/// `hivex-node-get-value`.
///
/// # Errors
/// See [`root`].
pub fn node_get_value(hive: &Hive, node: i64, key: &GuestString) -> Answer<i64> {
    let value = hive.value(handle(node)?, text(key)?).map_err(failed)?;
    number(value.unwrap_or_default())
}

/// `hivex-value-key`.
///
/// # Errors
/// See [`root`].
pub fn value_key(hive: &Hive, value: i64) -> Answer<GuestString> {
    hive.value_key(handle(value)?).map(GuestString::from).map_err(failed)
}

/// `hivex-value-type`.
///
/// # Errors
/// See [`root`].
pub fn value_type(hive: &Hive, value: i64) -> Answer<i64> {
    hive.value_type(handle(value)?).map(i64::from).map_err(failed)
}

/// `hivex-value-value`.
///
/// # Errors
/// See [`root`].
pub fn value_value(hive: &Hive, value: i64) -> Answer<Vec<u8>> {
    hive.value_data(handle(value)?).map_err(failed)
}

/// `hivex-value-string`, and `hivex-value-utf8`: up to the first NUL.
///
/// # Errors
/// See [`root`].
pub fn value_string(hive: &Hive, value: i64) -> Answer<GuestString> {
    let text = hive.value_data(handle(value)?).and_then(|data| utf16_to_string(&data)).map_err(failed)?;
    Ok(text.split('\0').next().unwrap_or_default().into())
}

/// `hivex-node-add-child`.
///
/// # Errors
/// See [`root`].
pub fn node_add_child(hive: &mut Hive, parent: i64, name: &GuestString) -> Answer<i64> {
    number(hive.add_child(handle(parent)?, text(name)?).map_err(failed)?)
}

/// `hivex-node-delete-child`.
///
/// # Errors
/// See [`root`].
pub fn node_delete_child(hive: &mut Hive, node: i64) -> Answer<()> {
    hive.delete_node(handle(node)?).map_err(failed)
}

/// `hivex-node-set-value`.
///
/// # Errors
/// See [`root`].
pub fn node_set_value(hive: &mut Hive, node: i64, key: &GuestString, kind: i64, data: &[u8]) -> Answer<()> {
    // Any number is stored in the 32 bits that there are, as Windows has types of its own.
    let kind = (kind & 0xffff_ffff).try_into().map_err(|_| failed(Errno::INVAL))?;
    hive.set_value(handle(node)?, text(key)?, kind, data).map_err(failed)
}
