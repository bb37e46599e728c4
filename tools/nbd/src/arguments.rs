//! What all command lines have in common: finding the command, reading its options, help and usage errors.

use std::ffi::OsString;
use std::fmt;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use cli::error::Help;
use cli::getopt::{Getopt, Item, Name, Opt, opt};

/// A command: how it is called, what it is for, which options it knows, and what does it.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    /// The program whose place it takes under that program's name; empty if none.
    pub(crate) peer: &'static str,
    /// One line.
    pub(crate) about: &'static str,
    /// What follows the options.
    pub(crate) operands: &'static str,
    pub(crate) options: &'static [Opt],
    /// The first operand ends the options: what follows it belongs to somebody else.
    pub(crate) operands_last: bool,
    pub(crate) run: fn(Words) -> Result<ExitCode>,
}

/// The option that every command has.
pub(crate) const HELP: Opt = opt('h', "help", "", "show this help");
/// The other one.
pub(crate) const VERSION: Opt = opt('V', "version", "", "show the version");

/// The options of the program itself, in front of the command.
const GLOBAL: [Opt; 2] = [HELP, VERSION];

/// The rest of a command line, and whose it is.
pub(crate) struct Words {
    command: &'static Command,
    words: Vec<OsString>,
}

impl Words {
    /// Reads all options, calling `option` for each in order, and returns the operands. `--help` and `--version` are
    /// dealt with here.
    ///
    /// # Errors
    /// Usage errors, and what `option` returns.
    pub(crate) fn read(self, mut option: impl FnMut(Name, &OsString) -> Result<()>) -> Result<Vec<OsString>> {
        let Words { command, words } = self;
        if let (true, [only]) = (cli::plays_peer(), &words[..])
            && let Some(list) = option_names(command, only)
        {
            return Err(Help(list).into());
        }
        let mut getopt = Getopt::new(command.options, &[], words);
        if command.operands_last {
            getopt = getopt.operands_last();
        }
        let mut operands = Vec::new();
        while let Some(next) = getopt.item().map_err(|text| Usage::option(command, text))? {
            match next {
                Item::Option(Name::Letter('h') | Name::Long("help"), _) => {
                    return Err(Help(command_help(command)).into());
                }
                Item::Option(Name::Letter('V') | Name::Long("version"), _) => {
                    return Err(Help(version()).into());
                }
                Item::Option(name, value) => option(name, &value)?,
                Item::Operand(word) => operands.push(word),
            }
        }
        Ok(operands)
    }
}

/// What shells that complete command lines ask libnbd's programs for.
fn option_names(command: &Command, question: &OsString) -> Option<String> {
    let names: Vec<String> = match question.to_str()? {
        "--long-options" => command.options.iter().filter_map(Opt::long_word).collect(),
        "--short-options" => command.options.iter().filter_map(Opt::letter_word).collect(),
        _ => return None,
    };
    Some(names.into_iter().map(|name| name + "\n").collect())
}

/// A mistake in the command line.
#[derive(Debug)]
pub(crate) struct Usage {
    text: String,
    command: Option<&'static Command>,
    /// Found by `getopt`, whose words have their own form.
    is_option: bool,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Usage {
    /// A mistake in what was given to `command`.
    pub(crate) fn error(command: &'static Command, text: impl Into<String>) -> anyhow::Error {
        Usage { text: text.into(), command: Some(command), is_option: false }.into()
    }

    fn option(command: &'static Command, text: String) -> anyhow::Error {
        Usage { text, command: Some(command), is_option: true }.into()
    }

    fn global(text: String) -> anyhow::Error {
        Usage { text, command: None, is_option: false }.into()
    }
}

impl std::error::Error for Usage {}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = cli::program();
        match self.command {
            Some(command) if program == command.peer && program == "qemu-nbd" => {
                let again = if self.is_option { "qemu-nbd: " } else { "" };
                write!(f, "{program}: {}\n{again}Try `{program} --help' for more information.", self.text)
            }
            Some(command) if program == command.peer => {
                write!(f, "{program}: {}\n\n{}", self.text, command_help(command))
            }
            Some(command) => {
                let whole = format!("{program} {}", command.name);
                let front = if self.is_option { &whole } else { program };
                write!(f, "{front}: {}\nTry '{whole} --help' for more info", self.text)
            }
            None => write!(f, "{program}: {}\nTry '{program} --help' for more info", self.text),
        }
    }
}

/// Finds the command among `commands`, by the program's name or by the first word, and runs it.
///
/// # Errors
/// [`Usage`], [`Help`], and whatever keeps the command from its work.
pub(crate) fn run(commands: &'static [Command]) -> Result<ExitCode> {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(command) = commands.iter().find(|command| command.peer == cli::program()) {
        return (command.run)(Words { command, words });
    }
    let mut words = words.into_iter();
    let Some(first) = words.next() else { return Err(Help(help(commands)).into()) };
    if let Some(command) = commands.iter().find(|command| first == command.name) {
        return (command.run)(Words { command, words: words.collect() });
    }
    let mut getopt = Getopt::new(&GLOBAL, &[], vec![first.clone()]);
    match getopt.item().map_err(Usage::global)? {
        Some(Item::Option(Name::Letter('h'), _)) => Err(Help(help(commands)).into()),
        Some(Item::Option(..)) => Err(Help(version()).into()),
        _ => Err(Usage::global(format!("There is no command '{}'", first.display()))),
    }
}

/// The versions whose options and output these are, in the form in which scripts look for them.
const PEER_VERSIONS: &[(&str, &str)] = &[
    ("qemu-nbd", "10.0.2"),
    ("nbdcopy", "1.14.2"),
    ("nbdinfo", "1.14.2"),
    ("nbddump", "1.14.2"),
    ("nbdfuse", "1.14.2"),
];

fn version() -> String {
    let (program, own) = (cli::program(), env!("CARGO_PKG_VERSION"));
    let peer = PEER_VERSIONS.iter().find(|(name, _)| *name == program);
    match peer {
        Some((name, like)) if name.starts_with("nbd") => format!("{program} {like}\nlibnbd {like}\n"),
        Some((_, like)) => format!("{program} {like} (Diskwright {own})\n"),
        None => format!("{program} {own} (Diskwright)\n"),
    }
}

fn help(commands: &[Command]) -> String {
    let program = cli::program();
    let mut out = format!(
        "Serves block devices over the network, copies, inspects and attaches them.\n\nUsage:\n\n  {program} COMMAND [OPTIONS] ...\n\nCommands ('{program} COMMAND --help' tells more):\n\n"
    );
    let width = commands.iter().map(|command| command.name.len()).max().unwrap_or(0);
    for command in commands {
        out += &format!("  {:width$}  {}\n", command.name, command.about);
    }
    out
}

/// How the command is called, and its options.
pub(crate) fn command_help(command: &Command) -> String {
    let program = cli::program();
    let call =
        if program == command.peer { program.to_owned() } else { format!("{program} {}", command.name) };
    let mut out = format!("{}.\n\nUsage:\n\n", command.about);
    for operands in command.operands.split('\n') {
        out += &format!("  {call} [OPTIONS] {operands}\n");
    }
    out += "\nOptions:\n\n";
    for (names, help) in command.options.iter().filter_map(Opt::help) {
        out += &format!("  {names}\n     {help}\n");
    }
    out
}

/// A value that has to be text.
///
/// # Errors
/// When it is not UTF-8.
pub(crate) fn string(value: &OsString) -> Result<String> {
    let text = value.to_str().ok_or_else(|| anyhow!("'{}' is not valid UTF-8", value.display()))?;
    Ok(text.to_owned())
}
