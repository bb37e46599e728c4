//! Command lines: read by clap, complained about in the words that scripts know from `getopt_long`.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command};
use guest_cli::{DiskSpec, GuestOptions, Usage, hint};

/// What prints the manual page: for those who install it.
const MANUAL: &str = "--manual-page";

/// Reads the command line; a usage error is printed and gives the exit code.
///
/// # Errors
/// The exit code, after help and version as well.
pub fn matches(command: Command) -> Result<ArgMatches, ExitCode> {
    let name = command.get_name().to_owned();
    if std::env::args_os().skip(1).eq([MANUAL]) {
        return Err(guest_cli::finish(&name, cli::print(&cli::man::page(&command))));
    }
    command.try_get_matches().map_err(|error| {
        if !error.use_stderr() {
            // Nobody listens: no reason to fail differently.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        let last = std::env::args().next_back().unwrap_or_default();
        eprintln!("{name}: {}\n{}", complaint(&error, &last), hint(&name));
        ExitCode::FAILURE
    })
}

/// What is wrong with a command line that ends with the word `last`.
fn complaint(error: &clap::Error, last: &str) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    // With its value's name behind it.
    let shown = text(ContextKind::InvalidArg);
    let option = shown.split([' ', '=', '[']).next().unwrap_or_default();
    let letter = |word: &str| {
        let mut rest = word.strip_prefix('-')?.chars();
        rest.next().filter(|first| *first != '-' && rest.next().is_none())
    };
    match (error.kind(), letter(option)) {
        (ErrorKind::UnknownArgument, Some(letter)) => format!("invalid option -- '{letter}'"),
        (ErrorKind::UnknownArgument, None) if option.starts_with("--") => {
            format!("unrecognized option '{option}'")
        }
        (ErrorKind::UnknownArgument, None) => format!("extra argument '{shown}'"),
        (ErrorKind::InvalidValue, _) if text(ContextKind::InvalidValue).is_empty() => {
            // Letters may stand together; the last one wanted a value.
            let letter = last.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
            match letter.and_then(|letters| letters.chars().next_back()) {
                Some(letter) => format!("option requires an argument -- '{letter}'"),
                None => format!("option '{option}' requires an argument"),
            }
        }
        (ErrorKind::TooManyValues, _) => format!("option '{option}' doesn't allow an argument"),
        _ => {
            let whole = error.to_string();
            let first = whole.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        }
    }
}

/// The disks of the options and the words that are left: without options all words but the last are disks, as this was
/// written long ago.
///
/// # Errors
/// When there is no word left, said as `missing`.
pub fn disks_and_words(
    options: &GuestOptions,
    words: Vec<OsString>,
    program: &str,
    missing: &str,
) -> anyhow::Result<(Vec<DiskSpec>, Vec<OsString>)> {
    let none = || Usage(format!("{missing}{}", hint(program)));
    if !options.disks.is_empty() {
        return if words.is_empty() { Err(none().into()) } else { Ok((options.disks.clone(), words)) };
    }
    match words.split_last() {
        Some((last, disks)) if !disks.is_empty() => {
            Ok((disks.iter().map(|word| options.word(&word.to_string_lossy())).collect(), vec![last.clone()]))
        }
        _ => Err(none().into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_those_of_getopt() {
        let told = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let command = crate::command_without_h("x", "").arg(crate::flag("csv", ""));
            complaint(&command.try_get_matches_from(&words).unwrap_err(), words.last().unwrap())
        };
        for (line, expected) in [
            ("x --nope", "unrecognized option '--nope'"),
            ("x --nope=1", "unrecognized option '--nope'"),
            ("x -q", "invalid option -- 'q'"),
            ("x -vq", "invalid option -- 'q'"),
            ("x -a", "option requires an argument -- 'a'"),
            ("x -va", "option requires an argument -- 'a'"),
            ("x --add", "option '--add' requires an argument"),
            ("x --csv=yes", "option '--csv' doesn't allow an argument"),
            ("x word", "extra argument 'word'"),
        ] {
            assert_eq!(told(line), expected, "{line}");
        }
        assert!(told("x --key nonsense").contains("missing TYPE"));
    }
}
