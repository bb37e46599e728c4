//! What is particular to ext2, ext3 and ext4.
#![allow(non_snake_case, reason = "some actions carry the option of the tool they stand for")]

use super::options::Options;
use super::regular::{about, shown};
use crate::disks::Device;
use crate::worker::{GuestPath, Mountable, Worker};
use guestd_api::actions::ext::{E2fsckOptions, Mke2fsOptions, Server, SetE2attrsOptions, Tune2fsOptions};
use guestd_api::actions::labels::Server as _;
use guestd_api::actions::mkfs::Server as _;
use guestd_api::{Failure, GuestString, Worker as _};
use std::ffi::OsString;
use std::process::ExitStatus;

/// The longest label, in bytes.
const LABEL_MAX: usize = 16;

/// Fails for a label that would be cut.
fn check_label(label: &GuestString) -> Result<(), Failure> {
    if label.len() > LABEL_MAX {
        return Err(Failure::new(format!("{label}: ext2/3/4 labels are limited to {LABEL_MAX} bytes"))
            .with_errno(libc::EINVAL));
    }
    Ok(())
}

fn is_ext(kind: &GuestString) -> bool {
    ["ext2", "ext3", "ext4"].iter().any(|known| *kind == **known)
}

fn check_kind(kind: &GuestString) -> Result<(), Failure> {
    if is_ext(kind) {
        return Ok(());
    }
    Err(Failure::new(format!("{kind}: not a valid extended filesystem type")))
}

/// A device as something that can be mounted.
fn mountable(device: Device) -> Mountable {
    Mountable { device, subvolume: None }
}

/// The words of mke2fs for the options of the action of that name, without the device.
fn mke2fs_options(opts: &Mke2fsOptions) -> Result<Options, Failure> {
    let mut words = Options::default();
    words.number("blocksize", opts.blocksize, "-b", "")?;
    words.number("fragsize", opts.fragsize, "-f", "")?;
    words.switch(opts.forcecreate, "-F");
    words.number("blockspergroup", opts.blockspergroup, "-g", "")?;
    words.number("numberofgroups", opts.numberofgroups, "-G", "")?;
    words.number("bytesperinode", opts.bytesperinode, "-i", "")?;
    words.number("inodesize", opts.inodesize, "-I", "")?;
    words.number("journalsize", opts.journalsize, "-J", "size=")?;
    words.text(opts.label.as_ref(), "-L");
    words.number("reservedblockspercentage", opts.reservedblockspercentage.map(i64::from), "-m", "")?;
    words.text(opts.lastmounteddir.as_ref(), "-M");
    words.number("numberofinodes", opts.numberofinodes, "-N", "")?;
    words.text(opts.creatoros.as_ref(), "-o");
    words.switch(opts.writesbandgrouponly, "-S");
    if let Some(kind) = &opts.fstype {
        check_kind(kind)?;
        words.text(Some(kind), "-t");
    }
    words.text(opts.usagetype.as_ref(), "-T");
    words.text(opts.uuid.as_ref(), "-U");
    words.number("mmpupdateinterval", opts.mmpupdateinterval.map(i64::from), "-E", "mmp_update_interval=")?;
    words.number("stridesize", opts.stridesize, "-E", "stride=")?;
    words.number("stripewidth", opts.stripewidth, "-E", "stripe_width=")?;
    words.number("maxonlineresize", opts.maxonlineresize, "-E", "resize=")?;
    words.either(opts.lazyitableinit, "-E", "lazy_itable_init=1", "lazy_itable_init=0");
    words.either(opts.lazyjournalinit, "-E", "lazy_journal_init=1", "lazy_journal_init=0");
    if opts.testfs == Some(true) {
        words.add(["-E", "test_fs"]);
    }
    words.either(opts.discard, "-E", "discard", "nodiscard");
    words.either(opts.quotatype, "-E", "quotatype=usrquota:grpquota", "quotatype=usrquota");
    for (given, feature) in [
        (opts.extent, "extent"),
        (opts.filetype, "filetype"),
        (opts.flexbg, "flex_bg"),
        (opts.hasjournal, "has_journal"),
        (opts.journaldev, "journal_dev"),
        (opts.largefile, "large_file"),
        (opts.quota, "quota"),
        (opts.resizeinode, "resize_inode"),
        (opts.sparsesuper, "sparse_super"),
        (opts.uninitbg, "uninit_bg"),
    ] {
        words.either(given, "-O", feature, &format!("^{feature}"));
    }
    Ok(words)
}

/// The words of tune2fs for the options of the action of that name.
fn tune2fs_options(opts: &Tune2fsOptions) -> Result<Options, Failure> {
    let mut words = Options::default();
    let number = |words: &mut Options, name: &str, given: Option<i64>, option: &str, unit: &str| {
        match given {
            Some(number) if number < 0 => return Err(Failure::new(format!("{name} cannot be negative"))),
            Some(0) => words.add([option, "0"]),
            Some(number) => words.add([option.to_owned(), format!("{number}{unit}")]),
            None => {}
        }
        Ok(())
    };
    words.switch(opts.force, "-f");
    number(&mut words, "maxmountcount", opts.maxmountcount.map(i64::from), "-c", "")?;
    number(&mut words, "mountcount", opts.mountcount.map(i64::from), "-C", "")?;
    if let Some(behavior) = &opts.errorbehavior {
        if !["continue", "remount-ro", "panic"].iter().any(|known| *behavior == **known) {
            return Err(Failure::new(format!("invalid errorbehavior parameter: {behavior}")));
        }
        words.text(Some(behavior), "-e");
    }
    number(&mut words, "group", opts.group, "-g", "")?;
    number(&mut words, "intervalbetweenchecks", opts.intervalbetweenchecks.map(i64::from), "-i", "s")?;
    let percentage = opts.reservedblockspercentage.map(i64::from);
    number(&mut words, "reservedblockspercentage", percentage, "-m", "")?;
    words.text(opts.lastmounteddirectory.as_ref(), "-M");
    number(&mut words, "reservedblockscount", opts.reservedblockscount, "-r", "")?;
    number(&mut words, "user", opts.user, "-u", "")?;
    Ok(words)
}

/// `Filesystem UUID:          7d3f...` lines as keys and values; "none" in its spellings is empty.
fn superblock(text: &[u8]) -> Vec<(GuestString, GuestString)> {
    let mut pairs = Vec::new();
    let lines = super::lines(text);
    for line in lines.iter().filter(|line| !line.is_empty() && !line.as_bytes().starts_with(b"tune2fs ")) {
        let bytes = line.as_bytes();
        let (key, value) = match bytes.iter().position(|byte| *byte == b':') {
            Some(at) => (bytes.get(..at), bytes.get(at.saturating_add(1)..)),
            None => (Some(bytes), None),
        };
        let value = match value.unwrap_or_default().trim_ascii_start() {
            b"<none>" | b"<not available>" | b"(none)" => b"",
            value => value,
        };
        pairs.push((key.unwrap_or_default().into(), value.into()));
    }
    pairs
}

/// Checks the letters for chattr: each at most once, none that it takes for one of its options.
fn attribute_letters(attrs: &GuestString) -> Result<(), Failure> {
    let bytes = attrs.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let letter = char::from(*byte);
        if matches!(letter, 'R' | 'V' | 'f' | 'v') {
            return Err(Failure::new(format!("bad file attribute '{letter}'")));
        }
        if !letter.is_ascii_alphabetic() {
            return Err(Failure::new(format!("unknown file attribute '{letter}'")));
        }
        if bytes.get(..at).unwrap_or_default().contains(byte) {
            return Err(Failure::new(format!("duplicate file attribute '{letter}'")));
        }
    }
    Ok(())
}

impl Worker {
    /// Runs a tool whose two outputs belong together, as those of checkers do.
    pub(super) fn run_folded(
        &self,
        tool: &str,
        args: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>,
    ) -> Result<(ExitStatus, Failure), Failure> {
        self.tool(tool)?;
        let shell = self.tool("bash")?.arg("-c").arg("exec \"$0\" \"$@\" 2>&1").arg(tool);
        let mut done = shell.args(args).finish()?;
        done.errors = self.agent.disks.shown_text(done.stdout.trim_ascii_end()).into();
        let failure = done.failure();
        Ok((done.status, failure))
    }

    /// What resize2fs wants: a file system that is not mounted was just checked.
    fn check_before_resize(&self, device: &Device) -> Result<(), Failure> {
        if self.is_mounted(device)? {
            return Ok(());
        }
        let (status, failure) =
            self.run_folded("e2fsck", [OsString::from("-fy"), device.node.clone().into_os_string()])?;
        // 1: repaired.
        if matches!(status.code(), Some(0 | 1)) { Ok(()) } else { Err(failure) }
    }

    fn make_ext(&self, device: &Device, words: Options) -> Result<(), Failure> {
        self.wipefs(device.clone())?;
        self.tool("mke2fs")?.arg("-F").args(words).arg(&device.node).run().map(|_| ())
    }

    fn make_with_journal(
        &self,
        kind: &GuestString,
        blocksize: i32,
        device: &Device,
        journal: OsString,
    ) -> Result<(), Failure> {
        check_kind(kind)?;
        let mut words = Options::default();
        words.text(Some(kind), "-t");
        words.add([OsString::from("-J"), journal]);
        words.add(["-b".to_owned(), blocksize.to_string()]);
        self.make_ext(device, words)
    }

    fn make_journal(
        &self,
        blocksize: i32,
        device: &Device,
        option: &str,
        text: Option<&GuestString>,
    ) -> Result<(), Failure> {
        let mut words = Options::default();
        words.add(["-O", "journal_dev", "-b", &blocksize.to_string()]);
        words.text(text, option);
        self.make_ext(device, words)
    }

    /// The smallest size of an ext2/3/4 that resize2fs would make, in bytes.
    pub(super) fn ext_minimum_size(&self, device: &Device) -> Result<i64, Failure> {
        let text = self.tool("resize2fs")?.args(["-P", "-f"]).arg(&device.node).run()?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let blocks = text.lines().find_map(|line| {
            line.strip_prefix("Estimated minimum size of the filesystem: ")?.trim().parse::<i64>().ok()
        });
        let size = self.tune2fs_l(device.clone())?.into_iter().find(|(key, _)| *key == "Block size");
        let size = size.and_then(|(_, value)| value.to_str()?.parse::<i64>().ok());
        let bytes = blocks.zip(size).and_then(|(blocks, size)| blocks.checked_mul(size));
        bytes.ok_or_else(|| Failure::new(format!("{}: cannot parse the minimum size '{text}'", device.shown)))
    }
}

/// `device=` and what follows, for the option of mke2fs that names a journal.
fn journal_on(prefix: &str, text: &std::ffi::OsStr) -> OsString {
    let mut word = OsString::from(prefix);
    word.push(text);
    word
}

impl Server for Worker {
    fn e2fsck(&self, device: Device, opts: E2fsckOptions) -> Result<(), Failure> {
        let given = [
            ("correct", opts.correct, "-p"),
            ("forceall", opts.forceall, "-y"),
            ("forceno", opts.forceno, "-n"),
        ];
        let chosen: Vec<_> = given.iter().filter(|(_, given, _)| *given == Some(true)).collect();
        if chosen.len() > 1 {
            let names: Vec<_> = chosen.iter().map(|(name, _, _)| format!("'{name}'")).collect();
            return Err(Failure::new(format!(
                "only one of the options {} may be specified",
                names.join(", ")
            )));
        }
        let mut words = Options::default();
        words.add(["-f"]);
        words.add(chosen.iter().map(|(_, _, option)| *option));
        words.add([device.node.clone().into_os_string()]);
        let (status, failure) = self.run_folded("e2fsck", words)?;
        // 1: repaired. 2 and 3: repaired, but the system would have to start again.
        if matches!(status.code(), Some(0 | 1)) { Ok(()) } else { Err(failure) }
    }

    fn e2fsck_f(&self, device: Device) -> Result<(), Failure> {
        self.e2fsck(device, E2fsckOptions::default().correct(true))
    }

    fn get_e2attrs(&self, file: GuestPath) -> Result<GuestString, Failure> {
        let place = self.outside(&file)?;
        let text = self.tool("lsattr")?.args(["-d", "--"]).arg(place).run();
        let text = text.map_err(about(format!("lsattr: {}", shown(&file))))?;
        let letters = text.split(|byte| *byte == b' ').next().unwrap_or_default();
        let mut letters: Vec<u8> = letters.iter().copied().filter(|byte| *byte != b'-').collect();
        letters.sort_unstable();
        Ok(letters.into())
    }

    fn set_e2attrs(
        &self,
        file: GuestPath,
        attrs: GuestString,
        opts: SetE2attrsOptions,
    ) -> Result<(), Failure> {
        if attrs.is_empty() {
            return Ok(());
        }
        attribute_letters(&attrs)?;
        let sign = if opts.clear == Some(true) { "-" } else { "+" };
        let place = self.outside(&file)?;
        let program = self.tool("chattr")?.arg(journal_on(sign, attrs.as_os_str())).arg("--").arg(place);
        program.run().map(|_| ()).map_err(about(format!("chattr: {}", shown(&file))))
    }

    fn get_e2generation(&self, file: GuestPath) -> Result<i64, Failure> {
        let place = self.outside(&file)?;
        let text = self.tool("lsattr")?.args(["-dv", "--"]).arg(place).run();
        let text = text.map_err(about(format!("lsattr: {}", shown(&file))))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let number = text.split_whitespace().next().and_then(|word| word.parse().ok());
        number.ok_or_else(|| Failure::new(format!("cannot parse output from 'lsattr' command: {text}")))
    }

    fn set_e2generation(&self, file: GuestPath, generation: i64) -> Result<(), Failure> {
        let place = self.outside(&file)?;
        let number = generation.cast_unsigned().to_string();
        let program = self.tool("chattr")?.args(["-v", &number, "--"]).arg(place);
        program.run().map(|_| ()).map_err(about(format!("chattr: {}", shown(&file))))
    }

    fn get_e2label(&self, device: Device) -> Result<GuestString, Failure> {
        self.vfs_label(mountable(device))
    }

    fn set_e2label(&self, device: Device, label: GuestString) -> Result<(), Failure> {
        self.set_label(mountable(device), label)
    }

    fn get_e2uuid(&self, device: Device) -> Result<GuestString, Failure> {
        self.vfs_uuid(mountable(device))
    }

    fn set_e2uuid(&self, device: Device, uuid: GuestString) -> Result<(), Failure> {
        self.tool("tune2fs")?.arg("-U").arg(uuid.as_os_str()).arg(&device.node).run().map(|_| ())
    }

    fn mke2fs(&self, device: Device, opts: Mke2fsOptions) -> Result<(), Failure> {
        let mut words = mke2fs_options(&opts)?;
        if let Some(journal) = &opts.journaldevice {
            let place = if journal.as_bytes().starts_with(b"/dev/") {
                self.device("journaldevice", journal.clone())?.node.into_os_string()
            } else {
                journal.as_os_str().to_owned()
            };
            words.add([OsString::from("-J"), journal_on("device=", &place)]);
        }
        words.add([device.node.clone().into_os_string()]);
        if let Some(blocks) = opts.blockscount {
            if blocks < 0 {
                return Err(Failure::new("blockscount must be >= 0"));
            }
            words.add([blocks.to_string()]);
        }
        self.wipefs(device.clone())?;
        self.tool("mke2fs")?.args(words).run().map(|_| ()).map_err(about(&device.shown))
    }

    fn mke2fs_J(
        &self,
        fstype: GuestString,
        blocksize: i32,
        device: Device,
        journal: Device,
    ) -> Result<(), Failure> {
        self.make_with_journal(&fstype, blocksize, &device, journal_on("device=", journal.node.as_os_str()))
    }

    fn mke2fs_JL(
        &self,
        fstype: GuestString,
        blocksize: i32,
        device: Device,
        label: GuestString,
    ) -> Result<(), Failure> {
        check_label(&label)?;
        self.make_with_journal(&fstype, blocksize, &device, journal_on("device=LABEL=", label.as_os_str()))
    }

    fn mke2fs_JU(
        &self,
        fstype: GuestString,
        blocksize: i32,
        device: Device,
        uuid: GuestString,
    ) -> Result<(), Failure> {
        self.make_with_journal(&fstype, blocksize, &device, journal_on("device=UUID=", uuid.as_os_str()))
    }

    fn mke2journal(&self, blocksize: i32, device: Device) -> Result<(), Failure> {
        self.make_journal(blocksize, &device, "", None)
    }

    fn mke2journal_L(&self, blocksize: i32, label: GuestString, device: Device) -> Result<(), Failure> {
        check_label(&label)?;
        self.make_journal(blocksize, &device, "-L", Some(&label))
    }

    fn mke2journal_U(&self, blocksize: i32, uuid: GuestString, device: Device) -> Result<(), Failure> {
        self.make_journal(blocksize, &device, "-U", Some(&uuid))
    }

    fn mklost_and_found(&self, mountpoint: GuestPath) -> Result<(), Failure> {
        let place = self.outside_directory(&mountpoint)?;
        // It works in its working directory only.
        self.tool("mklost+found")?;
        let program = self.tool("env")?.arg("-C").arg(place).arg("mklost+found");
        program.run().map(|_| ()).map_err(about(shown(&mountpoint)))
    }

    fn resize2fs(&self, device: Device) -> Result<(), Failure> {
        self.check_before_resize(&device)?;
        self.tool("resize2fs")?.arg(&device.node).run().map(|_| ())
    }

    fn resize2fs_M(&self, device: Device) -> Result<(), Failure> {
        self.check_before_resize(&device)?;
        self.tool("resize2fs")?.arg("-M").arg(&device.node).run().map(|_| ())
    }

    fn resize2fs_size(&self, device: Device, size: i64) -> Result<(), Failure> {
        if size & 1023 != 0 {
            return Err(Failure::new(format!("{size}: size must be a round number of kilobytes")));
        }
        self.check_before_resize(&device)?;
        self.tool("resize2fs")?.arg(&device.node).arg(format!("{}K", size / 1024)).run().map(|_| ())
    }

    fn tune2fs(&self, device: Device, opts: Tune2fsOptions) -> Result<(), Failure> {
        let words = tune2fs_options(&opts)?;
        self.tool("tune2fs")?.args(words).arg(&device.node).run().map(|_| ()).map_err(about(&device.shown))
    }

    fn tune2fs_l(&self, device: Device) -> Result<Vec<(GuestString, GuestString)>, Failure> {
        self.tool("tune2fs")?.arg("-l").arg(&device.node).run().map(|text| superblock(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_letters_are_checked() {
        let message = |text: &str| attribute_letters(&text.into()).err().map(|failure| failure.to_string());
        assert_eq!(message("ai"), None);
        assert_eq!(message("aia"), Some("duplicate file attribute 'a'".into()));
        assert_eq!(message("aV"), Some("bad file attribute 'V'".into()));
        assert_eq!(message("a-"), Some("unknown file attribute '-'".into()));
    }

    #[test]
    fn superblocks_are_split_into_keys_and_values() {
        let text = b"tune2fs 1.47.0 (5-Feb-2023)\nFilesystem volume name:   <none>\nLast mounted on:          /a:b\n";
        assert_eq!(
            superblock(text),
            [("Filesystem volume name".into(), "".into()), ("Last mounted on".into(), "/a:b".into())]
        );
    }
}
