//! The prompt: line editing, history, and completion of commands and guest paths.

use std::cell::RefCell;
use std::path::PathBuf;

use anyhow::Result;
use guestd_api::actions::files::IsDirOptions;
use guestd_api::prelude::*;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Context, Editor, Helper, Highlighter, Hinter, Validator};

use crate::local::{self, Flow};
use crate::session::Session;
use crate::shell::{Shell, report};

const PROMPT: &str = "><fs> ";
const WELCOME: &str = "
Welcome to guestfish, the shell for the file systems of guests.

Type: 'help' for the list of commands
      'help COMMAND' for one of them
      'quit' to leave
";

/// Completes commands, devices, and paths in the guest.
#[derive(Helper, Hinter, Highlighter, Validator)]
struct Words<'s> {
    commands: Vec<String>,
    session: &'s RefCell<&'s mut Session>,
}

impl Completer for Words<'_> {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = &line[..position];
        let start = typed.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let before = typed[..start].trim();
        let word = &typed[start..];
        if before.is_empty() || matches!(before, "help" | "time" | "glob" | "-") {
            let word = word.trim_start_matches('-').replace('_', "-");
            let found = self.commands.iter().filter(|name| name.starts_with(&word));
            let pair = |name: &String| Pair { display: name.clone(), replacement: format!("{name} ") };
            return Ok((position - word.len(), found.map(pair).collect()));
        }
        // What cannot be asked is not completed.
        Ok((start, self.places(word).unwrap_or_default()))
    }
}

impl Words<'_> {
    /// Devices or files of the guest that begin with a word.
    fn places(&self, word: &str) -> Result<Vec<Pair>> {
        let session = self.session.try_borrow()?;
        let guest = session.guest()?;
        let names = if word.starts_with("/dev/") {
            let mut devices = guest.list_devices()?;
            devices.extend(guest.list_partitions()?);
            devices.into_iter().map(|name| (name.to_string(), false)).collect()
        } else {
            let Some(slash) = word.rfind('/').filter(|_| word.starts_with('/')) else {
                return Ok(Vec::new());
            };
            let directory = &word[..=slash];
            let mut names = Vec::new();
            for name in guest.ls(directory)? {
                // Others would have to be quoted.
                let plain = |name: &&str| !name.contains([' ', '\t', '\n', '"', '\'', '\\']);
                if let Some(name) =
                    name.to_str().filter(plain).filter(|name| name.starts_with(&word[slash + 1..]))
                {
                    let path = format!("{directory}{name}");
                    let is_dir = guest.is_dir(&path[..], IsDirOptions::default().followsymlinks(true))?;
                    names.push((path, is_dir));
                }
            }
            names
        };
        let pair = |(name, is_dir): (String, bool)| Pair {
            replacement: format!("{name}{}", if is_dir { '/' } else { ' ' }),
            display: name,
        };
        Ok(names.into_iter().filter(|(name, _)| name.starts_with(word)).map(pair).collect())
    }
}

/// Reads and runs commands until the user leaves. Errors are shown, and the session goes on.
///
/// # Errors
/// When the terminal fails.
pub(crate) fn run(session: &mut Session) -> Result<()> {
    println!("{WELCOME}");
    let mut commands: Vec<String> = local::names().collect();
    commands.sort();
    let session = RefCell::new(session);
    let mut editor: Editor<Words<'_>, FileHistory> =
        Editor::with_config(Config::builder().auto_add_history(true).build())?;
    editor.set_helper(Some(Words { commands, session: &session }));
    let history = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".guestfish"));
    if let Some(file) = &history {
        // The first time there is none.
        let _ = editor.load_history(file);
    }
    let mut shell = Shell::new(None);
    loop {
        let line = match editor.readline(PROMPT) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        };
        match shell.run_line(&mut session.borrow_mut(), &line) {
            Ok(Flow::Go) => {}
            Ok(Flow::Quit) => break,
            Err(error) => report(&error, ""),
        }
    }
    if let Some(file) = &history {
        // A home that cannot be written loses the history and nothing else.
        let _ = editor.save_history(file);
    }
    Ok(())
}
