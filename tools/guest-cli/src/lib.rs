//! Manners shared by the tools that work on guests: which disks, which back-end, what to mount.

mod arguments;
pub mod copy;
mod mounts;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use appliance_engine::launch::{self, Notice};
use guest::{ConsoleFn, How, NoticeFn, Settings};

pub use arguments::{DriveSpec, GuestArguments, GuestOptions};
pub use mounts::{MountSpec, mount_system};

/// How a guest is served, as the user chose it.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// Directly or by an appliance.
    pub how: How,
    /// What runs the appliance.
    pub backend: launch::Choice,
    /// Its memory in MiB.
    pub memory_mib: u32,
    /// Its processors.
    pub cpus: u8,
    /// Tell who answers and why, and show what the appliance's kernel says.
    pub verbose: bool,
}

impl Service {
    /// The settings for a guest; what they have to tell goes to standard error under the name `program`.
    pub fn settings(&self, program: &'static str) -> Settings {
        Settings {
            how: self.how,
            backend: self.backend,
            memory_mib: self.memory_mib,
            cpus: self.cpus,
            verbose: self.verbose,
            program: program.to_owned(),
            notice: Some(notices(program)),
            console: Some(console()),
        }
    }
}

/// Tells on standard error, under the name `program`, who serves a guest and why.
pub fn notices(program: &'static str) -> NoticeFn {
    let terminal = std::io::stderr().is_terminal();
    Box::new(move |notice: Notice<'_>, verbose| match notice {
        // Scripts compare what they get: only who sits there is told that things could be better.
        Notice::Fallback(line) if verbose || terminal || line.starts_with("warning: ") => {
            eprintln!("{program}: {line}.");
        }
        Notice::Detail(line) if verbose => eprintln!("{program}: {line}."),
        _ => {}
    })
}

/// Shows what the appliance's kernel says, if everything is to be told.
pub fn console() -> ConsoleFn {
    Arc::new(|text: &[u8], verbose| {
        if verbose {
            // Nobody reads it: nothing is lost.
            let _ = std::io::stderr().write_all(text);
        }
    })
}

/// Ends a program: prints what went wrong, if something did.
pub fn finish(program: &str, done: anyhow::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if cli::error::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {}", cli::error::chain(&error));
            ExitCode::FAILURE
        }
    }
}
