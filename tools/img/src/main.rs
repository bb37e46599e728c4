//! `img`: creates, converts, checks, resizes and snapshots disk images, in qemu-img's dialect.

mod amend;
mod arguments;
mod audit;
mod bench;
mod bitmap;
mod check;
mod commit;
mod compare;
mod convert;
mod create;
mod dd;
mod destination;
mod diff;
mod encryption;

mod hash;
mod holders;
mod image;
mod info;
mod man;
mod map;
mod measure;
mod options;
mod plot;
mod rebase;
mod repair;
mod report;
mod resize;
mod snapshot;
mod text;
mod tree;

use std::process::ExitCode;

use arguments::{Command, Usage};

/// All commands, in the order in which help lists them.
const COMMANDS: &[Command] = &[
    amend::COMMAND,
    audit::COMMAND,
    bench::COMMAND,
    bitmap::COMMAND,
    check::COMMAND,
    commit::COMMAND,
    compare::COMMAND,
    convert::COMMAND,
    create::COMMAND,
    dd::COMMAND,
    diff::DIFF,
    hash::COMMAND,
    info::COMMAND,
    man::COMMAND,
    map::COMMAND,
    measure::COMMAND,
    diff::PATCH,
    rebase::COMMAND,
    resize::COMMAND,
    snapshot::COMMAND,
    tree::COMMAND,
];

fn main() -> ExitCode {
    cli::interrupt::watch();
    let error = match cli::error::settled(arguments::run(COMMANDS)) {
        Ok(code) => return code,
        Err(error) => error,
    };
    match error.downcast_ref::<Usage>() {
        Some(usage) => eprintln!("{usage}"),
        None => {
            let message = cli::error::full_chain(&error);
            text::error(&message);
            // Scripts of qemu-img know its words, and no more.
            if let Some(help) = holders::help(&message).filter(|_| text::program() != "qemu-img") {
                eprintln!("{help}");
            }
        }
    }
    ExitCode::FAILURE
}
