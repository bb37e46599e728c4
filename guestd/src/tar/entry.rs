//! One entry of an archive: its headers, read as GNU tar, POSIX and their mixtures write them.

use super::BLOCK;
use rustix::fs::Timespec;
use std::io::{self, BufRead};

/// The most that the headers in front of an entry may have for us: long names and attributes.
const MAX_EXTRA: u64 = 64 << 10;

/// What an entry is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    SymbolicLink,
    HardLink,
}

/// An entry that can be unpacked here.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    /// As it stands in the archive: relative, without `..`.
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) size: u64,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) modified: Timespec,
}

/// What stands at a place of the archive.
#[derive(Debug)]
pub(super) enum Next {
    Entry(Entry),
    /// A block of zeroes.
    End,
    /// The archive is over.
    Nothing,
    /// Not for us.
    Strange,
}

/// Reads `count` bytes of the archive to the end of `log`, or as many as there are. True if all were there.
pub(super) fn take(archive: &mut dyn BufRead, log: &mut Vec<u8>, count: usize) -> io::Result<bool> {
    let mut left = count;
    while left > 0 {
        let ready = match archive.fill_buf() {
            Ok(ready) => ready,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if ready.is_empty() {
            return Ok(false);
        }
        let part = ready.get(..left.min(ready.len())).unwrap_or(ready);
        log.extend_from_slice(part);
        let used = part.len();
        archive.consume(used);
        left -= used;
    }
    Ok(true)
}

/// Reads the headers of the next entry to the end of `log`.
pub(super) fn next(archive: &mut dyn BufRead, log: &mut Vec<u8>) -> io::Result<Next> {
    let mut more = More::default();
    let start = log.len();
    loop {
        let at = log.len();
        if !take(archive, log, BLOCK)? {
            // As GNU tar does, a part of a header at the end is taken for the end.
            return Ok(if at == start { Next::Nothing } else { Next::Strange });
        }
        let block = log.get(at..).unwrap_or_default();
        if at == start && block.iter().all(|byte| *byte == 0) {
            return Ok(Next::End);
        }
        let Some(header) = header(block) else { return Ok(Next::Strange) };
        let (kind, Ok(size)) = (header.entry_type().as_byte(), header.entry_size()) else {
            return Ok(Next::Strange);
        };
        if !matches!(kind, b'L' | b'K' | b'x') {
            let entry = more.entry(&header.clone());
            return Ok(entry.filter(Entry::is_ordinary).map_or(Next::Strange, Next::Entry));
        }
        if size > MAX_EXTRA {
            return Ok(Next::Strange);
        }
        let (from, size) = (log.len(), size as usize);
        if !take(archive, log, size.next_multiple_of(BLOCK))? {
            return Ok(Next::Strange);
        }
        let extra = log.get(from..from + size).unwrap_or_default();
        if more.add(kind, extra).is_none() {
            return Ok(Next::Strange);
        }
    }
}

/// The block as a header, if its sum is right and it is of a kind with known fields.
fn header(block: &[u8]) -> Option<&tar::Header> {
    let header = tar::Header::from_byte_slice(block.first_chunk::<BLOCK>()?);
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
        .sum();
    (header.cksum().ok()? == sum && (header.as_gnu().is_some() || header.as_ustar().is_some()))
        .then_some(header)
}

/// What headers in front of an entry say about it.
#[derive(Default)]
struct More {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    user: Option<u32>,
    group: Option<u32>,
    modified: Option<Timespec>,
}

impl More {
    fn add(&mut self, kind: u8, extra: &[u8]) -> Option<()> {
        let text = || extra.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
        match kind {
            b'L' => self.name = Some(text()),
            b'K' => self.link = Some(text()),
            _ => {
                for record in tar::PaxExtensions::new(extra) {
                    let record = record.ok()?;
                    self.attribute(record.key_bytes(), record.value_bytes())?;
                }
            }
        }
        Some(())
    }

    /// One attribute of POSIX's extended headers. Those that only say more about the file are not ours to keep.
    fn attribute(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let text = || std::str::from_utf8(value).ok();
        match key {
            b"path" => self.name = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(text()?.parse().ok()?),
            b"uid" => self.user = Some(text()?.parse().ok()?),
            b"gid" => self.group = Some(text()?.parse().ok()?),
            b"mtime" => self.modified = Some(time(text()?)?),
            key if key.starts_with(b"GNU.") => return None,
            _ => {}
        }
        Some(())
    }

    fn entry(self, header: &tar::Header) -> Option<Entry> {
        let kind = match header.entry_type().as_byte() {
            b'0' | 0 => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::SymbolicLink,
            b'5' => Kind::Directory,
            _ => return None,
        };
        let number = |wide: u64| u32::try_from(wide).ok();
        let old = header.as_old();
        // Numbers in base 256 may be negative.
        let plain = [&old.mtime[..], &old.uid, &old.gid].iter().all(|field| field.first() < Some(&0x80));
        if !plain {
            return None;
        }
        Some(Entry {
            kind,
            name: self.name.unwrap_or_else(|| header.path_bytes().into_owned()),
            link: match self.link {
                Some(link) => link,
                None => header.link_name_bytes().unwrap_or_default().into_owned(),
            },
            size: self.size.map_or_else(|| header.entry_size(), Ok).ok()?,
            mode: header.mode().ok()? & 0o7777,
            owner: (
                self.user.or_else(|| number(header.uid().ok()?))?,
                self.group.or_else(|| number(header.gid().ok()?))?,
            ),
            modified: match self.modified {
                Some(modified) => modified,
                None => Timespec { tv_sec: i64::try_from(header.mtime().ok()?).ok()?, tv_nsec: 0 },
            },
        })
    }
}

/// Seconds since 1970 with a fraction; not before.
fn time(text: &str) -> Option<Timespec> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let tv_nsec = format!("{fraction:0<9.9}").parse().ok()?;
    let tv_sec = seconds.parse::<i64>().ok().filter(|seconds| *seconds >= 0)?;
    Some(Timespec { tv_sec, tv_nsec })
}

impl Entry {
    /// False for what GNU tar has words or special rules for.
    fn is_ordinary(&self) -> bool {
        let has_data = matches!(self.kind, Kind::File) || self.size == 0;
        // An entry of a file whose name is that of a directory is one, in the oldest archives.
        let is_named = !matches!(self.kind, Kind::File) || !self.name.ends_with(b"/");
        has_data && is_named && is_ordinary(&self.name) && (self.link.is_empty() || !self.link.contains(&0))
    }
}

/// True for a relative name that cannot lead upwards.
pub(super) fn is_ordinary(name: &[u8]) -> bool {
    !name.is_empty() && !name.starts_with(b"/") && !name.contains(&0) && !climbs(name)
}

/// True if one of the parts is `..`.
pub(super) fn climbs(name: &[u8]) -> bool {
    name.split(|byte| *byte == b'/').any(|part| part == b"..")
}

/// The name in one of its many spellings: without `.`, empty parts and slashes at the end.
pub(super) fn normal(name: &[u8]) -> Vec<u8> {
    let parts = name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.collect::<Vec<_>>().join(&b'/')
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn times_have_up_to_nine_digits() {
        let parts = |text| time(text).map(|time| (time.tv_sec, time.tv_nsec));
        assert_eq!(parts("12"), Some((12, 0)));
        assert_eq!(parts("12.5"), Some((12, 500_000_000)));
        assert_eq!(parts("0.1234567899"), Some((0, 123_456_789)));
        for odd in ["", "-1", "1.x", "1.-5", "99999999999999999999"] {
            assert_eq!(parts(odd), None, "{odd}");
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_not_ordinary() {
        for odd in ["", "/a", "a/../b", "..", "a\0b", "a/.."] {
            assert!(!is_ordinary(odd.as_bytes()), "{odd:?}");
        }
        assert!(is_ordinary(b"./a..b/c"));
        assert_eq!(normal(b"./a//b/./c/"), b"a/b/c");
        assert_eq!(normal(b"./"), b"");
    }

    #[test]
    fn damage_is_left_to_tar() {
        let mut header = tar::Header::new_gnu();
        header.set_path("a").unwrap();
        header.set_size(0);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(7);
        header.set_cksum();
        let good = header.as_bytes().to_vec();
        assert!(
            matches!(next(&mut &good[..], &mut Vec::new()), Ok(Next::Entry(entry)) if entry.name == b"a")
        );
        for at in 0..BLOCK {
            let mut bad = good.clone();
            bad[at] ^= 0x21;
            let found = next(&mut &bad[..], &mut Vec::new()).unwrap();
            assert!(matches!(found, Next::Strange), "byte {at}: {found:?}");
        }
        for length in 1..BLOCK {
            assert!(matches!(next(&mut &good[..length], &mut Vec::new()), Ok(Next::Nothing)));
        }
        assert!(matches!(next(&mut &[][..], &mut Vec::new()), Ok(Next::Nothing)));
        assert!(matches!(next(&mut &[0; BLOCK][..], &mut Vec::new()), Ok(Next::End)));
    }
}
