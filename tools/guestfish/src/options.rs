//! The command line.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use appliance_engine::launch::Choice;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use guest::How;

/// What the user asked for.
pub(crate) struct Options {
    pub(crate) drives: Vec<DriveOption>,
    pub(crate) mounts: Vec<String>,
    pub(crate) inspect: bool,
    pub(crate) read_only: bool,
    pub(crate) script: Option<PathBuf>,
    pub(crate) verbose: bool,
    pub(crate) trace: bool,
    pub(crate) how: How,
    pub(crate) backend: Choice,
    pub(crate) memory_mib: u32,
    pub(crate) cpus: u8,
    pub(crate) commands: Vec<OsString>,
}

/// A disk named on the command line, with the format that was in force at that point.
pub(crate) struct DriveOption {
    pub(crate) file: String,
    pub(crate) format: Option<String>,
}

impl Options {
    /// Somebody sits at a terminal and types.
    pub(crate) fn is_interactive(&self) -> bool {
        self.commands.is_empty() && self.script.is_none() && std::io::stdin().is_terminal()
    }
}

/// What the command line asks for.
pub(crate) enum Parsed {
    Run(Options),
    Exit(ExitCode),
}

pub(crate) fn parse() -> Parsed {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // Nobody listens: no reason to fail differently.
            let _ = error.print();
            let code = if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
            return Parsed::Exit(code);
        }
    };
    if let Some(name) = matches.get_one::<String>("cmd-help") {
        let found = crate::local::help(if name.is_empty() { None } else { Some(name.as_str()) });
        return Parsed::Exit(match found.and_then(|text| cli::print(&text)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("guestfish: {}", cli::error::chain(&error));
                ExitCode::FAILURE
            }
        });
    }
    let backend = match matches.get_one::<Choice>("backend") {
        Some(choice) => Ok(*choice),
        None => Choice::from_environment(),
    };
    match backend {
        Ok(backend) => Parsed::Run(options(&matches, backend)),
        Err(error) => {
            eprintln!("guestfish: {error}");
            Parsed::Exit(ExitCode::FAILURE)
        }
    }
}

fn options(matches: &ArgMatches, backend: Choice) -> Options {
    let strings = |name: &str| matches.get_many::<String>(name).into_iter().flatten().cloned();
    Options {
        drives: drives(matches),
        mounts: strings("mount").collect(),
        inspect: matches.get_flag("inspector"),
        read_only: matches.get_flag("ro"),
        script: matches.get_one::<PathBuf>("file").cloned(),
        verbose: matches.get_flag("verbose"),
        trace: matches.get_flag("trace"),
        how: matches.get_one::<How>("direct").copied().unwrap_or_default(),
        backend,
        memory_mib: matches.get_one::<u32>("memsize").copied().unwrap_or(512),
        cpus: matches.get_one::<u8>("smp").copied().unwrap_or(1),
        commands: matches.get_many::<OsString>("commands").into_iter().flatten().cloned().collect(),
    }
}

/// `--format` holds for the disks that come after it; without a value it goes back to guessing.
fn drives(matches: &ArgMatches) -> Vec<DriveOption> {
    let with_places = |name: &str| -> Vec<(usize, String)> {
        let values = matches.get_many::<String>(name).into_iter().flatten().cloned();
        matches.indices_of(name).into_iter().flatten().zip(values).collect()
    };
    let formats = with_places("format");
    let in_force =
        |place: usize| formats.iter().rev().find(|(at, _)| *at < place).map(|(_, format)| format.clone());
    with_places("add")
        .into_iter()
        .map(|(place, file)| DriveOption { file, format: in_force(place).filter(|f| !f.is_empty()) })
        .collect()
}

fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let many = |name: &'static str, value: &'static str| {
        Arg::new(name).long(name).value_name(value).action(ArgAction::Append)
    };
    Command::new("guestfish")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A shell for the file systems of guests")
        .after_help(
            "Commands are separated by a colon of their own:\n\n    \
             guestfish --ro -a disk.qcow2 -i ls /home : cat /etc/fstab\n\n\
             Without commands they are read from standard input. 'guestfish -h' lists them all.",
        )
        .disable_help_flag(true)
        .trailing_var_arg(true)
        .arg(many("add", "FILE").short('a').help("Add a disk image"))
        .arg(
            many("format", "FORMAT")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("")
                .help("Format of the images that follow; without a value, guess"),
        )
        .arg(flag("inspector").short('i').help("Find the operating system and mount its file systems"))
        .arg(many("mount", "DEV[:DIR[:OPTS[:TYPE]]]").short('m').help("Mount a device (on / unless said)"))
        .arg(flag("ro").short('r').help("Never write to the images").overrides_with("rw"))
        .arg(flag("rw").short('w').help("Write to the images (the default)").overrides_with("ro"))
        .arg(flag("no-sync").short('n').help("Accepted for old scripts; data is always written out"))
        .arg(
            Arg::new("file")
                .short('f')
                .long("file")
                .value_name("SCRIPT")
                .value_parser(value_parser!(PathBuf))
                .help("Read commands from a file"),
        )
        .arg(
            Arg::new("direct")
                .long("direct")
                .value_name("auto|only|never")
                .value_parser(|text: &str| text.parse::<How>())
                .help("Whether to read images without an appliance"),
        )
        .arg(
            Arg::new("backend")
                .long("backend")
                .value_name("auto|kvm|uml|tcg")
                .value_parser(|text: &str| text.parse::<Choice>().map_err(|e| e.to_string()))
                .help("What runs the appliance [env: DISKWRIGHT_BACKEND]"),
        )
        .arg(
            Arg::new("memsize")
                .long("memsize")
                .value_name("MIB")
                .value_parser(value_parser!(u32).range(64..))
                .help("Memory of the appliance in MiB [default: 512]"),
        )
        .arg(
            Arg::new("smp")
                .long("smp")
                .value_name("N")
                .value_parser(value_parser!(u8).range(1..))
                .help("Processors of the appliance"),
        )
        .arg(
            flag("verbose").short('v').help("Tell who answers and why, and what the appliance's kernel says"),
        )
        .arg(flag("trace").short('x').help("Show every command before it runs"))
        .arg(
            Arg::new("cmd-help")
                .short('h')
                .long("cmd-help")
                .value_name("COMMAND")
                .num_args(0..=1)
                .default_missing_value("")
                .help("List all commands, or explain one"),
        )
        .arg(Arg::new("help").long("help").action(ArgAction::Help).help("Show this help"))
        .arg(
            Arg::new("commands")
                .value_name("COMMAND")
                .num_args(0..)
                .allow_hyphen_values(true)
                .value_parser(value_parser!(OsString)),
        )
}
