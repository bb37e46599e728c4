//! The options that every tool for guests has.

use anyhow::Result;
use appliance_engine::launch::Choice;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use guest::{Guest, How};
use guestd_api::actions::launch::{AddDomainOptions, AddDriveOptions};
use guestd_api::error_text;
use guestd_api::prelude::*;

use crate::keys::{Keys, Selector};
use crate::{Service, Usage, uri};

/// A disk named on the command line, with what was in force at that point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriveSpec {
    /// The image: a file's name or a URI of one.
    pub file: String,
    /// Its format; guessed if not given.
    pub format: Option<String>,
    /// Its sector size in bytes, 512 or 4096; 512 if not given.
    pub block_size: Option<i32>,
}

impl DriveSpec {
    fn add_to(&self, guest: &Guest) -> Result<()> {
        if !self.file.contains("://") {
            // Said before anything else happens, and as scripts know it.
            let open = std::fs::metadata(&self.file).and_then(|_| std::fs::File::open(&self.file));
            if let Err(error) = open {
                anyhow::bail!("access: {}: {}", self.file, error_text(&error));
            }
        }
        let mut opts = AddDriveOptions::default().readonly(true);
        opts.format = self.format.as_deref().map(Into::into);
        opts.blocksize = self.block_size;
        uri::add(guest, &self.file, opts)
    }
}

/// What a word on the command line stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskSpec {
    /// An image.
    Drive(DriveSpec),
    /// The disks of a libvirt domain, by its name, its UUID, or the file that describes it.
    Domain(String),
}

impl DiskSpec {
    /// How people call it: the last part of a file's name, or the domain.
    pub fn display_name(&self) -> &str {
        match self {
            DiskSpec::Drive(drive) => drive.file.rsplit('/').next().unwrap_or(&drive.file),
            DiskSpec::Domain(name) => name,
        }
    }
}

/// What the shared options say.
#[derive(Debug, Clone)]
pub struct GuestOptions {
    /// The disks, in order.
    pub disks: Vec<DiskSpec>,
    /// Where libvirt is, if domains are named.
    pub connect: Option<String>,
    /// Keys of encrypted devices.
    pub keys: Keys,
    /// How they are served.
    pub service: Service,
    /// What `--format` said last, for disks that are named without an option.
    last_format: Option<String>,
}

impl GuestOptions {
    /// The guest of the disks that were named, for reading.
    ///
    /// # Errors
    /// When there are none, or one cannot be opened.
    pub fn open_read_only(&self, program: &'static str) -> Result<Guest> {
        self.open(&self.disks, program)
    }

    /// A guest of these disks, for reading.
    ///
    /// # Errors
    /// When there are none, or one cannot be opened.
    pub fn open(&self, disks: &[DiskSpec], program: &'static str) -> Result<Guest> {
        if disks.is_empty() {
            return Err(Usage::of(program, "error: you must specify at least one -a or -d option.").into());
        }
        let guest = Guest::create(self.service.settings(program))?;
        for disk in disks {
            match disk {
                DiskSpec::Drive(drive) => drive.add_to(&guest)?,
                DiskSpec::Domain(name) => {
                    let mut opts =
                        AddDomainOptions::default().readonly(true).allowuuid(true).readonlydisk("read");
                    opts.libvirturi = self.connect.as_deref().map(Into::into);
                    guest.add_domain(name, opts)?;
                }
            }
        }
        guest.launch()?;
        Ok(guest)
    }

    /// What a word without an option names: a file if it can only be one, else a domain.
    pub fn word(&self, word: &str) -> DiskSpec {
        if word.contains('/') || std::path::Path::new(word).exists() {
            let (file, format) = (word.to_owned(), self.last_format.clone());
            return DiskSpec::Drive(DriveSpec { file, format, block_size: None });
        }
        DiskSpec::Domain(word.to_owned())
    }
}

/// Adds the shared options to a command, and reads them back.
pub struct GuestArguments;

impl GuestArguments {
    /// The command with the options for disks, keys, and who serves them.
    pub fn add_to(command: Command) -> Command {
        let many = |name: &'static str, value: &'static str| {
            Arg::new(name).long(name).value_name(value).action(ArgAction::Append)
        };
        let flag = |name: &'static str, help| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
        let optional = |name: &'static str, value: &'static str| {
            many(name, value).num_args(0..=1).require_equals(true).default_missing_value("")
        };
        let disks = [
            many("add", "FILE|URI").short('a').help("Add a disk image"),
            many("domain", "NAME|XML").short('d').help("Add the disks of a libvirt domain"),
            optional("format", "FORMAT")
                .help("Format of the images that follow; without a value, guess")
                .long_help(
                    "Format of the images that follow; without a value, guess. Give it for raw images from strangers",
                ),
            optional("blocksize", "512|4096").help("Sector size of the images that follow"),
            many("connect", "URI")
                .short('c')
                .help("Accepted for old scripts; domains are found in libvirt's files"),
            many("key", "SELECTOR")
                .value_parser(|text: &str| Selector::parse(text).map_err(|error| error.to_string()))
                .help("The key of an encrypted device: ID:key:TEXT, ID:file:FILE or ID:clevis")
                .long_help(
                    "The key of an encrypted device: ID:key:TEXT, ID:file:FILE or ID:clevis. ID is a device, a UUID, or 'all'",
                ),
            flag("keys-from-stdin", "Read keys from standard input, one in each line"),
            flag("echo-keys", "Show keys while they are typed"),
        ];
        command.args(disks).args(service_arguments())
    }

    /// What was given.
    pub fn read(matches: &ArgMatches) -> GuestOptions {
        GuestOptions {
            disks: disks(matches),
            connect: matches.get_many("connect").and_then(|mut all| all.next_back().cloned()),
            keys: Keys {
                selectors: matches.get_many("key").into_iter().flatten().cloned().collect(),
                from_stdin: matches.get_flag("keys-from-stdin"),
                echo: matches.get_flag("echo-keys"),
            },
            service: Service {
                how: matches.get_one("direct").copied().unwrap_or_default(),
                backend: matches.get_one("backend").copied().unwrap_or_default(),
                memory_mib: matches.get_one("memsize").copied().unwrap_or(512),
                cpus: matches.get_one("smp").copied().unwrap_or(1),
                verbose: matches.get_flag("verbose"),
                trace: matches.get_flag("trace"),
                share: false,
            },
            last_format: with_places(matches, "format").pop().map(|(_, f)| f).filter(|f| !f.is_empty()),
        }
    }
}

/// The options about who serves the disks.
fn service_arguments() -> [Arg; 6] {
    [
        Arg::new("direct")
            .long("direct")
            .value_name("auto|only|never")
            .value_parser(|text: &str| text.parse::<How>())
            .help("Whether to read images without an appliance"),
        Arg::new("backend")
            .long("backend")
            .value_name("auto|kvm|uml|tcg")
            .env("DISKWRIGHT_BACKEND")
            .value_parser(|text: &str| text.parse::<Choice>().map_err(|e| e.to_string()))
            .help("What runs the appliance"),
        Arg::new("memsize")
            .long("memsize")
            .value_name("MIB")
            .value_parser(value_parser!(u32).range(64..))
            .default_value("512")
            .help("Memory of the appliance in MiB"),
        Arg::new("smp")
            .long("smp")
            .value_name("N")
            .value_parser(value_parser!(u8).range(1..))
            .default_value("1")
            .help("Processors of the appliance"),
        Arg::new("verbose")
            .long("verbose")
            .short('v')
            .action(ArgAction::SetTrue)
            .help("Tell who answers and why, and what the appliance's kernel says"),
        Arg::new("trace").short('x').action(ArgAction::SetTrue).help("Show every action that is called"),
    ]
}

fn with_places(matches: &ArgMatches, name: &str) -> Vec<(usize, String)> {
    let values = matches.get_many::<String>(name).into_iter().flatten().cloned();
    matches.indices_of(name).into_iter().flatten().zip(values).collect()
}

/// `--format` and `--blocksize` hold for the disks that come after them; without a value they go back to guessing.
fn disks(matches: &ArgMatches) -> Vec<DiskSpec> {
    let (formats, sizes) = (with_places(matches, "format"), with_places(matches, "blocksize"));
    let in_force = |settings: &[(usize, String)], place: usize| {
        let last = settings.iter().rev().find(|(at, _)| *at < place);
        last.map(|(_, value)| value.clone()).filter(|value| !matches!(value.as_str(), "" | "auto"))
    };
    let drive = |(place, file): (usize, String)| {
        // What is no number is refused with the words for sizes that are not offered.
        let block_size = in_force(&sizes, place).map(|size| size.parse().unwrap_or(-1));
        (place, DiskSpec::Drive(DriveSpec { file, format: in_force(&formats, place), block_size }))
    };
    let mut all: Vec<_> = with_places(matches, "add").into_iter().map(drive).collect();
    all.extend(with_places(matches, "domain").into_iter().map(|(at, name)| (at, DiskSpec::Domain(name))));
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, disk)| disk).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn settings_hold_for_what_follows_them() {
        let command = GuestArguments::add_to(Command::new("x"));
        let words = [
            "x",
            "-a",
            "a",
            "--format=raw",
            "-a",
            "b",
            "--blocksize=4096",
            "-d",
            "dom",
            "--add",
            "c",
            "--format",
            "--blocksize",
            "-a",
            "d/e",
        ];
        let matches = command.try_get_matches_from(words).unwrap();
        let options = GuestArguments::read(&matches);
        let of = |disk: &DiskSpec| match disk {
            DiskSpec::Drive(drive) => (drive.format.clone(), drive.block_size),
            DiskSpec::Domain(_) => (Some("domain".to_owned()), None),
        };
        let raw = || Some("raw".to_owned());
        assert_eq!(
            options.disks.iter().map(of).collect::<Vec<_>>(),
            [
                (None, None),
                (raw(), None),
                (Some("domain".to_owned()), None),
                (raw(), Some(4096)),
                (None, None)
            ]
        );
        let names: Vec<_> = options.disks.iter().map(DiskSpec::display_name).collect();
        assert_eq!(names, ["a", "b", "dom", "c", "e"]);
    }
}
