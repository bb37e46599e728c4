//! Events: what happens in a session, and the commands of the host that hear of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;

use crate::shell::Usage;

/// All there are.
const NAMES: [&str; 10] = [
    "close",
    "subprocess_quit",
    "launch_done",
    "progress",
    "appliance",
    "library",
    "trace",
    "enter",
    "libvirt_auth",
    "warning",
];

/// One who listens.
#[derive(Clone, Debug)]
struct Handler {
    name: String,
    /// Places in [`NAMES`].
    events: Vec<usize>,
    script: String,
    number: usize,
}

/// Those who listen. Some events happen in other threads.
#[derive(Debug, Default)]
pub(crate) struct Events(Mutex<Handlers>);

#[derive(Debug, Default)]
struct Handlers {
    all: Vec<Handler>,
    next: usize,
}

impl Events {
    /// Adds one: `events` is a list of names with commas, or `*`.
    pub(crate) fn add(&self, name: &str, events: &str, script: &str) -> Result<()> {
        let mut chosen = Vec::new();
        for event in events.split(',').map(str::trim) {
            if event == "*" {
                chosen.extend(0..NAMES.len());
                continue;
            }
            let plain = event.to_ascii_lowercase().replace('-', "_");
            let found = NAMES.iter().position(|known| *known == plain);
            chosen.push(found.ok_or_else(|| Usage(format!("unknown event name: {event}")))?);
        }
        chosen.sort_unstable();
        chosen.dedup();
        let mut handlers = self.handlers();
        let number = handlers.next;
        handlers.all.push(Handler {
            name: name.to_owned(),
            events: chosen,
            script: script.to_owned(),
            number,
        });
        handlers.next += 1;
        Ok(())
    }

    /// Removes all of that name; false if there are none.
    pub(crate) fn remove(&self, name: &str) -> bool {
        let all = &mut self.handlers().all;
        let before = all.len();
        all.retain(|handler| handler.name != name);
        all.len() < before
    }

    /// Removes all.
    pub(crate) fn clear(&self) {
        *self.handlers() = Handlers::default();
    }

    /// A line for each.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |handler: &Handler| {
            let events = if handler.events.len() == NAMES.len() {
                "*".to_owned()
            } else {
                let names = handler.events.iter().filter_map(|at| NAMES.get(*at).copied());
                names.collect::<Vec<_>>().join(",")
            };
            format!("\"{}\" ({}): {events}: {}", handler.name, handler.number, handler.script)
        };
        self.handlers().all.iter().map(line).collect()
    }

    /// Somebody listens to this.
    pub(crate) fn has(&self, event: &str) -> bool {
        self.handlers().all.iter().any(|handler| handler.hears(event))
    }

    fn handlers(&self) -> MutexGuard<'_, Handlers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the commands of those who listen, one after the other.
    pub(crate) fn fire(&self, event: &str, parameters: &[&str]) {
        let shell =
            std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into());
        // Not while it is locked: a command may last, and what it does may be an event.
        let listeners: Vec<Handler> =
            self.handlers().all.iter().filter(|handler| handler.hears(event)).cloned().collect();
        for handler in listeners {
            let mut command = crate::environment::command(&shell);
            command.arg("-c").arg(&handler.script).arg("sh").args(parameters).env("EVENT", event);
            if let Err(error) = command.status() {
                eprintln!("guestfish: event '{}': {error}", handler.name);
            }
        }
    }
}

impl Handler {
    fn hears(&self, event: &str) -> bool {
        self.events.iter().any(|at| NAMES.get(*at) == Some(&event))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;

    #[test]
    fn handlers_come_and_go() {
        let events = Events::default();
        events.add("a", "*", "echo $EVENT").unwrap();
        events.add("b", "launch-done,close", "true").unwrap();
        assert_eq!(events.lines(), ["\"a\" (0): *: echo $EVENT", "\"b\" (1): close,launch_done: true"]);
        assert!(events.has("trace") && events.remove("a") && !events.has("trace") && !events.remove("a"));
        assert!(events.add("c", "close,bogus", "").is_err());
    }
}
