//! A btrfs as a whole: its devices, its size, its health.

use super::mount::{raid6_refused, skips_raid6};
use super::options::Options;
use super::regular::{about, shown};
use crate::disks::Device;
use crate::worker::{GuestPath, Worker};
use guestd_api::actions::btrfs_volume::{
    BtrfsFilesystemDefragmentOptions, BtrfsFilesystemResizeOptions, BtrfsFsckOptions, BtrfsImageOptions,
    BtrfsScrubFullOptions, MkfsBtrfsOptions, Server,
};
use guestd_api::actions::mkfs::Server as _;
use guestd_api::structs::{Btrfsbalance, Btrfsscrub};
use guestd_api::{Failure, GuestString};
use std::ffi::OsStr;

/// How data and metadata can be spread over devices.
const PROFILES: &[&str] =
    &["single", "dup", "raid0", "raid1", "raid1c3", "raid1c4", "raid10", "raid5", "raid6"];

/// The words of mkfs.btrfs for the options of the action.
fn mkfs_options(opts: &MkfsBtrfsOptions) -> Result<Options, Failure> {
    let mut words = Options::default();
    // The start of allocation was never more than a wish, and the program has no such option any more.
    if let Some(bytes) = opts.bytecount {
        if bytes <= 0 {
            return Err(Failure::new("bytecount must be > 0"));
        }
        words.add(["--byte-count", &bytes.to_string()]);
    }
    for (name, given, option) in
        [("datatype", &opts.datatype, "--data"), ("metadata", &opts.metadata, "--metadata")]
    {
        let Some(profile) = given else { continue };
        if !PROFILES.iter().any(|known| *profile == **known) {
            return Err(Failure::new(format!("{name} not one of the allowed values")));
        }
        if (*profile == "raid5" || *profile == "raid6") && skips_raid6() {
            return Err(raid6_refused("mkfs.btrfs", "btrfs with RAID 5 or 6"));
        }
        words.text(Some(profile), option);
    }
    // Leaves have been nodes since the first releases.
    for (name, given, option) in [
        ("leafsize", opts.leafsize, "--nodesize"),
        ("nodesize", opts.nodesize, "--nodesize"),
        ("sectorsize", opts.sectorsize, "--sectorsize"),
    ] {
        let Some(size) = given else { continue };
        if !u32::try_from(size).is_ok_and(u32::is_power_of_two) {
            return Err(Failure::new(format!("{name} must be > 0 and a power of two")));
        }
        words.add([option, &size.to_string()]);
    }
    words.text(opts.label.as_ref(), "--label");
    Ok(words)
}

/// What `btrfs balance status` prints: that there is none, or two lines.
fn balance(text: &str) -> Result<Btrfsbalance, Failure> {
    let mut balance = Btrfsbalance {
        btrfsbalance_status: "none".into(),
        btrfsbalance_total: 0,
        btrfsbalance_balanced: 0,
        btrfsbalance_considered: 0,
        btrfsbalance_left: 0,
    };
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    if first.contains("No balance found on") {
        return Ok(balance);
    }
    let unexpected = || {
        Failure::new(format!("unexpected output from 'btrfs balance status' command: {}", text.trim_end()))
    };
    // "is running, pause requested" is still running.
    let status = ["running", "paused"].iter().find(|status| first.contains(&format!(" is {status}")));
    balance.btrfsbalance_status = (**status.ok_or_else(unexpected)?).into();
    let line = lines.next().ok_or_else(unexpected)?;
    let numbers: Vec<u64> =
        line.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
    let [balanced, total, considered, left] = numbers.as_slice() else { return Err(unexpected()) };
    balance.btrfsbalance_balanced = *balanced;
    balance.btrfsbalance_total = *total;
    balance.btrfsbalance_considered = *considered;
    balance.btrfsbalance_left = *left;
    Ok(balance)
}

/// What `btrfs scrub status -R` prints: `name: number` lines; without a scrub there are none.
fn scrub(text: &str) -> Btrfsscrub {
    let number = |name: &str| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
            .unwrap_or(0)
    };
    Btrfsscrub {
        btrfsscrub_data_extents_scrubbed: number("data_extents_scrubbed"),
        btrfsscrub_tree_extents_scrubbed: number("tree_extents_scrubbed"),
        btrfsscrub_data_bytes_scrubbed: number("data_bytes_scrubbed"),
        btrfsscrub_tree_bytes_scrubbed: number("tree_bytes_scrubbed"),
        btrfsscrub_read_errors: number("read_errors"),
        btrfsscrub_csum_errors: number("csum_errors"),
        btrfsscrub_verify_errors: number("verify_errors"),
        btrfsscrub_no_csum: number("no_csum"),
        btrfsscrub_csum_discards: number("csum_discards"),
        btrfsscrub_super_errors: number("super_errors"),
        btrfsscrub_malloc_errors: number("malloc_errors"),
        btrfsscrub_uncorrectable_errors: number("uncorrectable_errors"),
        btrfsscrub_unverified_errors: number("unverified_errors"),
        btrfsscrub_corrected_errors: number("corrected_errors"),
        btrfsscrub_last_physical: number("last_physical"),
    }
}

/// The devices that `btrfs filesystem show` lists.
fn members(text: &str, device: &Device) -> Result<Vec<GuestString>, Failure> {
    if text.contains("*** Some devices missing") {
        return Err(Failure::new(format!("{}: missing devices", device.shown)).with_errno(libc::ENODEV));
    }
    let path = |line: &str| {
        let (_, path) = line.trim().strip_prefix("devid ")?.split_once(" path ")?;
        path.split(' ').next().map(GuestString::from)
    };
    Ok(text.lines().filter_map(path).collect())
}

impl Worker {
    /// Runs `btrfs WORDS PATH`.
    fn btrfs_at(&self, words: &[&str], path: &GuestPath) -> Result<Vec<u8>, Failure> {
        let place = self.outside_plain(path)?;
        self.tool("btrfs")?.args(words).arg(place).run().map_err(about(shown(path)))
    }

    /// Runs `TOOL WORDS DEVICE`.
    fn on_device(&self, tool: &str, words: &[&str], device: &Device) -> Result<Vec<u8>, Failure> {
        self.tool(tool)?.args(words).arg(&device.node).run().map_err(about(&device.shown))
    }

    /// Has the kernel know all devices with a btrfs, so that one that consists of several can be mounted.
    pub(super) fn register_btrfs_devices(&self) -> Result<(), Failure> {
        self.want_filesystem("btrfs")?;
        self.tool("btrfs")?.args(["device", "scan"]).run().map(|_| ())
    }
}

impl Server for Worker {
    fn mkfs_btrfs(&self, devices: Vec<Device>, opts: MkfsBtrfsOptions) -> Result<(), Failure> {
        let Some(first) = devices.first() else {
            return Err(Failure::new("list of devices must be non-empty"));
        };
        let words = mkfs_options(&opts)?;
        self.want_filesystem("btrfs")?;
        for device in &devices {
            self.wipefs(device.clone())?;
        }
        let program = self.tool("mkfs.btrfs")?.arg("-f").args(words).arg("--");
        let program = program.args(devices.iter().map(|device| &device.node));
        program.run().map(|_| ()).map_err(about(&first.shown))
    }

    fn btrfs_device_add(&self, devices: Vec<Device>, fs: GuestPath) -> Result<(), Failure> {
        if devices.is_empty() {
            return Ok(());
        }
        let place = self.outside_directory(&fs)?;
        let program = self.tool("btrfs")?.args(["device", "add", "--force"]);
        let program = program.args(devices.iter().map(|device| &device.node)).arg(place);
        program.run().map(|_| ()).map_err(about(shown(&fs)))
    }

    fn btrfs_device_delete(&self, devices: Vec<Device>, fs: GuestPath) -> Result<(), Failure> {
        if devices.is_empty() {
            return Ok(());
        }
        let place = self.outside_directory(&fs)?;
        let program = self.tool("btrfs")?.args(["device", "delete"]);
        let program = program.args(devices.iter().map(|device| &device.node)).arg(place);
        program.run().map(|_| ()).map_err(about(shown(&fs)))
    }

    fn btrfs_replace(&self, srcdev: Device, targetdev: Device, mntpoint: GuestPath) -> Result<(), Failure> {
        let place = self.outside_directory(&mntpoint)?;
        let program = self.tool("btrfs")?.args(["replace", "start", "-B", "-f"]);
        let program = program.arg(&srcdev.node).arg(&targetdev.node).arg(place);
        program.run().map(|_| ()).map_err(about(shown(&mntpoint)))
    }

    fn btrfs_filesystem_show(&self, device: Device) -> Result<Vec<GuestString>, Failure> {
        self.want_filesystem("btrfs")?;
        let text = self.on_device("btrfs", &["filesystem", "show"], &device)?;
        members(&String::from_utf8_lossy(&text), &device)
    }

    fn btrfs_filesystem_resize(
        &self,
        mountpoint: GuestPath,
        opts: BtrfsFilesystemResizeOptions,
    ) -> Result<(), Failure> {
        let size = match opts.size {
            Some(size) if size <= 0 => return Err(Failure::new("size is zero or negative")),
            Some(size) => size.to_string(),
            None => "max".to_owned(),
        };
        self.btrfs_at(&["filesystem", "resize", &size], &mountpoint).map(|_| ())
    }

    fn btrfs_filesystem_sync(&self, fs: GuestPath) -> Result<(), Failure> {
        self.btrfs_at(&["filesystem", "sync"], &fs).map(|_| ())
    }

    fn btrfs_filesystem_defragment(
        &self,
        path: GuestPath,
        opts: BtrfsFilesystemDefragmentOptions,
    ) -> Result<(), Failure> {
        let mut words = vec!["filesystem", "defragment", "-r"];
        if opts.flush == Some(true) {
            words.push("-f");
        }
        match opts.compress.as_ref().map(|method| method.to_str()) {
            None => {}
            Some(Some("zlib")) => words.push("-czlib"),
            Some(Some("lzo")) => words.push("-clzo"),
            Some(Some("zstd")) => words.push("-czstd"),
            Some(_) => {
                let method = opts.compress.unwrap_or_default();
                return Err(Failure::new(format!("unknown compress method: {method}")));
            }
        }
        self.btrfs_at(&words, &path).map(|_| ())
    }

    fn btrfs_filesystem_balance(&self, fs: GuestPath) -> Result<(), Failure> {
        // Without this the program waits for ten seconds, in case nobody meant everything.
        self.btrfs_at(&["balance", "start", "--full-balance"], &fs).map(|_| ())
    }

    fn btrfs_balance_cancel(&self, path: GuestPath) -> Result<(), Failure> {
        self.btrfs_at(&["balance", "cancel"], &path).map(|_| ())
    }

    fn btrfs_balance_pause(&self, path: GuestPath) -> Result<(), Failure> {
        self.btrfs_at(&["balance", "pause"], &path).map(|_| ())
    }

    fn btrfs_balance_resume(&self, path: GuestPath) -> Result<(), Failure> {
        self.btrfs_at(&["balance", "resume"], &path).map(|_| ())
    }

    fn btrfs_balance_status(&self, path: GuestPath) -> Result<Btrfsbalance, Failure> {
        let place = self.outside_directory(&path)?;
        let done = self.tool("btrfs")?.args(["balance", "status"]).arg(place).finish()?;
        // 1: there is one.
        if !matches!(done.status.code(), Some(0 | 1)) || done.stdout.is_empty() {
            return Err(about(shown(&path))(done.failure()));
        }
        balance(&String::from_utf8_lossy(&done.stdout))
    }

    fn btrfs_scrub_start(&self, path: GuestPath) -> Result<(), Failure> {
        // What goes on in the background must not hold the ends of the pipes that are read here.
        let place = self.outside_directory(&path)?;
        self.tool("btrfs")?;
        let script = "errors=$(mktemp) && btrfs scrub start \"$0\" >/dev/null 2>\"$errors\"; status=$?
                      cat \"$errors\" >&2; rm -f \"$errors\"; exit $status";
        let program = self.tool("bash")?.args(["-c", script]).arg(place);
        program.run().map(|_| ()).map_err(about(shown(&path)))
    }

    fn btrfs_scrub_cancel(&self, path: GuestPath) -> Result<(), Failure> {
        self.btrfs_at(&["scrub", "cancel"], &path).map(|_| ())
    }

    fn btrfs_scrub_resume(&self, path: GuestPath) -> Result<(), Failure> {
        self.btrfs_at(&["scrub", "resume", "-B"], &path).map(|_| ())
    }

    fn btrfs_scrub_status(&self, path: GuestPath) -> Result<Btrfsscrub, Failure> {
        self.btrfs_at(&["scrub", "status", "-R"], &path).map(|text| scrub(&String::from_utf8_lossy(&text)))
    }

    fn btrfs_scrub_full(&self, path: GuestPath, opts: BtrfsScrubFullOptions) -> Result<(), Failure> {
        let mut words = vec!["scrub", "start", "-B"];
        if opts.readonly == Some(true) {
            words.push("-r");
        }
        self.btrfs_at(&words, &path).map(|_| ())
    }

    fn btrfs_fsck(&self, device: Device, opts: BtrfsFsckOptions) -> Result<(), Failure> {
        let mut words = Options::default();
        if opts.superblock.is_some_and(|number| number < 0) {
            return Err(Failure::new("super block offset must be >= 0"));
        }
        words.number("superblock", opts.superblock, "--super", "")?;
        if opts.repair == Some(true) {
            // The second is its question, answered.
            words.add(["--repair", "--force"]);
        }
        let program = self.tool("btrfs")?.arg("check").args(words).arg(&device.node);
        program.run().map(|_| ()).map_err(about(&device.shown))
    }

    fn btrfs_image(
        &self,
        source: Vec<Device>,
        image: GuestPath,
        opts: BtrfsImageOptions,
    ) -> Result<(), Failure> {
        let Some(first) = source.first() else {
            return Err(Failure::new("list of sources must be non-empty"));
        };
        let mut words = Options::default();
        if let Some(level) = opts.compresslevel.filter(|level| *level >= 0) {
            words.add(["-c", &level.to_string()]);
        }
        let place = self.outside_plain(&image)?;
        let nodes = source.iter().map(|device| device.node.as_os_str());
        let nodes: Vec<&OsStr> = nodes.chain([place.as_os_str()]).collect();
        let program = self.tool("btrfs-image")?.args(words).args(nodes);
        program.run().map(|_| ()).map_err(about(format!("{} {}", first.shown, shown(&image))))
    }

    fn btrfs_rescue_chunk_recover(&self, device: Device) -> Result<(), Failure> {
        self.on_device("btrfs", &["rescue", "chunk-recover", "-y"], &device).map(|_| ())
    }

    fn btrfs_rescue_super_recover(&self, device: Device) -> Result<(), Failure> {
        let done = self.tool("btrfs")?.args(["rescue", "super-recover", "-y"]).arg(&device.node).finish()?;
        // 2: there were bad ones, and all are good now.
        if done.status.code() == Some(2) { Ok(()) } else { done.success().map_err(about(&device.shown)) }
    }

    fn btrfs_set_seeding(&self, device: Device, seeding: bool) -> Result<(), Failure> {
        self.on_device("btrfstune", &["-S", if seeding { "1" } else { "0" }], &device).map(|_| ())
    }

    fn btrfstune_seeding(&self, device: Device, seeding: bool) -> Result<(), Failure> {
        let words: &[&str] = if seeding { &["-S", "1"] } else { &["-S", "0", "-f"] };
        self.on_device("btrfstune", words, &device).map(|_| ())
    }

    fn btrfstune_enable_extended_inode_refs(&self, device: Device) -> Result<(), Failure> {
        self.on_device("btrfstune", &["-r"], &device).map(|_| ())
    }

    fn btrfstune_enable_skinny_metadata_extent_refs(&self, device: Device) -> Result<(), Failure> {
        self.on_device("btrfstune", &["-x"], &device).map(|_| ())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn balances_are_read() {
        let none = balance("No balance found on '/sysroot/'\n").unwrap();
        assert_eq!(none.btrfsbalance_status, "none");
        let text = "Balance on '/' is paused\n3 out of about 8 chunks balanced (4 considered),  62% left\n";
        let paused = balance(text).unwrap();
        let numbers = (
            paused.btrfsbalance_balanced,
            paused.btrfsbalance_total,
            paused.btrfsbalance_considered,
            paused.btrfsbalance_left,
        );
        assert_eq!((paused.btrfsbalance_status.to_string(), numbers), ("paused".into(), (3, 8, 4, 62)));
        assert!(balance("").is_err());
    }

    #[test]
    fn scrubs_are_read() {
        let text = "UUID: x\nScrub started:    Mon Feb  2\n\tdata_extents_scrubbed: 12\n\tcsum_errors: 3\n\tlast_physical: 99\n";
        let found = scrub(text);
        assert_eq!(
            (
                found.btrfsscrub_data_extents_scrubbed,
                found.btrfsscrub_csum_errors,
                found.btrfsscrub_last_physical
            ),
            (12, 3, 99)
        );
        assert_eq!(scrub("no stats available\n").btrfsscrub_last_physical, 0);
    }
}
