//! The command line: commands, their options, and usage errors in qemu-img's form.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand};

use crate::text;

/// Create, convert, check, resize and snapshot disk images.
#[derive(Parser)]
#[command(name = "img", version, infer_long_args = true, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Check an image for errors, and repair them
    Check(CheckArguments),
    /// Copy images into another format
    Convert(ConvertArguments),
    /// Make a new image
    Create(CreateArguments),
    /// Show what an image is
    Info(InfoArguments),
    /// Change the size of an image
    Resize(ResizeArguments),
    /// List, create, apply or delete internal snapshots
    Snapshot(SnapshotArguments),
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Output {
    #[default]
    Human,
    Json,
}

fn output(value: &str) -> Result<Output, String> {
    match value {
        "human" => Ok(Output::Human),
        "json" => Ok(Output::Json),
        _ => Err(format!("--output expects 'human' or 'json' not '{value}'")),
    }
}

#[derive(Args)]
pub(crate) struct CreateArguments {
    /// Format of the image (raw, qcow2)
    #[arg(short, long, value_name = "FMT", default_value = "raw")]
    pub(crate) format: String,
    /// Format options, k=v separated by commas; 'help' lists them
    #[arg(short, long, value_name = "OPTS")]
    pub(crate) options: Vec<String>,
    /// Backing file: supplies what the image does not hold
    #[arg(short, long, value_name = "FILE")]
    pub(crate) backing: Option<String>,
    /// Format of the backing file
    #[arg(short = 'F', long, value_name = "FMT")]
    pub(crate) backing_format: Option<String>,
    /// Do not look at the backing file; SIZE is needed then
    #[arg(short = 'u', long)]
    pub(crate) backing_unsafe: bool,
    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The new image
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Size of the disk, with a suffix k, M, G, T, P or E
    #[arg(value_name = "SIZE", allow_hyphen_values = false)]
    pub(crate) size: Option<String>,
}

#[derive(Args)]
pub(crate) struct InfoArguments {
    /// Format of the image; guessed if not given
    #[arg(short, long, value_name = "FMT")]
    pub(crate) format: Option<String>,
    /// How to print: human or json
    #[arg(long, value_parser = output, default_value = "human")]
    pub(crate) output: Output,
    /// Show the backing files too
    #[arg(short, long)]
    pub(crate) backing_chain: bool,
    /// Tolerate that others write to the image
    #[arg(short = 'U', long)]
    pub(crate) force_share: bool,
    /// The image
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct CheckArguments {
    /// Format of the image; guessed if not given
    #[arg(short, long, value_name = "FMT")]
    pub(crate) format: Option<String>,
    /// Repair: 'leaks', or 'all' errors
    #[arg(short, long, value_name = "WHAT")]
    pub(crate) repair: Option<String>,
    /// How to print: human or json
    #[arg(long, value_parser = output, default_value = "human")]
    pub(crate) output: Output,
    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Tolerate that others write to the image
    #[arg(short = 'U', long)]
    pub(crate) force_share: bool,
    /// The image
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct ConvertArguments {
    /// Format of the sources; guessed if not given
    #[arg(short = 'f', long, value_name = "FMT")]
    pub(crate) source_format: Option<String>,
    /// Format of the target (default raw)
    #[arg(short = 'O', long, value_name = "FMT")]
    pub(crate) output_format: Option<String>,
    /// Format options of the target, k=v separated by commas; 'help' lists them
    #[arg(short = 'o', long, value_name = "OPTS")]
    pub(crate) options: Vec<String>,
    /// Compress the target (qcow2)
    #[arg(short = 'c')]
    pub(crate) compress: bool,
    /// Convert this internal snapshot of the source
    #[arg(short = 'l', long, value_name = "SNAPSHOT")]
    pub(crate) snapshot: Option<String>,
    /// The target exists already: write into it
    #[arg(short = 'n')]
    pub(crate) no_create: bool,
    /// Show progress
    #[arg(short = 'p')]
    pub(crate) progress: bool,
    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Smallest run of zeroes that becomes a hole; 0 allocates everything (default 4k)
    #[arg(short = 'S', long, value_name = "SIZE")]
    pub(crate) sparse_size: Option<String>,
    /// Work with this many threads (default: one for each processor)
    #[arg(short = 'm', long, value_name = "N")]
    pub(crate) parallel: Option<String>,
    /// Tolerate that others write to the sources
    #[arg(short = 'U', long)]
    pub(crate) force_share: bool,
    /// Sources, one after the other, and the target
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Args)]
pub(crate) struct ResizeArguments {
    /// Format of the image; guessed if not given
    #[arg(short, long, value_name = "FMT")]
    pub(crate) format: Option<String>,
    /// What to allocate of the new space: off, metadata, falloc, full
    #[arg(long, value_name = "MODE", default_value = "off")]
    pub(crate) preallocation: String,
    /// Allow to cut off data
    #[arg(long)]
    pub(crate) shrink: bool,
    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The image
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Its new size, or a change of it: 10G, +1G, -512M
    #[arg(value_name = "[+-]SIZE", allow_hyphen_values = true)]
    pub(crate) size: Option<String>,
}

#[derive(Args)]
pub(crate) struct SnapshotArguments {
    /// List the snapshots (the default)
    #[arg(short = 'l', long)]
    pub(crate) list: bool,
    /// Take a snapshot
    #[arg(short = 'c', long, value_name = "NAME")]
    pub(crate) create: Option<String>,
    /// Go back to a snapshot
    #[arg(short = 'a', long, value_name = "NAME")]
    pub(crate) apply: Option<String>,
    /// Delete a snapshot
    #[arg(short = 'd', long, value_name = "NAME")]
    pub(crate) delete: Option<String>,
    /// Format of the image; guessed if not given
    #[arg(short, long, value_name = "FMT")]
    pub(crate) format: Option<String>,
    /// Tolerate that others write to the image
    #[arg(short = 'U', long)]
    pub(crate) force_share: bool,
    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The image
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// What the command line asks for.
pub(crate) enum Parsed {
    Run(Box<Command>),
    Exit(ExitCode),
}

/// Reads the command line; usage errors are printed.
pub(crate) fn parse() -> Parsed {
    let words: Vec<_> = std::env::args_os().collect();
    let command = words.get(1).map(|w| w.to_string_lossy().into_owned());
    match Arguments::try_parse_from(words) {
        Ok(arguments) => Parsed::Run(Box::new(arguments.command)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                // Nobody listens: no reason to fail.
                let _ = error.print();
                Parsed::Exit(ExitCode::SUCCESS)
            }
            _ => {
                let command = subcommand(command.as_deref(), &error);
                match option_error(&error) {
                    Some(text) => option_usage(&text, command),
                    None => usage(&message(&error), command),
                }
                Parsed::Exit(ExitCode::FAILURE)
            }
        },
    }
}

/// A usage error of `command`, with the way to help.
pub(crate) fn usage(message: &str, command: Option<&str>) {
    let program = text::program();
    let help = command.map(|c| format!("{program} {c}")).unwrap_or_else(|| program.to_owned());
    eprintln!("{program}: {message}");
    eprintln!("Try '{help} --help' for more info");
}

/// A usage error about an option: it names the command in front.
fn option_usage(message: &str, command: Option<&str>) {
    let program = text::program();
    let name = command.map(|c| format!("{program} {c}")).unwrap_or_else(|| program.to_owned());
    eprintln!("{name}: {message}");
    eprintln!("Try '{name} --help' for more info");
}

/// What getopt would say of an option that is unknown or lacks its value.
fn option_error(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else { return None };
    let letter =
        option.strip_prefix('-').filter(|rest| !rest.starts_with('-')).and_then(|rest| rest.chars().next());
    match (error.kind(), letter) {
        (ErrorKind::UnknownArgument, Some(letter)) => Some(format!("invalid option -- '{letter}'")),
        (ErrorKind::UnknownArgument, None) if option.starts_with("--") => {
            Some(format!("unrecognized option '{option}'"))
        }
        (ErrorKind::InvalidValue, _) => {
            // clap shows the option with the name of its value.
            let option = option.split(' ').next().unwrap_or_default();
            match option.strip_prefix("--") {
                Some(_) => Some(format!("option '{option}' requires an argument")),
                None => Some(format!("option requires an argument -- '{}'", option.trim_start_matches('-'))),
            }
        }
        _ => None,
    }
}

fn subcommand<'a>(command: Option<&'a str>, error: &clap::Error) -> Option<&'a str> {
    match error.kind() {
        ErrorKind::InvalidSubcommand | ErrorKind::MissingSubcommand => None,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => None,
        _ => command.filter(|c| !c.starts_with('-')),
    }
}

fn message(error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            format!("Command not found: {}", context(ContextKind::InvalidSubcommand))
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "Not enough arguments".to_owned()
        }
        ErrorKind::ValueValidation => match std::error::Error::source(error) {
            Some(source) => source.to_string(),
            None => error.to_string(),
        },
        ErrorKind::UnknownArgument => format!("Unexpected argument: {}", context(ContextKind::InvalidArg)),

        _ => {
            let text = error.to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            text.lines().next().unwrap_or_default().to_owned()
        }
    }
}
