//! The command line of `guestmount`.

use std::os::fd::RawFd;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use guest::fuse::MountOptions;
use guest_cli::keys::Keys;
use guest_cli::{GuestArguments, GuestOptions, MountSpec, Service};

/// What `--fuse-help` prints.
pub const FUSE_HELP: &str = "\
Options for -o:
  ro, rw                 nothing can be written, or everything
  allow_other            other users may look, as far as permissions allow
  allow_root             root may look as well
  attr_timeout=SECONDS   how long the kernel may remember what it was told
  entry_timeout=SECONDS  the same
  uid=NUMBER             everything belongs to this user
  gid=NUMBER             everything belongs to this group
  umask=MASK             permissions that are not shown, in octal
  suid, dev, noexec      programs run with the rights of their owner; device nodes
                         lead to this host's devices; no program runs
  fsname=NAME            what the list of mounts shows as the source
  subtype=NAME           what it shows after 'fuse.'
Permissions are always checked, inode numbers are the guest's own, and files are
cached by the kernel: options about that are taken and have no effect.";

/// Where the disks come from.
#[derive(Debug, Clone)]
pub enum Disk {
    /// An image.
    File {
        /// Its name.
        name: String,
        /// Its format, if it is not to be guessed.
        format: Option<String>,
        /// Its sectors, in bytes.
        block_size: Option<i32>,
    },
    /// All disks of a domain.
    Domain(String),
}

/// What was asked for.
#[derive(Debug, Clone)]
pub struct Arguments {
    /// The disks, in order.
    pub disks: Vec<Disk>,
    /// Which libvirt has the domains.
    pub connect: Option<String>,
    /// Whether nothing is written.
    pub read_only: bool,
    /// What to mount; if nothing, the operating system that is found.
    pub mounts: Vec<MountSpec>,
    /// What opens encrypted devices.
    pub keys: Keys,
    /// How the guest is served.
    pub service: Service,
    /// How it is mounted here.
    pub options: MountOptions,
    /// Where.
    pub point: PathBuf,
    /// Stay in the foreground.
    pub no_fork: bool,
    /// Where to write the number of the process.
    pub pid_file: Option<PathBuf>,
    /// What to write a byte to when it can be used.
    pub ready: Option<RawFd>,
}

/// The command.
pub fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let value = |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    let command = Command::new("guestmount")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_version_flag(true)
        .about("Mount a guest on a directory");
    GuestArguments::add_to(command)
        .arg(
            Arg::new("version")
                .long("version")
                .short('V')
                .action(ArgAction::Version)
                .help("Print the version"),
        )
        .arg(
            value("blocksize", "512|4096")
                .num_args(0..=1)
                .require_equals(true)
                .action(ArgAction::Append)
                .default_missing_value("")
                .value_parser(["512", "4096", ""])
                .help("Sector size of the images that follow"),
        )
        .arg(
            value("domain", "GUEST")
                .short('d')
                .action(ArgAction::Append)
                .help("Add the disks of a libvirt domain"),
        )
        .arg(value("connect", "URI").short('c').help("Which libvirt has the domain"))
        .arg(flag("inspector").short('i').help("Mount the operating system that is found"))
        .arg(
            value("mount", "DEV[:DIR[:OPTS[:TYPE]]]").short('m').action(ArgAction::Append).help("Mount this"),
        )
        .arg(
            value("option", "OPTION")
                .short('o')
                .action(ArgAction::Append)
                .help("An option of the mount, see --fuse-help"),
        )
        .arg(flag("fuse-help").help("Tell which options of the mount there are"))
        .arg(flag("ro").short('r').help("Write nothing"))
        .arg(flag("rw").short('w').overrides_with("ro").help("Read and write (usual)"))
        .arg(flag("no-fork").help("Stay in the foreground"))
        .arg(value("fd", "FD").help("Write a byte to this descriptor when the mount can be used"))
        .arg(
            value("pid-file", "FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Write the number of the process to a file"),
        )
        .arg(flag("no-sync").short('n').help("Has no effect: everything is always written"))
        .arg(
            value("dir-cache-timeout", "SECONDS").help("Has no effect: directories are cached by the kernel"),
        )
        .arg(flag("selinux").help("Has no effect"))
        .arg(flag("trace").short('x').help("Stay in the foreground, and tell who answers"))
        .arg(Arg::new("mountpoint").value_name("DIRECTORY").value_parser(value_parser!(PathBuf)))
}

/// Values of an option with their places on the command line.
fn placed<'m>(matches: &'m ArgMatches, name: &str) -> Vec<(usize, &'m String)> {
    let values = matches.get_many::<String>(name).into_iter().flatten();
    matches.indices_of(name).into_iter().flatten().zip(values).collect()
}

/// The last of some values before a place; an empty one takes the others back.
fn in_force(values: &[(usize, &String)], place: usize) -> Option<String> {
    let last = values.iter().rev().find(|(at, _)| *at < place);
    last.map(|(_, value)| (*value).clone()).filter(|value| !value.is_empty())
}

impl Arguments {
    /// Reads the command line.
    ///
    /// # Errors
    /// When it makes no sense.
    pub fn read(matches: &ArgMatches) -> Result<Self> {
        let formats = placed(matches, "format");
        let block_sizes = placed(matches, "blocksize");
        let files = placed(matches, "add").into_iter().map(|(at, name)| {
            let block_size = in_force(&block_sizes, at).and_then(|size| size.parse().ok());
            (at, Disk::File { name: name.clone(), format: in_force(&formats, at), block_size })
        });
        let domains =
            placed(matches, "domain").into_iter().map(|(at, name)| (at, Disk::Domain(name.clone())));
        let mut disks: Vec<(usize, Disk)> = files.chain(domains).collect();
        disks.sort_by_key(|(at, _)| *at);
        if disks.is_empty() {
            bail!("you must specify at least one -a or -d option.");
        }
        let mounts: Vec<MountSpec> =
            placed(matches, "mount").into_iter().map(|(_, text)| MountSpec::parse(text)).collect();
        if mounts.is_empty() && !matches.get_flag("inspector") {
            bail!("you must specify either -i at least one -m option.");
        }
        let Some(point) = matches.get_one::<PathBuf>("mountpoint").cloned() else {
            bail!("you must specify a mountpoint in the host filesystem");
        };
        let mut options = MountOptions::default();
        for (_, text) in placed(matches, "option") {
            options.add(text).map_err(anyhow::Error::msg)?;
        }
        let read_only = matches.get_flag("ro") || options.read_only;
        options.read_only = read_only;
        let ready = matches.get_one::<String>("fd").map(|text| match text.parse() {
            Ok(fd) if fd >= 0 => Ok(fd),
            _ => Err(anyhow::anyhow!("unable to parse --fd option value: {text}")),
        });
        let trace = matches.get_flag("trace");
        let GuestOptions { mut service, keys, .. } = GuestArguments::read(matches);
        service.verbose |= trace;
        Ok(Arguments {
            disks: disks.into_iter().map(|(_, disk)| disk).collect(),
            connect: matches.get_one("connect").cloned(),
            read_only,
            mounts,
            keys,
            service,
            options,
            point,
            no_fork: matches.get_flag("no-fork") || trace,
            pid_file: matches.get_one("pid-file").cloned(),
            ready: ready.transpose()?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<Arguments> {
        Arguments::read(&command().try_get_matches_from(words.split(' ')).unwrap())
    }

    #[test]
    fn format_and_sectors_hold_for_what_follows() {
        let line =
            "guestmount --format=raw --blocksize=4096 -a a -d g --format -a b --blocksize -a c -i -r /mnt";
        let arguments = read(line).unwrap();
        let seen: Vec<String> = arguments
            .disks
            .iter()
            .map(|disk| match disk {
                Disk::File { name, format, block_size } => format!("{name} {format:?} {block_size:?}"),
                Disk::Domain(name) => name.clone(),
            })
            .collect();
        assert_eq!(seen, ["a Some(\"raw\") Some(4096)", "g", "b None Some(4096)", "c None None"]);
        assert!(arguments.read_only && arguments.options.read_only);
    }

    #[test]
    fn what_is_missing_is_named() {
        for (line, error) in [
            ("guestmount /mnt", "at least one -a or -d"),
            ("guestmount -a x /mnt", "either -i at least one -m"),
            ("guestmount -a x -i", "a mountpoint"),
            ("guestmount -a x -i --fd=x /mnt", "unable to parse --fd"),
            ("guestmount -a x -i -o bogus /mnt", "no mount option 'bogus'"),
        ] {
            assert!(read(line).unwrap_err().to_string().contains(error), "{line}");
        }
        let arguments = read("guestmount -r -w -a x -i /mnt").unwrap();
        assert!(!arguments.read_only);
    }
}
