//! What all command lines have in common: finding the command, reading its options, help and usage errors.

use std::ffi::OsString;
use std::fmt;
use std::process::ExitCode;
use std::sync::OnceLock;

use anyhow::{Result, anyhow, bail};
use libimage::format::Format;
use libimage::spec::{Objects, object_help};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{report, text};
use cli::error::Help;
use cli::getopt::{Getopt, Item, Name, Opt, opt, ours};

/// A command: how it is called, what it is for, which options it knows, and what does it.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    /// One line.
    pub(crate) about: &'static str,
    /// What follows the options.
    pub(crate) operands: &'static str,
    pub(crate) options: &'static [Opt],
    pub(crate) run: fn(Words) -> Result<ExitCode>,
}

impl Command {
    /// Its own options, and then those that all commands have.
    pub(crate) fn all_options(&self) -> impl Iterator<Item = &Opt> {
        let own = |common: &&Opt| !self.options.iter().any(|option| option.long() == common.long());
        self.options.iter().chain(COMMON.iter().filter(own))
    }
}

/// The options of the program itself, in front of the command.
const GLOBAL: [Opt; 3] = [
    opt('h', "help", "", "show this help"),
    opt('V', "version", "", "show the version"),
    opt('T', "trace", "TRACE", ""),
];

/// The option that every command has.
pub(crate) const HELP: Opt = opt('h', "help", "", "show this help");
/// Less is said.
pub(crate) const QUIET: Opt = opt('q', "quiet", "", "print nothing but errors");
/// Which format the image has.
pub(crate) const FORMAT: Opt = opt('f', "format", "FMT", "format of the image; guessed if not given");
/// The file is named by block options.
pub(crate) const IMAGE_OPTS: Opt =
    opt('\0', "image-opts", "", "FILENAME is a list of options: driver=FMT,file.filename=NAME");
/// For people or for programs.
pub(crate) const OUTPUT: Opt = opt('\0', "output", "human|json", "how to print (default human)");
/// How far it is.
pub(crate) const PROGRESS: Opt = opt('p', "progress", "", "show progress");
/// Locks of others are not minded.
pub(crate) const FORCE_SHARE: Opt = opt('U', "force-share", "", "tolerate that others write to the image");
/// Objects: secrets and the like.
pub(crate) const OBJECT: Opt =
    opt('\0', "object", "OBJDEF", "an object that options refer to: secret,id=ID,file=FILE");

/// What the `--object` options of the command line made.
static OBJECTS: OnceLock<Objects> = OnceLock::new();

/// The objects of the command line.
pub(crate) fn objects() -> &'static Objects {
    OBJECTS.get_or_init(Objects::default)
}

/// What every command has besides its own options; its own `--output` is the one that counts.
const COMMON: [Opt; 2] = [
    ours(
        "untrusted",
        "",
        "images are from strangers: follow no name in them, use no more than 1 GiB of memory",
    ),
    ours("output", "human|json", "json: report to a program how it ended"),
];

/// Address space and processor time that may be used for them.
const MAX_MEMORY: u64 = 1 << 30;
const MAX_SECONDS: u64 = 60;

static IS_UNTRUSTED: OnceLock<bool> = OnceLock::new();

/// The command line says that its images are not trusted.
pub(crate) fn untrusted() -> bool {
    IS_UNTRUSTED.get().copied().unwrap_or(false)
}

/// Whatever an image says, no more than this is spent on it.
fn limit(command: &Command) {
    let limit = |resource, value| {
        // Where less is allowed already, less it is.
        let old = getrlimit(resource);
        let value = old.maximum.map_or(value, |maximum| maximum.min(value));
        let _ = setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) });
    };
    limit(Resource::As, MAX_MEMORY);
    // Copying takes the time that it takes.
    if matches!(command.name, "audit" | "check" | "info" | "map" | "measure" | "snapshot" | "tree") {
        limit(Resource::Cpu, MAX_SECONDS);
    }
}

/// The rest of a command line, and whose it is.
pub(crate) struct Words {
    command: &'static Command,
    words: Vec<OsString>,
}

impl Words {
    /// Reads all options, calling `option` for each in order, and returns the operands. `--help` and `--object`
    /// are dealt with here: see [`objects`].
    ///
    /// # Errors
    /// Usage errors, and what `option` returns.
    pub(crate) fn read(self, mut option: impl FnMut(Name, &OsString) -> Result<()>) -> Result<Vec<OsString>> {
        let mut operands = Vec::new();
        self.each(|item, _| match item {
            Item::Option(name, value) => option(name, &value),
            Item::Operand(word) => {
                operands.push(word);
                Ok(())
            }
        })?;
        Ok(operands)
    }

    /// Calls `item` for each option and operand in order, with what is left of the line.
    ///
    /// # Errors
    /// Usage errors, and what `item` returns.
    pub(crate) fn each(self, mut item: impl FnMut(Item, &mut Getopt) -> Result<()>) -> Result<()> {
        let Words { command, words } = self;
        let mut getopt = Getopt::new(command.options, &COMMON, words);
        let reports = command.options.iter().any(|option| option.long() == "output");
        let (mut wanted, mut streams) = (false, false);
        let mut objects = Objects::default();
        while let Some(next) = getopt.item().map_err(|text| Usage::option(command.name, text))? {
            match next {
                Item::Option(Name::Letter('h'), _) => return Err(Help(command_help(command)).into()),
                Item::Option(Name::Long("object"), value) => {
                    let text = string(&value)?;
                    if let Some(help) = object_help(&text) {
                        return Err(Help(help).into());
                    }
                    objects.add(&text)?;
                }
                Item::Option(Name::Long("untrusted"), _) => {
                    // There is one command line, and it is read once.
                    let _ = IS_UNTRUSTED.set(true);
                    limit(command);
                }
                Item::Option(Name::Long("output"), value) if !reports => {
                    wanted = Output::parse(command.name, &value)? == Output::Json;
                }
                other => {
                    streams |= matches!(&other, Item::Operand(word) if word == "-");
                    item(other, &mut getopt)?;
                }
            }
        }
        if wanted {
            if streams {
                bail!("What goes to standard output leaves no room for a report: leave --output out");
            }
            if command.options.iter().any(Opt::is_quiet) {
                item(Item::Option(Name::Letter('q'), OsString::new()), &mut getopt)?;
            }
            report::want();
        }
        // There is one command line, and it is read once.
        let _ = OBJECTS.set(objects);
        Ok(())
    }
}

/// A mistake in the command line.
#[derive(Debug)]
pub(crate) struct Usage {
    text: String,
    command: Option<&'static str>,
    /// The command is named in front of the message, as `getopt` does.
    in_front: bool,
}

impl Usage {
    /// A mistake in what was given to `command`.
    pub(crate) fn error(command: &'static str, text: impl Into<String>) -> anyhow::Error {
        Usage { text: text.into(), command: Some(command), in_front: false }.into()
    }

    fn option(command: &'static str, text: String) -> anyhow::Error {
        Usage { text, command: Some(command), in_front: true }.into()
    }

    fn global(text: String) -> anyhow::Error {
        Usage { text, command: None, in_front: false }.into()
    }
}

impl std::error::Error for Usage {}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = text::program();
        let whole = self.command.map_or(program.to_owned(), |command| format!("{program} {command}"));
        let front = if self.in_front { &whole } else { program };
        write!(f, "{front}: {}\nTry '{whole} --help' for more info", self.text)
    }
}

/// Finds the command among `commands` and runs it.
///
/// # Errors
/// [`Usage`], [`Help`], and whatever keeps the command from its work.
pub(crate) fn run(commands: &'static [Command]) -> Result<ExitCode> {
    let mut words: Vec<OsString> = std::env::args_os().skip(1).collect();
    // Options before the command are the program's own; the first operand ends them.
    let own = global_words(&words);
    let rest = words.split_off(own);
    let mut getopt = Getopt::new(&GLOBAL, &[], words);
    while let Some(item) = getopt.item().map_err(Usage::global)? {
        match item {
            Item::Option(Name::Letter('h'), _) => return Err(Help(help(commands)).into()),
            Item::Option(Name::Letter('V'), _) => return Err(Help(version()).into()),
            Item::Option(..) => bail!("There is no tracing; leave -T out"),
            Item::Operand(_) => {}
        }
    }
    let mut rest = rest.into_iter();
    let Some(name) = rest.next() else { return Err(Usage::global("Not enough arguments".to_owned())) };
    match commands.iter().find(|command| name == command.name) {
        Some(command) => {
            let words: Vec<OsString> = rest.collect();
            let given = words.clone();
            report::finish(command.name, &given, (command.run)(Words { command, words }))
        }
        None => Err(Usage::global(format!("Command not found: {}", name.display()))),
    }
}

/// How many words belong to the program itself.
fn global_words(words: &[OsString]) -> usize {
    let mut count = 0;
    while let Some(word) = words.get(count) {
        let text = word.to_string_lossy();
        match &*text {
            "--" => return count + 1,
            "-T" | "--trace" => count += 2,
            text if text.len() > 1 && text.starts_with('-') => count += 1,
            _ => break,
        }
    }
    count.min(words.len())
}

/// The version of qemu-img whose commands, options and output these are.
const LIKE_QEMU: &str = "10.0.13";

/// Under the name `qemu-img` the first version is the one that scripts ask for.
fn version() -> String {
    let (program, own) = (text::program(), env!("CARGO_PKG_VERSION"));
    match program {
        "qemu-img" => format!("{program} version {LIKE_QEMU} (Diskwright {own})\n"),
        _ => format!("{program} version {own} (Diskwright, in the manner of qemu-img {LIKE_QEMU})\n"),
    }
}

fn help(commands: &[Command]) -> String {
    let program = text::program();
    let mut out = version();
    out += &format!(
        "Creates, converts, checks, resizes and snapshots disk images.\n\nUsage:\n\n  {program} [OPTIONS] COMMAND [--help | COMMAND OPTIONS]\n\nOptions:\n"
    );
    out += &options_help(&GLOBAL);
    out += &format!("\nCommands ('{program} COMMAND --help' tells more):\n\n");
    for command in commands {
        out += &format!("  {} - {}\n", command.name, command.about);
    }
    let mut formats: Vec<&str> = Format::ALL.into_iter().map(Format::name).collect();
    formats.extend(["file", "host_device", "null-aio", "null-co"]);
    formats.sort_unstable();
    let formats = formats.join(" ");
    // Scripts look for either line.
    out + &format!("\nSupported image formats:\n\n  {formats}\n\nSupported formats: {formats}\n")
}

fn command_help(command: &Command) -> String {
    let program = text::program();
    let mut out = format!("{}.\n\nUsage:\n\n", command.about);
    out += &format!("  {program} {} [OPTIONS] {}\n\nOptions:\n", command.name, command.operands);
    out + &options_help(command.all_options())
}

fn options_help<'a>(options: impl IntoIterator<Item = &'a Opt>) -> String {
    let lines = options.into_iter().filter_map(Opt::help);
    lines.map(|(names, help)| format!("  {names}\n     {help}\n")).collect()
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Output {
    #[default]
    Human,
    Json,
}

impl Output {
    /// The value of `--output`.
    ///
    /// # Errors
    /// A usage error of `command` for anything else.
    pub(crate) fn parse(command: &'static str, value: &OsString) -> Result<Self> {
        match value.to_str() {
            Some("human") => Ok(Output::Human),
            Some("json") => Ok(Output::Json),
            _ => Err(Usage::error(
                command,
                format!("--output expects 'human' or 'json' not '{}'", value.display()),
            )),
        }
    }
}

/// A value that has to be text.
///
/// # Errors
/// When it is not UTF-8.
pub(crate) fn string(value: &OsString) -> Result<String> {
    let text = value.to_str().ok_or_else(|| anyhow!("'{}' is not valid UTF-8", value.display()))?;
    Ok(text.to_owned())
}
