//! The text form of a table of cases (see the parent's documentation).

use anyhow::{Result, bail};

/// Command lines that build upon each other, in a pair of directories of their own.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
}

/// One command line.
pub(super) struct Step {
    /// For the shell.
    pub(super) command: String,
    /// It only makes inputs.
    pub(super) prepare: bool,
    allowed: Vec<Allowed>,
}

struct Allowed {
    what: String,
    always: bool,
}

impl Step {
    fn new(command: &str, prepare: bool) -> Self {
        Step { command: command.to_owned(), prepare, allowed: Vec::new() }
    }

    /// `what` may differ.
    pub(super) fn allows(&self, what: &str) -> bool {
        self.allowed.iter().any(|allowed| allowed.what == what)
    }

    /// What has to differ, or the table is out of date.
    pub(super) fn must_differ(&self) -> impl Iterator<Item = &str> {
        self.allowed.iter().filter(|allowed| allowed.always).map(|allowed| allowed.what.as_str())
    }
}

/// Reads a table.
///
/// # Errors
/// Names the line that makes no sense.
pub(super) fn parse(text: &str) -> Result<Vec<Case>> {
    let mut cases: Vec<Case> = Vec::new();
    let mut beginning: Option<&str> = None;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix("== ") {
            let steps = beginning.map(|command| Step::new(command, true)).into_iter().collect();
            cases.push(Case { name: name.to_owned(), steps });
            continue;
        }
        if let Some(command) = line.strip_prefix("!!") {
            beginning = Some(command.trim()).filter(|command| !command.is_empty());
            continue;
        }
        let Some(case) = cases.last_mut() else { bail!("'{line}' belongs to no case") };
        if let Some(rest) = line.strip_prefix('~') {
            let always = !rest.starts_with('?');
            let Some((what, _reason)) = rest.trim_start_matches('?').split_once(':') else {
                bail!("'{line}' gives no reason")
            };
            let Some(step) = case.steps.last_mut() else { bail!("'{line}' belongs to no command") };
            for what in what.split(',').map(str::trim) {
                if !["status", "stdout", "stderr", "images"].contains(&what) {
                    bail!("'{what}' in '{line}' is nothing that is compared");
                }
                step.allowed.push(Allowed { what: what.to_owned(), always });
            }
            continue;
        }
        case.steps.push(match line.strip_prefix("! ") {
            Some(command) => Step::new(command, true),
            None => Step::new(line, false),
        });
    }
    Ok(cases)
}
