//! The prompt: line editing and history.

mod complete;
mod prompt;

use std::cell::RefCell;
use std::path::PathBuf;

use anyhow::Result;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};

use crate::local::Flow;
use crate::session::Session;
use crate::shell::{Shell, report};

use complete::Words;

const WELCOME: &str = "
Welcome to guestfish, the shell for the file systems of guests.

Type: 'help' for the list of commands
      'help COMMAND' for one of them
      'quit' to leave
";

/// Reads and runs commands until the user leaves. Errors are shown, and the session goes on.
///
/// # Errors
/// When the terminal fails.
pub(crate) fn run(session: &mut Session) -> Result<()> {
    prompt::print("GUESTFISH_INIT");
    println!("{WELCOME}");
    let session = RefCell::new(session);
    let mut editor: Editor<Words<'_>, FileHistory> =
        Editor::with_config(Config::builder().auto_add_history(true).build())?;
    editor.set_helper(Some(Words::new(&session)));
    let history = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".guestfish"));
    if let Some(file) = &history {
        // The first time there is none.
        let _ = editor.load_history(file);
    }
    let mut shell = Shell::new(None);
    loop {
        let line = match editor.readline(&prompt::text()) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => {
                println!();
                break;
            }
            Err(error) => return Err(error.into()),
        };
        prompt::print("GUESTFISH_OUTPUT");
        let mut session = session.borrow_mut();
        match shell.run_line(&mut session, &line) {
            Ok(Flow::Go) => {}
            Ok(Flow::Quit) => break,
            Err(error) => report(&session, &error),
        }
    }
    prompt::print("GUESTFISH_RESTORE");
    if let Some(file) = &history {
        // A home that cannot be written loses the history and nothing else.
        let _ = editor.save_history(file);
    }
    Ok(())
}
