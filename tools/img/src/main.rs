//! `img`: creates, converts, checks, resizes and snapshots disk images, in qemu-img's dialect.

mod arguments;
mod check;
mod convert;
mod create;
mod info;
mod options;
mod resize;
mod snapshot;
mod text;

use std::process::ExitCode;

use arguments::{Command, Parsed};

fn main() -> ExitCode {
    cli::interrupt::watch();
    let command = match arguments::parse() {
        Parsed::Run(command) => command,
        Parsed::Exit(code) => return code,
    };
    let done = match *command {
        Command::Create(arguments) => create::run(arguments),
        Command::Info(arguments) => info::run(arguments),
        Command::Convert(arguments) => convert::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Resize(arguments) => resize::run(arguments),
        Command::Snapshot(arguments) => snapshot::run(arguments),
    };
    match done {
        Ok(code) => code,
        Err(error) if cli::error::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            text::error(&cli::error::chain(&error));
            ExitCode::FAILURE
        }
    }
}
