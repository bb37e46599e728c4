//! The environment of commands of the host, as `setenv` and `unsetenv` have changed it.
//!
//! The program's own environment stays what it was: other threads may be reading it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// What was set, or removed.
static CHANGES: Mutex<BTreeMap<String, Option<OsString>>> = Mutex::new(BTreeMap::new());

/// Sets a variable, or removes it.
pub(crate) fn set(name: &str, value: Option<&OsStr>) {
    let mut changes = CHANGES.lock().unwrap_or_else(PoisonError::into_inner);
    changes.insert(name.to_owned(), value.map(OsStr::to_owned));
}

/// The value of a variable; an empty one counts as none.
pub(crate) fn get(name: &str) -> Option<OsString> {
    let changes = CHANGES.lock().unwrap_or_else(PoisonError::into_inner);
    let value = match changes.get(name) {
        Some(changed) => changed.clone(),
        None => std::env::var_os(name),
    };
    value.filter(|value| !value.is_empty())
}

/// A program of the host that will find all this.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, value) in &*CHANGES.lock().unwrap_or_else(PoisonError::into_inner) {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// A line for the host's shell.
pub(crate) fn shell(line: impl AsRef<OsStr>) -> Command {
    let mut command = command("sh");
    command.arg("-c").arg(line);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_reach_commands() {
        set("GUESTFISH_TEST_A", Some(OsStr::new("one two")));
        set("GUESTFISH_TEST_B", Some(OsStr::new("gone")));
        set("GUESTFISH_TEST_B", None);
        let printed = shell("echo $GUESTFISH_TEST_A ${GUESTFISH_TEST_B-none}").output();
        assert_eq!(printed.map(|p| p.stdout).unwrap_or_default(), b"one two none\n");
        assert_eq!((get("GUESTFISH_TEST_A"), get("GUESTFISH_TEST_B")), (Some("one two".into()), None));
    }
}
