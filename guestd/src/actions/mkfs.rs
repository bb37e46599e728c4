//! Making, checking and trimming file systems and swap.

use crate::disks::Device;
use crate::modules;
use crate::sys::TrimRange;
use crate::worker::{GuestPath, Worker};
use guestd_api::actions::mkfs::{FstrimOptions, MkfsOptions, MkswapOptions, Server};
use guestd_api::{Failure, GuestString};
use rustix::fs::{Mode, OFlags};

/// The options of the programs that make a type of file system.
struct Maker {
    /// Do not ask, and overwrite what is there.
    force: &'static [&'static str],
    /// Sets the label.
    label: Option<&'static str>,
}

fn maker(kind: &str) -> Maker {
    let (force, label): (&'static [&'static str], Option<&'static str>) = match kind {
        "ext2" | "ext3" | "ext4" => (&["-F"], Some("-L")),
        "xfs" | "btrfs" => (&["-f"], Some("-L")),
        "jfs" | "reiserfs" => (&["-f"], Some("-L")),
        // -Q: without it every block would be written with zeroes.
        "ntfs" => (&["-Q", "-F"], Some("-L")),
        // -I: a whole disk is fine too.
        "vfat" | "msdos" | "fat" => (&["-I"], Some("-n")),
        "f2fs" => (&["-f"], Some("-l")),
        "exfat" => (&[], Some("-L")),
        _ => (&[], None),
    };
    Maker { force, label }
}

/// The options of a program for the options of the action.
fn arguments(kind: &str, sector: u64, opts: &MkfsOptions) -> Result<Vec<String>, Failure> {
    let ext = matches!(kind, "ext2" | "ext3" | "ext4");
    let mut args: Vec<String> = Vec::new();
    let mut add = |name: &str, value: String| args.extend([name.to_owned(), value]);
    if let Some(size) = opts.blocksize {
        let Some(bytes) = u64::try_from(size).ok().filter(|bytes| bytes.is_power_of_two()) else {
            return Err(Failure::new("block size must be > 0 and a power of 2"));
        };
        match kind {
            "vfat" | "msdos" | "fat" => {
                let sectors = bytes.checked_div(sector).unwrap_or(0);
                if !(1..=128).contains(&sectors) {
                    return Err(Failure::new(format!(
                        "unsupported cluster size for {kind} filesystem (requested cluster size = {bytes}, \
                         sector size = {sector}, trying sectors per cluster = {sectors})"
                    )));
                }
                add("-s", sectors.to_string());
            }
            "ntfs" => add("-c", bytes.to_string()),
            "btrfs" => {
                return Err(Failure::new("blocksize cannot be set on btrfs filesystems, use 'mkfs-btrfs'"));
            }
            "xfs" => add("-b", format!("size={bytes}")),
            _ => add("-b", bytes.to_string()),
        }
    }
    if let Some(features) = &opts.features {
        add("-O", features.to_string_lossy().into_owned());
    }
    if let Some(inode) = opts.inode {
        if !ext {
            return Err(Failure::new("inode size (-I) can only be set on ext2/3/4 filesystems"));
        }
        if inode <= 0 {
            return Err(Failure::new("inode size must be larger than zero"));
        }
        add("-I", inode.to_string());
    }
    if let Some(size) = opts.sectorsize {
        if kind != "ufs" {
            return Err(Failure::new("sector size (-S) can only be set on ufs filesystems"));
        }
        if size <= 0 {
            return Err(Failure::new("sector size must be larger than zero"));
        }
        add("-S", size.to_string());
    }
    if let Some(label) = &opts.label {
        let Some(option) = maker(kind).label else {
            return Err(Failure::new(format!("don't know how to set the label for '{kind}' filesystems")));
        };
        let label = label.to_str().ok_or_else(|| Failure::new("the label is not UTF-8"))?;
        add(option, label.to_owned());
    }
    Ok(args)
}

impl Server for Worker {
    fn mkfs(&self, fstype: GuestString, device: Device, opts: MkfsOptions) -> Result<(), Failure> {
        let kind = fstype.to_string_lossy();
        if kind.is_empty() || !kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(Failure::new(format!("{fstype}: unknown type of file system")));
        }
        let args = arguments(&kind, device.sector()?, &opts)?;
        // What the device held before must not be recognised beside what is made now.
        self.wipefs(device.clone())?;
        let program = self.tool(&format!("mkfs.{kind}"))?;
        let done = program.args(maker(&kind).force).args(args).arg(&device.node).finish()?;
        done.success()
            .map_err(|failure| Failure::new(format!("{fstype}: {}: {}", device.shown, failure.message)))
    }

    fn mkswap(&self, device: Device, opts: MkswapOptions) -> Result<(), Failure> {
        let mut program = self.tool("mkswap")?.arg("-f");
        for (option, value) in [("-L", &opts.label), ("-U", &opts.uuid)] {
            if let Some(value) = value {
                program = program.arg(option).arg(value.as_os_str());
            }
        }
        let done = program.arg(&device.node).finish()?;
        done.success().map_err(|failure| Failure::new(format!("{}: {}", device.shown, failure.message)))
    }

    fn fsck(&self, fstype: GuestString, device: Device) -> Result<i32, Failure> {
        let done =
            self.tool("fsck")?.arg("-a").arg("-t").arg(fstype.as_os_str()).arg(&device.node).finish()?;
        done.status.code().ok_or_else(|| done.failure())
    }

    fn fstrim(&self, mountpoint: GuestPath, opts: FstrimOptions) -> Result<(), Failure> {
        let number = |name: &str, value: Option<i64>, default: u64, least: i64| match value {
            None => Ok(default),
            Some(value) if value >= least => Ok(value.cast_unsigned()),
            Some(_) if least == 0 => Err(Failure::new(format!("{name} < 0"))),
            Some(_) => Err(Failure::new(format!("{name} <= 0"))),
        };
        let range = TrimRange {
            start: number("offset", opts.offset, 0, 0)?,
            len: number("length", opts.length, u64::MAX, 1)?,
            minlen: number("minimumfreeextent", opts.minimumfreeextent, 0, 1)?,
        };
        let _guest = self.guest()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory =
            rustix::fs::open(mountpoint.path(), flags, Mode::empty()).map_err(|e| mountpoint.failure(e))?;
        // What is only in the page cache still counts as used.
        rustix::fs::syncfs(&directory).map_err(|e| mountpoint.failure(e))?;
        crate::sys::trim(&directory, range).map_err(|e| mountpoint.failure(e))
    }

    fn zerofree(&self, device: Device) -> Result<(), Failure> {
        let done = self.tool("zerofree")?.arg(&device.node).finish()?;
        done.success().map_err(|failure| Failure::new(format!("{}: {}", device.shown, failure.message)))
    }

    fn wipefs(&self, device: Device) -> Result<(), Failure> {
        let done = self.tool("wipefs")?.arg("-a").arg("--force").arg(&device.node).finish()?;
        done.success().map_err(|failure| Failure::new(format!("{}: {}", device.shown, failure.message)))
    }

    fn mkfs_b(&self, fstype: GuestString, blocksize: i32, device: Device) -> Result<(), Failure> {
        self.mkfs(fstype, device, MkfsOptions::default().blocksize(blocksize))
    }

    fn f2fs_expand(&self, device: Device) -> Result<(), Failure> {
        let (status, failure) = self.run_folded("resize.f2fs", [&device.node])?;
        if status.success() { Ok(()) } else { Err(failure) }
    }
}

impl Worker {
    /// Loads the driver of a file system if the kernel has one, for tools that ask the kernel.
    pub(super) fn want_filesystem(&self, kind: &str) -> Result<(), Failure> {
        modules::filesystem_known(&self.agent, kind).map(|_| ())
    }
}
