//! Events: what happens in a session, and the commands of the host that hear of it.

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
#[derive(Debug)]
struct Handler {
    name: String,
    /// Places in [`NAMES`].
    events: Vec<usize>,
    script: String,
    number: usize,
}

/// Those who listen.
#[derive(Debug, Default)]
pub(crate) struct Events {
    handlers: Vec<Handler>,
    next: usize,
}

impl Events {
    /// Adds one: `events` is a list of names with commas, or `*`.
    pub(crate) fn add(&mut self, name: &str, events: &str, script: &str) -> Result<()> {
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
        self.handlers.push(Handler {
            name: name.to_owned(),
            events: chosen,
            script: script.to_owned(),
            number: self.next,
        });
        self.next += 1;
        Ok(())
    }

    /// Removes all of that name; false if there are none.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let before = self.handlers.len();
        self.handlers.retain(|handler| handler.name != name);
        self.handlers.len() < before
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
        self.handlers.iter().map(line).collect()
    }

    /// Somebody listens to this.
    pub(crate) fn has(&self, event: &str) -> bool {
        self.listeners(event).next().is_some()
    }

    fn listeners<'e>(&'e self, event: &str) -> impl Iterator<Item = &'e Handler> + use<'e> {
        let at = NAMES.iter().position(|known| *known == event);
        self.handlers.iter().filter(move |handler| at.is_some_and(|at| handler.events.contains(&at)))
    }

    /// Runs the commands of those who listen, one after the other.
    pub(crate) fn fire(&self, event: &str, parameters: &[&str]) {
        let shell =
            std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into());
        for handler in self.listeners(event) {
            let mut command = crate::environment::command(&shell);
            command.arg("-c").arg(&handler.script).arg("sh").args(parameters).env("EVENT", event);
            if let Err(error) = command.status() {
                eprintln!("guestfish: event '{}': {error}", handler.name);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;

    #[test]
    fn handlers_come_and_go() {
        let mut events = Events::default();
        events.add("a", "*", "echo $EVENT").unwrap();
        events.add("b", "launch-done,close", "true").unwrap();
        assert_eq!(events.lines(), ["\"a\" (0): *: echo $EVENT", "\"b\" (1): close,launch_done: true"]);
        assert!(events.has("trace") && events.remove("a") && !events.has("trace") && !events.remove("a"));
        assert!(events.add("c", "close,bogus", "").is_err());
    }
}
