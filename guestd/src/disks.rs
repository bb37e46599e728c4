//! The names of disks.
//!
//! A user sees `/dev/sda`, `/dev/sdb`, ... in the order in which the disks were added, whatever order the
//! kernel found them in: the host gives disk number N the serial `dw-N`. A slot without a disk has size 0 and
//! is not shown. What is not such a disk (`/dev/VG/LV`, `/dev/md0`) keeps its name.

use guestd_api::{Failure, GuestString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The most disks that can be added.
pub(crate) const MAX_DISKS: i32 = 255;
/// Where disks are found by their labels.
const LABELS: &str = "/dev/disk/guestfs/";

/// Where the disks come from.
#[derive(Debug)]
pub(crate) enum Disks {
    /// Virtio disks with serials.
    Serials,
    /// Given by their nodes, for a directory as the guest.
    Nodes(Vec<PathBuf>),
}

/// A device that exists.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    /// The name the user knows.
    pub(crate) shown: GuestString,
    /// The node to open.
    pub(crate) node: PathBuf,
}

impl Device {
    /// A failure that names this device.
    pub(crate) fn failure(&self, error: impl Into<io::Error>) -> Failure {
        Failure::io(&self.shown, &error.into())
    }

    /// The kernel's name, as in /sys/class/block, by the device's number: volumes have nodes of other names.
    pub(crate) fn kernel_name(&self) -> Result<String, Failure> {
        let number = std::fs::metadata(&self.node).map_err(|e| self.failure(e))?.rdev();
        let link = format!("/sys/dev/block/{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
        let real = std::fs::read_link(link).map_err(|e| self.failure(e))?;
        real.file_name()
            .and_then(|name| name.to_str())
            .map(str::to_owned)
            .ok_or_else(|| self.failure(io::Error::from_raw_os_error(libc::ENODEV)))
    }

    /// A file of the device's directory in sysfs, as text.
    pub(crate) fn sysfs(&self, file: &str) -> Result<String, Failure> {
        let path = format!("/sys/class/block/{}/{file}", self.kernel_name()?);
        std::fs::read_to_string(path).map(|text| text.trim().to_owned()).map_err(|e| self.failure(e))
    }

    /// A number from sysfs.
    pub(crate) fn sysfs_number(&self, file: &str) -> Result<u64, Failure> {
        let text = self.sysfs(file)?;
        text.parse().map_err(|_| Failure::new(format!("{}: {file} is '{text}'", self.shown)))
    }

    /// True for volumes of LVM.
    pub(crate) fn is_logical_volume(&self) -> bool {
        self.sysfs("dm/uuid").is_ok_and(|uuid| uuid.starts_with("LVM-"))
    }

    /// The disk that a partition is a part of, and the partition's number.
    pub(crate) fn whole(&self) -> Result<Option<(PathBuf, i32)>, Failure> {
        let link = format!("/sys/class/block/{}", self.kernel_name()?);
        let Ok(number) = std::fs::read_to_string(format!("{link}/partition")) else { return Ok(None) };
        let number = number
            .trim()
            .parse()
            .map_err(|_| Failure::new(format!("{}: partition '{number}'", self.shown)))?;
        let real = std::fs::canonicalize(link).map_err(|e| self.failure(e))?;
        let disk =
            real.parent().and_then(Path::file_name).ok_or_else(|| Failure::new("no parent in sysfs"))?;
        Ok(Some((Path::new("/dev").join(disk), number)))
    }
}

/// One disk of the user.
pub(crate) struct Disk {
    /// Its position, from 0.
    pub(crate) index: usize,
    /// The kernel's name without `/dev/`.
    pub(crate) kernel: String,
}

impl Disk {
    /// The name the user knows.
    pub(crate) fn shown(&self) -> String {
        format!("/dev/sd{}", letters(self.index))
    }

    /// As a device.
    pub(crate) fn device(&self) -> Device {
        Device { shown: self.shown().into(), node: Path::new("/dev").join(&self.kernel) }
    }

    /// The numbers of its partitions that the kernel knows, in order.
    pub(crate) fn partitions(&self) -> Vec<u32> {
        partition_places(&self.kernel)
            .into_iter()
            .filter_map(|(number, _)| u32::try_from(number).ok())
            .collect()
    }

    /// A partition as a device, whether it exists or not.
    pub(crate) fn partition(&self, number: u32) -> Device {
        Device {
            shown: format!("{}{number}", self.shown()).into(),
            node: Path::new("/dev").join(format!("{}{}{number}", self.kernel, self.separator())),
        }
    }

    fn separator(&self) -> &'static str {
        if self.kernel.ends_with(|c: char| c.is_ascii_digit()) { "p" } else { "" }
    }
}

impl Disks {
    /// All disks that are not empty slots, in the user's order.
    pub(crate) fn list(&self) -> Vec<Disk> {
        let mut disks: Vec<Disk> = match self {
            Disks::Nodes(nodes) => {
                let name = |node: &PathBuf| Some(node.file_name()?.to_str()?.to_owned());
                let kernels = nodes.iter().enumerate();
                kernels.filter_map(|(index, node)| Some(Disk { index, kernel: name(node)? })).collect()
            }
            Disks::Serials => match std::fs::read_dir("/sys/block") {
                Ok(entries) => entries.flatten().filter_map(|entry| by_serial(&entry.path())).collect(),
                Err(_) => Vec::new(),
            },
        };
        disks.retain(|disk| {
            std::fs::read_to_string(format!("/sys/block/{}/size", disk.kernel))
                .is_ok_and(|size| size.trim() != "0")
        });
        disks.sort_by_key(|disk| disk.index);
        disks
    }

    /// Finds a device by any name the user may give it.
    pub(crate) fn find(&self, name: &GuestString) -> Result<Device, Failure> {
        let missing = || Failure::io(name, &io::Error::from_raw_os_error(libc::ENOENT));
        let known = name.to_str().and_then(|name| parse(name).or_else(|| labelled(name, &labels())));
        let device = match known {
            Some((index, partition)) => {
                let disk = self.list().into_iter().find(|disk| disk.index == index).ok_or_else(missing)?;
                match partition {
                    None => disk.device(),
                    Some(number) => disk.partition(number),
                }
            }
            None => {
                let node = PathBuf::from(name.as_os_str());
                if node.components().any(|part| part == std::path::Component::ParentDir) {
                    return Err(missing());
                }
                Device { shown: name.clone(), node }
            }
        };
        let kind = std::fs::metadata(&device.node).map_err(|e| Failure::io(name, &e))?;
        if !std::os::unix::fs::FileTypeExt::is_block_device(&kind.file_type()) {
            return Err(Failure::io(name, &io::Error::from_raw_os_error(libc::ENOTBLK)));
        }
        Ok(device)
    }

    /// The user's name for the kernel's; other text stays as it is.
    pub(crate) fn shown(&self, name: &GuestString) -> GuestString {
        let Some(kernel) = name.to_str().and_then(|text| text.strip_prefix("/dev/")) else {
            return name.clone();
        };
        for disk in self.list() {
            if let Some(rest) = kernel.strip_prefix(disk.kernel.as_str()) {
                if rest.is_empty() {
                    return disk.shown().into();
                }
                let number = rest.strip_prefix(disk.separator()).unwrap_or_default();
                if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) {
                    return format!("{}{number}", disk.shown()).into();
                }
            }
        }
        name.clone()
    }

    /// Text of a program with the kernel's names for disks replaced by the user's.
    pub(crate) fn shown_text(&self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.windows(5).position(|window| window == b"/dev/") {
            let (before, name) = rest.split_at(at);
            out.extend_from_slice(before);
            let end =
                name.iter().skip(5).position(|b| !b.is_ascii_alphanumeric()).map_or(name.len(), |n| n + 5);
            let (name, after) = name.split_at(end);
            out.extend_from_slice(self.shown(&name.into()).as_bytes());
            rest = after;
        }
        out.extend_from_slice(rest);
        out
    }

    /// Keeps `/dev/sdX` pointing at the real nodes, for programs that are given such names, and has the kernel read
    /// further ahead: a request of a megabyte costs little more than one of 128 KiB, which it would choose.
    pub(crate) fn link_names(&self) {
        for disk in self.list() {
            let _ = std::fs::write(format!("/sys/block/{}/queue/read_ahead_kb", disk.kernel), "1024");
            let devices = disk.partitions().into_iter().map(|number| disk.partition(number));
            for device in std::iter::once(disk.device()).chain(devices) {
                // A link that is there is right: serials do not change while the machine runs.
                let _ = std::os::unix::fs::symlink(&device.node, device.shown.as_os_str());
            }
        }
    }
}

/// The partitions that the kernel knows of a disk, by number, with start and length in bytes.
pub(crate) fn partition_places(kernel: &str) -> Vec<(i32, (i64, i64))> {
    let Ok(entries) = std::fs::read_dir(format!("/sys/block/{kernel}")) else { return Vec::new() };
    let place = |entry: std::fs::DirEntry| {
        let number =
            |file: &str| std::fs::read_to_string(entry.path().join(file)).ok()?.trim().parse::<i64>().ok();
        // Sectors of 512 bytes here, whatever those of the disk are.
        let bytes = |sectors: i64| sectors.checked_mul(512);
        Some((i32::try_from(number("partition")?).ok()?, (bytes(number("start")?)?, bytes(number("size")?)?)))
    };
    let mut places: Vec<_> = entries.flatten().filter_map(place).collect();
    places.sort_unstable();
    places
}

/// A virtio disk with one of our serials.
fn by_serial(directory: &Path) -> Option<Disk> {
    let kernel = directory.file_name()?.to_str()?.to_owned();
    if !kernel.starts_with("vd") {
        return None;
    }
    let serial = std::fs::read(directory.join("serial")).ok()?;
    let index = std::str::from_utf8(&serial).ok()?.trim().strip_prefix("dw-")?.parse().ok()?;
    Some(Disk { index, kernel })
}

/// The labels of disks, as the host gives them on the kernel's command line: `diskwright.label=0:LABEL`.
pub(crate) fn labels() -> Vec<(String, usize)> {
    let line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let label = |word: &str| {
        let (index, label) = word.strip_prefix("diskwright.label=")?.split_once(':')?;
        Some((label.to_owned(), index.parse().ok()?))
    };
    line.split_whitespace().filter_map(label).collect()
}

/// `/dev/disk/guestfs/LABEL` is a disk, a number behind the label one of its partitions.
fn labelled(name: &str, labels: &[(String, usize)]) -> Option<(usize, Option<u32>)> {
    let name = name.strip_prefix(LABELS)?;
    labels.iter().find_map(|(label, index)| match name.strip_prefix(label.as_str())? {
        "" => Some((*index, None)),
        digits => Some((*index, Some(digits.parse().ok().filter(|number| *number > 0)?))),
    })
}

/// True for names of volumes: `/dev/md0`, `/dev/md/NAME`, `/dev/mapper/NAME`, `/dev/VG/LV`.
pub(crate) fn may_be_volume(name: &GuestString) -> bool {
    name.as_bytes().strip_prefix(b"/dev/").is_some_and(|rest| rest.starts_with(b"md") || rest.contains(&b'/'))
}

/// `/dev/sdb3`, `/dev/vdb3` and `/dev/hdb3` are disk 1, partition 3.
fn parse(name: &str) -> Option<(usize, Option<u32>)> {
    let rest =
        ["/dev/sd", "/dev/vd", "/dev/hd", "/dev/xvd"].iter().find_map(|prefix| name.strip_prefix(prefix))?;
    let end = rest.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(rest.len());
    let (letters, digits) = rest.split_at(end);
    if letters.is_empty() || letters.len() > 3 {
        return None;
    }
    let index = letters.bytes().try_fold(0usize, |index, letter| {
        index.checked_mul(26)?.checked_add(usize::from(letter.checked_sub(b'a')?))?.checked_add(1)
    })?;
    let partition = if digits.is_empty() { None } else { Some(digits.parse().ok().filter(|n| *n > 0)?) };
    Some((index.checked_sub(1)?, partition))
}

/// 0 is `a`, 25 `z`, 26 `aa`.
fn letters(mut index: usize) -> String {
    let mut name = Vec::new();
    loop {
        name.push(b'a' + u8::try_from(index % 26).unwrap_or(0));
        match (index / 26).checked_sub(1) {
            Some(next) => index = next,
            None => break,
        }
    }
    name.reverse();
    String::from_utf8_lossy(&name).into_owned()
}

/// A node's path as text for messages.
pub(crate) fn node_text(node: &Path) -> GuestString {
    node.as_os_str().as_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for index in [0, 1, 25, 26, 27, 51, 52, 701, 702, 703] {
            assert_eq!(parse(&format!("/dev/sd{}", letters(index))), Some((index, None)), "{index}");
        }
        assert_eq!((letters(25), letters(26), letters(702)), ("z".into(), "aa".into(), "aaa".into()));
        assert_eq!(parse("/dev/vdc12"), Some((2, Some(12))));
        assert_eq!(parse("/dev/hda"), Some((0, None)));
        let labels = [("root".to_owned(), 1)];
        assert_eq!(labelled("/dev/disk/guestfs/root", &labels), Some((1, None)));
        assert_eq!(labelled("/dev/disk/guestfs/root12", &labels), Some((1, Some(12))));
        for name in
            ["/dev/disk/guestfs/roo", "/dev/disk/guestfs/rootx", "/dev/disk/guestfs/root0", "/dev/root"]
        {
            assert_eq!(labelled(name, &labels), None, "{name}");
        }
        for name in [
            "/dev/sd",
            "/dev/sda0",
            "/dev/sda1x",
            "/dev/sdA",
            "/dev/sdaaaa",
            "/dev/VG/LV",
            "sda",
            "/dev/sda99999999999",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
