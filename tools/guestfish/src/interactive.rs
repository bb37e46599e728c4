//! The prompt: line editing, history, and completion of commands and guest paths.

use std::path::PathBuf;

use anyhow::Result;
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

/// Completes the first word of a line.
#[derive(Helper, Hinter, Highlighter, Validator)]
struct Commands {
    names: Vec<String>,
}

impl Completer for Commands {
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
        if !before.is_empty() && !matches!(before, "help" | "time" | "glob" | "-") {
            return Ok((start, Vec::new()));
        }
        let word = typed[start..].trim_start_matches('-').replace('_', "-");
        let begin = position - word.len();
        let found = self.names.iter().filter(|name| name.starts_with(&word));
        Ok((
            begin,
            found.map(|name| Pair { display: name.clone(), replacement: format!("{name} ") }).collect(),
        ))
    }
}

/// Reads and runs commands until the user leaves. Errors are shown, and the session goes on.
///
/// # Errors
/// When the terminal fails.
pub(crate) fn run(session: &mut Session) -> Result<()> {
    println!("{WELCOME}");
    let mut names: Vec<String> = local::names().collect();
    names.sort();
    let mut editor: Editor<Commands, FileHistory> =
        Editor::with_config(Config::builder().auto_add_history(true).build())?;
    editor.set_helper(Some(Commands { names }));
    let history = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".guestfish"));
    if let Some(file) = &history {
        // The first time there is none.
        let _ = editor.load_history(file);
    }
    let cancel = session.canceller();
    cli::interrupt::on_interrupt(move || {
        cancel();
    });
    let mut shell = Shell::new(None);
    loop {
        let line = match editor.readline(PROMPT) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        };
        match shell.run_line(session, &line) {
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
