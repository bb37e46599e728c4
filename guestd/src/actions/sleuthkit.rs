//! Forensic work on file systems, by the programs of The Sleuth Kit.

use crate::disks::Device;
use crate::task::Output;
use crate::worker::{Mountable, Worker};
use guestd_api::actions::sleuthkit::{DownloadBlocksOptions, Server};
use guestd_api::structs::TskDirent;
use guestd_api::{Failure, GuestString};
use std::collections::{BTreeSet, HashMap};

/// Bits of `tsk_flags`.
const IN_USE: u32 = 1;
const REUSED: u32 = 2;

/// As many inodes are described by one run of a script.
const INODES_AT_ONCE: usize = 500;

impl Worker {
    fn forensic(
        &self,
        tool: &str,
        options: &[&str],
        device: &Device,
        arguments: &[String],
        mut output: Output,
    ) -> Result<(), Failure> {
        let program = self.tool(tool)?.args(options).arg(&device.node).args(arguments);
        program.finish_with(None, Some(&mut output))?.success()
    }

    /// All names of a file system, deleted ones too.
    fn names(&self, device: &Device) -> Result<Vec<TskDirent>, Failure> {
        // One list has the times and modes, the other says which names are deleted and what is linked.
        let body = self.tool("fls")?.args(["-a", "-r", "-m", ""]).arg(&device.node).run()?;
        let types = self.tool("fls")?.args(["-a", "-r", "-p"]).arg(&device.node).run()?;
        let kinds = types.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let mut entries = Vec::new();
        for (line, kind) in lines.zip(kinds) {
            self.task.check()?;
            let Some(entry) = parse_entry(line, kind) else { continue };
            // Each directory names itself and the one above; only the root does so once.
            let last = entry.tsk_name.as_bytes().rsplit(|byte| *byte == b'/').next();
            if matches!(last, Some(b"." | b"..")) && entry.tsk_name != *"." {
                continue;
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Adds what only the descriptions of inodes say.
    fn with_details(&self, device: &Device, mut entries: Vec<TskDirent>) -> Result<Vec<TskDirent>, Failure> {
        let inodes: BTreeSet<u64> =
            entries.iter().map(|entry| entry.tsk_inode).filter(|inode| *inode != 0).collect();
        let inodes: Vec<String> = inodes.iter().map(u64::to_string).collect();
        let mut all = HashMap::new();
        self.tool("istat")?;
        for some in inodes.chunks(INODES_AT_ONCE) {
            let script = "for inode; do printf '\\0%s\\n' \"$inode\"; istat -z UTC \"$0\" \"$inode\" 2>/dev/null; done; true";
            let bash = self.tool("bash")?.arg("-c").arg(script).arg(&device.node).args(some);
            for part in bash.run()?.split(|byte| *byte == 0) {
                let text = String::from_utf8_lossy(part);
                let (inode, text) = text.split_once('\n').unwrap_or_default();
                if let Ok(inode) = inode.parse::<u64>() {
                    all.insert(inode, Details::parse(text));
                }
            }
        }
        for entry in &mut entries {
            if entry.tsk_inode != 0 {
                all.get(&entry.tsk_inode).copied().unwrap_or_default().put_into(entry);
            }
        }
        Ok(entries)
    }
}

/// Parts of seconds of an inode's times, and its number of names.
#[derive(Clone, Copy, Default)]
struct Details {
    accessed: i64,
    modified: i64,
    changed: i64,
    created: i64,
    links: Option<i64>,
}

impl Details {
    fn parse(text: &str) -> Self {
        let mut details = Details::default();
        for line in text.lines() {
            let Some((name, rest)) = line.split_once(':') else { continue };
            let fraction = || {
                let digits = rest.split_once('.')?.1;
                digits.get(..9)?.parse().ok()
            };
            match name.trim() {
                "num of links" | "Links" | "Num of Links" => details.links = rest.trim().parse().ok(),
                "Accessed" => details.accessed = fraction().unwrap_or_default(),
                "File Modified" | "Modified" | "Written" => details.modified = fraction().unwrap_or_default(),
                "Inode Modified" | "MFT Modified" => details.changed = fraction().unwrap_or_default(),
                "File Created" | "Created" => details.created = fraction().unwrap_or_default(),
                _ => {}
            }
        }
        details
    }

    fn put_into(self, entry: &mut TskDirent) {
        entry.tsk_atime_nsec = self.accessed;
        entry.tsk_mtime_nsec = self.modified;
        entry.tsk_ctime_nsec = self.changed;
        entry.tsk_crtime_nsec = self.created;
        // What the reader makes up, the directory of orphans, has no inode to count names.
        entry.tsk_nlink = self.links.unwrap_or(1);
    }
}

/// A line of `fls -m` with the line of `fls -p` for the same name.
fn parse_entry(body: &[u8], kind: &[u8]) -> Option<TskDirent> {
    // MD5|name|inode|mode|UID|GID|size|atime|mtime|ctime|crtime, and the name may hold bars.
    let mut fields = body.rsplitn(10, |byte| *byte == b'|');
    let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse::<i64>().ok();
    let (crtime, ctime, mtime, atime, size) = (number()?, number()?, number()?, number()?, number()?);
    let (_gid, _uid) = (fields.next()?, fields.next()?);
    let _mode = fields.next()?;
    let inode = fields.next()?;
    let name = fields.next()?.strip_prefix(b"0|")?;
    // Type of the name, type of the inode, `*` for deleted: `r/r * 13(realloc):	name`.
    let (marks, _) = kind.split_at_checked(kind.iter().position(|byte| *byte == b'\t')?)?;
    let deleted = marks.get(4) == Some(&b'*');
    let reused = marks.windows(9).any(|window| window == b"(realloc)");
    let letter = match marks {
        [b'-', b'/', inode, ..] => *inode,
        [name, ..] => *name,
        [] => return None,
    };
    let tsk_type = match letter {
        b'r' | b'd' | b'l' | b'b' | b'c' | b's' | b'h' | b'w' => letter,
        b'p' | b'f' => b'f',
        _ => b'u',
    };
    let mut name = name.strip_prefix(b"/").unwrap_or(name);
    for mark in [&b" (deleted-realloc)"[..], b" (deleted)"] {
        name = name.strip_suffix(mark).unwrap_or(name);
    }
    let mut link = GuestString::new();
    if tsk_type == b'l'
        && let Some(at) = name.windows(4).position(|window| window == b" -> ")
    {
        link = name.get(at.checked_add(4)?..)?.into();
        name = name.get(..at)?;
    }
    let inode = std::str::from_utf8(inode.split(|byte| *byte == b'-').next()?).ok()?.parse().ok()?;
    Some(TskDirent {
        tsk_inode: inode,
        tsk_type,
        tsk_size: size,
        tsk_name: name.into(),
        tsk_flags: if !deleted {
            IN_USE
        } else if reused {
            REUSED
        } else {
            0
        },
        tsk_atime_sec: atime,
        tsk_atime_nsec: 0,
        tsk_mtime_sec: mtime,
        tsk_mtime_nsec: 0,
        tsk_ctime_sec: ctime,
        tsk_ctime_nsec: 0,
        tsk_crtime_sec: crtime,
        tsk_crtime_nsec: 0,
        tsk_nlink: 0,
        tsk_link: link,
        tsk_spare1: 0,
    })
}

impl Server for Worker {
    fn filesystem_walk(&self, device: Mountable) -> Result<Vec<TskDirent>, Failure> {
        let mut names = self.names(&device.device)?;
        // Inodes without a name, under names that are made up.
        names.retain(|entry| !entry.tsk_name.as_bytes().starts_with(b"$OrphanFiles/"));
        self.with_details(&device.device, names)
    }

    fn find_inode(&self, device: Mountable, inode: i64) -> Result<Vec<TskDirent>, Failure> {
        let Ok(wanted) = u64::try_from(inode) else { return Ok(Vec::new()) };
        let names =
            self.names(&device.device)?.into_iter().filter(|entry| entry.tsk_inode == wanted).collect();
        self.with_details(&device.device, names)
    }

    fn download_inode(&self, device: Mountable, inode: i64, filename: Output) -> Result<(), Failure> {
        if inode < 0 {
            return Err(Failure::new("inode must be >= 0").with_errno(libc::EINVAL));
        }
        self.forensic("icat", &["-r"], &device.device, &[inode.to_string()], filename)
    }

    fn download_blocks(
        &self,
        device: Mountable,
        start: i64,
        stop: i64,
        filename: Output,
        opts: DownloadBlocksOptions,
    ) -> Result<(), Failure> {
        if start < 0 || stop < start {
            let why = "stopping address must greater than starting address";
            return Err(Failure::new(why).with_errno(libc::EINVAL));
        }
        let options: &[&str] = if opts.unallocated.unwrap_or(false) { &[] } else { &["-e"] };
        self.forensic("blkls", options, &device.device, &[format!("{start}-{stop}")], filename)
    }
}
