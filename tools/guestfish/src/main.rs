//! `guestfish`: a shell for the file systems of guests.

mod defaults;
mod environment;
mod events;
mod getopt;
mod help;
mod interactive;
mod json;
mod local;
mod options;
mod prepared;
mod print;
mod progress;
mod remote;
mod session;
mod shell;
mod streams;
mod trace;
mod windows;
mod words;

use std::process::ExitCode;

use options::{Options, Parsed};
use session::Session;

fn main() -> ExitCode {
    let options = match options::parse() {
        Parsed::Run(options) => options,
        Parsed::Exit(code) => return code,
    };
    if options.listen && !remote::is_server() {
        return remote::announce(options.csh).unwrap_or_else(|error| failed(&error));
    }
    let mut session = match Session::new(&options) {
        Ok(session) => session,
        Err(error) => return failed(&error),
    };
    session.take_interrupts(!options.is_interactive());
    let done = session.prepare(&options).and_then(|()| run(&mut session, &options));
    // Also after an error: what was written before it must reach the disks.
    let ended = session.shut_down();
    match (done, ended) {
        (Ok(true), Ok(())) => ExitCode::SUCCESS,
        (Ok(_), Ok(())) => ExitCode::FAILURE,
        (Err(error), _) | (Ok(_), Err(error)) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<shell::Usage>() {
        Some(usage) => eprintln!("{usage}"),
        None if cli::error::is_broken_pipe(error) => {}
        None => eprintln!("libguestfs: error: {}", cli::error::chain(error)),
    }
    ExitCode::FAILURE
}

/// Runs the commands; false when one of them failed.
fn run(session: &mut Session, options: &Options) -> anyhow::Result<bool> {
    if !options.is_interactive() {
        let file = options.script.as_ref().map(|path| path.display().to_string());
        session.script = Some(file.unwrap_or_else(|| "*stdin*".to_owned()));
    }
    if options.listen {
        return remote::serve(session);
    }
    if !options.commands.is_empty() {
        return Ok(shell::run_command_line(session, &options.commands));
    }
    if options.is_interactive() {
        return interactive::run(session).map(|()| true);
    }
    shell::run_script(session, options.script.as_deref())
}
