//! The command line.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use guest_cli::{GuestArguments, GuestOptions, MountSpec};

/// What the user asked for.
pub(crate) struct Options {
    pub(crate) guest: GuestOptions,
    pub(crate) mounts: Vec<MountSpec>,
    pub(crate) inspect: bool,
    pub(crate) read_only: bool,
    pub(crate) script: Option<PathBuf>,
    pub(crate) trace: bool,
    pub(crate) commands: Vec<OsString>,
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
        let found = crate::local::help(Some(name.as_str()).filter(|name| !name.is_empty()));
        return Parsed::Exit(guest_cli::finish("guestfish", found.and_then(|text| cli::print(&text))));
    }
    Parsed::Run(options(&matches))
}

fn options(matches: &ArgMatches) -> Options {
    let mounts = matches.get_many::<String>("mount").into_iter().flatten();
    Options {
        guest: GuestArguments::read(matches),
        mounts: mounts.map(|text| MountSpec::parse(text)).collect(),
        inspect: matches.get_flag("inspector"),
        read_only: matches.get_flag("ro"),
        script: matches.get_one::<PathBuf>("file").cloned(),
        trace: matches.get_flag("trace"),
        commands: matches.get_many::<OsString>("commands").into_iter().flatten().cloned().collect(),
    }
}

fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let command = Command::new("guestfish")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A shell for the file systems of guests")
        .after_help(
            "Commands are separated by a colon of their own:\n\n    \
             guestfish --ro -a disk.qcow2 -i ls /home : cat /etc/fstab\n\n\
             Without commands they are read from standard input. 'guestfish -h' lists them all.",
        )
        .disable_help_flag(true);
    GuestArguments::add_to(command)
        .arg(flag("inspector").short('i').help("Find the operating system and mount its file systems"))
        .arg(
            Arg::new("mount")
                .short('m')
                .long("mount")
                .value_name("DEV[:DIR[:OPTS[:TYPE]]]")
                .action(ArgAction::Append)
                .help("Mount a device (on / unless said)"),
        )
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
                .trailing_var_arg(true)
                .value_parser(value_parser!(OsString)),
        )
}
