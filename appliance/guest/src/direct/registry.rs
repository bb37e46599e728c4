//! Registry hives of Windows: one that is open for reading, held whole in memory.
//!
//! Nodes and values are numbers that mean the same to the agent, so that an appliance that takes over opens the
//! same hive and its caller notices nothing. Hives that are to be changed are the appliance's from the start.

use guestd_api::actions::hivex::{Call, HivexOpenOptions};
use guestd_api::{Failure, GuestString, Value};
use hive::Hive;
use hive::actions::{self, no_file, not_open, not_opened};

use super::reading::open;
use super::vfs::{MountedAs, Vfs};
use super::{Refusal, Served, aside, structs, text};

/// The largest hive that is read into this process; larger ones are the appliance's, with its own limit.
const MAX_HIVE: u64 = 256 << 20;

/// The hive that is open.
pub(super) struct Registry {
    hive: Hive,
    path: GuestString,
    opts: HivexOpenOptions,
    mounts: Vec<MountedAs>,
}

impl Registry {
    /// What was mounted when it was opened, and how to open it again.
    pub(super) fn opened_by(&self) -> (&[MountedAs], &GuestString, &HivexOpenOptions) {
        (&self.mounts, &self.path, &self.opts)
    }
}

/// Answers a call of this group.
pub(super) fn answer(vfs: &Vfs, registry: &mut Option<Registry>, call: &Call) -> Served<Value> {
    if let Call::hivex_open { filename, opts } = call {
        if opts.write == Some(true) {
            return aside("the hive is to be changed");
        }
        let hive = read(vfs, filename);
        // Whatever came of it, the one before is closed; unless somebody else is to open this one.
        if !matches!(hive, Err(Refusal::StepAside(_))) {
            *registry = None;
        }
        let (path, opts, mounts) = (filename.clone(), opts.clone(), vfs.mounted_as());
        *registry = Some(Registry { hive: hive?, path, opts, mounts });
        return Ok(Value::Void);
    }
    let Some(Registry { hive, .. }) = registry else {
        return Err(Failure::new(not_open(call.name())).into());
    };
    Ok(match call {
        Call::hivex_close {} => {
            *registry = None;
            Value::Void
        }
        Call::hivex_root {} => Value::Int(actions::root(hive)?),
        Call::hivex_node_name { nodeh } => text(actions::node_name(hive, *nodeh)?),
        Call::hivex_node_children { nodeh } => structs(actions::node_children(hive, *nodeh)?),
        Call::hivex_node_get_child { nodeh, name } => {
            Value::Int(actions::node_get_child(hive, *nodeh, name)?)
        }
        Call::hivex_node_parent { nodeh } => Value::Int(actions::node_parent(hive, *nodeh)?),
        Call::hivex_node_values { nodeh } => structs(actions::node_values(hive, *nodeh)?),
        Call::hivex_node_get_value { nodeh, key } => Value::Int(actions::node_get_value(hive, *nodeh, key)?),
        Call::hivex_value_key { valueh } => text(actions::value_key(hive, *valueh)?),
        Call::hivex_value_type { valueh } => Value::Int(actions::value_type(hive, *valueh)?),
        Call::hivex_value_value { valueh } => Value::Buffer(actions::value_value(hive, *valueh)?.into()),
        Call::hivex_value_string { valueh } | Call::hivex_value_utf8 { valueh } => {
            text(actions::value_string(hive, *valueh)?)
        }
        // The hive itself says that it is not to be changed.
        Call::hivex_node_add_child { parent, name } => {
            Value::Int(actions::node_add_child(hive, *parent, name)?)
        }
        Call::hivex_node_delete_child { nodeh } => {
            actions::node_delete_child(hive, *nodeh)?;
            Value::Void
        }
        Call::hivex_node_set_value { nodeh, key, t, val } => {
            actions::node_set_value(hive, *nodeh, key, *t, val.as_bytes())?;
            Value::Void
        }
        Call::hivex_commit { .. } | Call::hivex_open { .. } => return aside("it writes"),
    })
}

/// A hive from its file.
fn read(vfs: &Vfs, path: &GuestString) -> Served<Hive> {
    // Nothing can be said of any file before something is mounted.
    vfs.resolve(b"/", true)?;
    let opened = open(vfs, path).and_then(|found| Ok((found.size()?, found)));
    let (size, found) = opened.map_err(|refusal| match refusal {
        Refusal::Failure(failure) => no_file(failure).into(),
        other => other,
    })?;
    if size > MAX_HIVE {
        return aside("the hive is large");
    }
    let bytes = super::reading::whole(&found, size).map_err(|refusal| match refusal {
        Refusal::Failure(_) => Refusal::StepAside("the hive cannot be read".to_owned()),
        other => other,
    })?;
    Hive::new(bytes, false).map_err(|errno| not_opened(path.as_bytes(), errno).into())
}
