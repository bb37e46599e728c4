//! `guestfish`: a shell for the file systems of guests.

mod interactive;
mod local;
mod options;
mod print;
mod session;
mod shell;
mod streams;
mod words;

use std::process::ExitCode;

use options::{Options, Parsed};
use session::Session;

fn main() -> ExitCode {
    let options = match options::parse() {
        Parsed::Run(options) => options,
        Parsed::Exit(code) => return code,
    };
    let mut session = Session::new(&options);
    session.take_interrupts(!options.is_interactive());
    let done = prepare(&mut session, &options).and_then(|()| run(&mut session, &options));
    // Also after an error: what was written before it must reach the disks.
    let ended = session.shut_down();
    match (done, ended) {
        (Ok(true), Ok(())) => ExitCode::SUCCESS,
        (Ok(_), Ok(())) => ExitCode::FAILURE,
        (Err(error), _) | (Ok(_), Err(error)) => {
            if !cli::error::is_broken_pipe(&error) {
                eprintln!("libguestfs: error: {}", cli::error::chain(&error));
            }
            ExitCode::FAILURE
        }
    }
}

/// What the options ask for before the first command.
fn prepare(session: &mut Session, options: &Options) -> anyhow::Result<()> {
    for drive in &options.guest.drives {
        session.add_drive(drive, options.read_only)?;
    }
    if options.inspect || !options.mounts.is_empty() {
        session.launch()?;
    }
    for mount in &options.mounts {
        session.mount(mount, options.read_only)?;
    }
    if options.inspect {
        session.inspect(options.read_only, options.is_interactive())?;
    }
    Ok(())
}

/// Runs the commands; false when one of them failed.
fn run(session: &mut Session, options: &Options) -> anyhow::Result<bool> {
    if !options.commands.is_empty() {
        return Ok(shell::run_command_line(session, &options.commands));
    }
    if options.is_interactive() {
        return interactive::run(session).map(|()| true);
    }
    shell::run_script(session, options.script.as_deref())
}
