//! Manners shared by the tools that work on guests: which disks, which back-end, what to mount.

mod arguments;
pub mod copy;
pub mod keys;
pub mod luks;
mod mounts;
pub mod uri;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use appliance_engine::launch::{self, Notice};
use guest::{ConsoleFn, How, NoticeFn, Settings, TraceFn};

pub use arguments::{DiskSpec, DriveSpec, GuestArguments, GuestOptions};
pub use mounts::{MountSpec, mount_all, mount_system};

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
    /// Show every action that is called.
    pub trace: bool,
    /// Look at read-only images even while a machine writes to them.
    pub share: bool,
}

/// Something that was not asked for as it should be; it is told as it is, with the program's name in it.
#[derive(Debug)]
pub struct Usage(pub String);

impl Usage {
    /// What is wrong with the command line, and where help is.
    pub fn of(program: &str, what: &str) -> Self {
        Usage(format!("{program}: {what}\n{}", hint(program)))
    }
}

/// Where help is.
pub fn hint(program: &str) -> String {
    format!("Try ‘{program} --help’ for more information.")
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

impl Service {
    /// The settings for a guest; what they have to tell goes to standard error under the name `program`.
    pub fn settings(&self, program: &'static str) -> Settings {
        Settings {
            how: self.how,
            backend: self.backend,
            memory_mib: self.memory_mib,
            cpus: self.cpus,
            verbose: self.verbose,
            share: self.share,
            program: program.to_owned(),
            notice: Some(notices(program)),
            trace: self
                .trace
                .then(|| Box::new(|line: &str| eprintln!("libguestfs: trace: {line}")) as TraceFn),
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
        Err(error) => report(program, &error),
    }
}

/// Prints what went wrong. A reader that does not want more is no failure.
pub fn report(program: &str, error: &anyhow::Error) -> ExitCode {
    if cli::error::is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    eprintln!("{}", complaint(program, error));
    ExitCode::FAILURE
}

/// What is printed about an error: what an action said has the name that scripts look for.
pub fn complaint(program: &str, error: &anyhow::Error) -> String {
    if let Some(usage) = error.downcast_ref::<Usage>() {
        return usage.to_string();
    }
    let by_action = error.downcast_ref::<guestd_api::Error>().is_some();
    format!("{}: {}", if by_action { "libguestfs: error" } else { program }, cli::error::chain(error))
}
