//! The options that every tool for guests has.

use anyhow::Result;
use appliance_engine::launch::Choice;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use guest::{Drive, Guest, How};
use libimage::format::Format;

use crate::Service;

/// A disk named on the command line, with the format that was in force at that point.
#[derive(Debug, Clone)]
pub struct DriveSpec {
    /// The image.
    pub file: String,
    /// Its format; guessed if not given.
    pub format: Option<String>,
}

impl DriveSpec {
    /// Opens the image.
    ///
    /// # Errors
    /// When it cannot be opened, or the format is not known.
    pub fn open(&self, read_only: bool) -> Result<Drive> {
        let format = self.format.as_deref().map(Format::by_name).transpose()?;
        Ok(Drive::open(&self.file, format, read_only)?)
    }
}

/// What the shared options say.
#[derive(Debug, Clone)]
pub struct GuestOptions {
    /// The disks, in order.
    pub drives: Vec<DriveSpec>,
    /// How they are served.
    pub service: Service,
}

impl GuestOptions {
    /// The guest of the disks that were named, for reading.
    ///
    /// # Errors
    /// When there are none, or one cannot be opened.
    pub fn open_read_only(&self, program: &'static str) -> Result<Guest> {
        if self.drives.is_empty() {
            anyhow::bail!("no disk was named: use -a FILE");
        }
        let drives = self.drives.iter().map(|d| d.open(true)).collect::<Result<Vec<_>>>()?;
        Ok(Guest::new(drives, self.service.settings(program)))
    }
}

/// Adds the shared options to a command, and reads them back.
pub struct GuestArguments;

impl GuestArguments {
    /// The command with the options `-a`, `--format`, `--direct`, `--backend`, `--memsize`, `--smp`, `-v`.
    pub fn add_to(command: Command) -> Command {
        let many = |name: &'static str, value: &'static str| {
            Arg::new(name).long(name).value_name(value).action(ArgAction::Append)
        };
        command
            .arg(many("add", "FILE").short('a').help("Add a disk image"))
            .arg(
                many("format", "FORMAT")
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("")
                    .help("Format of the images that follow; without a value, guess"),
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
                    .env("DISKWRIGHT_BACKEND")
                    .value_parser(|text: &str| text.parse::<Choice>().map_err(|e| e.to_string()))
                    .help("What runs the appliance"),
            )
            .arg(
                Arg::new("memsize")
                    .long("memsize")
                    .value_name("MIB")
                    .value_parser(value_parser!(u32).range(64..))
                    .default_value("512")
                    .help("Memory of the appliance in MiB"),
            )
            .arg(
                Arg::new("smp")
                    .long("smp")
                    .value_name("N")
                    .value_parser(value_parser!(u8).range(1..))
                    .default_value("1")
                    .help("Processors of the appliance"),
            )
            .arg(
                Arg::new("verbose")
                    .long("verbose")
                    .short('v')
                    .action(ArgAction::SetTrue)
                    .help("Tell who answers and why, and what the appliance's kernel says"),
            )
    }

    /// What was given.
    pub fn read(matches: &ArgMatches) -> GuestOptions {
        GuestOptions {
            drives: drives(matches),
            service: Service {
                how: matches.get_one("direct").copied().unwrap_or_default(),
                backend: matches.get_one("backend").copied().unwrap_or_default(),
                memory_mib: matches.get_one("memsize").copied().unwrap_or(512),
                cpus: matches.get_one("smp").copied().unwrap_or(1),
                verbose: matches.get_flag("verbose"),
            },
        }
    }
}

/// `--format` holds for the disks that come after it; without a value it goes back to guessing.
fn drives(matches: &ArgMatches) -> Vec<DriveSpec> {
    let with_places = |name: &str| -> Vec<(usize, String)> {
        let values = matches.get_many::<String>(name).into_iter().flatten().cloned();
        matches.indices_of(name).into_iter().flatten().zip(values).collect()
    };
    let formats = with_places("format");
    let in_force =
        |place: usize| formats.iter().rev().find(|(at, _)| *at < place).map(|(_, format)| format.clone());
    with_places("add")
        .into_iter()
        .map(|(place, file)| DriveSpec { file, format: in_force(place).filter(|f| !f.is_empty()) })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_format_holds_for_what_follows_it() {
        let command = GuestArguments::add_to(Command::new("x"));
        let words = ["x", "-a", "a", "--format=raw", "-a", "b", "--add", "c", "--format", "-a", "d"];
        let matches = command.try_get_matches_from(words).unwrap();
        let formats: Vec<_> = GuestArguments::read(&matches).drives.into_iter().map(|d| d.format).collect();
        assert_eq!(formats, [None, Some("raw".to_owned()), Some("raw".to_owned()), None]);
    }
}
