//! Archives as GNU tar writes them, byte for byte.

use std::collections::HashMap;

/// Bytes of a block: headers and data are multiples of it.
pub const BLOCK: usize = 512;
/// The archive's length is a multiple of this.
pub const RECORD: u64 = 20 * BLOCK as u64;

/// Users of the appliance, by whose names owners are known in archives.
pub const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n";
/// Its groups.
pub const GROUP: &str = "root:x:0:\ndisk:x:6:\nnogroup:x:65534:\n";

/// Users and groups by their numbers.
#[derive(Debug)]
pub struct Names {
    users: HashMap<u32, Vec<u8>>,
    groups: HashMap<u32, Vec<u8>>,
}

impl Names {
    /// As the texts of `/etc/passwd` and `/etc/group` have them.
    pub fn new(passwd: &[u8], group: &[u8]) -> Names {
        Names { users: by_number(passwd), groups: by_number(group) }
    }

    fn user(&self, number: u32) -> &[u8] {
        self.users.get(&number).map_or(b"", Vec::as_slice)
    }

    fn group(&self, number: u32) -> &[u8] {
        self.groups.get(&number).map_or(b"", Vec::as_slice)
    }
}

fn by_number(table: &[u8]) -> HashMap<u32, Vec<u8>> {
    let mut found = HashMap::new();
    for line in table.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':');
        let (Some(name), Some(number)) = (fields.next(), fields.nth(1)) else { continue };
        if let Some(number) = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok()) {
            found.entry(number).or_insert_with(|| name.to_vec());
        }
    }
    found
}

/// What an entry's header says.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its name; a directory's has a slash at the end.
    pub name: &'a [u8],
    /// Where a link leads; empty for all else.
    pub link: &'a [u8],
    /// tar's letter for the kind: `0` file, `1` hard link, `2` symbolic link, `5` directory...
    pub kind: u8,
    /// Permissions: the lower 12 bits of the mode.
    pub mode: u32,
    /// Owner.
    pub user: u32,
    /// Group.
    pub group: u32,
    /// Bytes that follow.
    pub size: u64,
    /// Last change of the contents, in seconds since 1970.
    pub modified: i64,
    /// Numbers of the device that a device node is for.
    pub device: Option<(u32, u32)>,
}

/// Adds an entry's header to `into`, and before it those that names too long for it need.
pub fn put_header(into: &mut Vec<u8>, entry: &Entry<'_>, names: &Names) {
    for (long, kind) in [(entry.link, b'K'), (entry.name, b'L')] {
        if long.len() > 100 {
            let size = (long.len() as u64).saturating_add(1);
            let name = b"././@LongLink";
            let (mode, user, group, modified) = (0o644, 0, 0, 0);
            let before = Entry { name, link: b"", kind, mode, user, group, size, modified, device: None };
            put_one(into, &before, names);
            into.extend_from_slice(long);
            into.push(0);
            into.resize(into.len().saturating_add(padding(size)), 0);
        }
    }
    put_one(into, entry, names);
}

/// The zeroes that follow `size` bytes of data.
pub fn padding(size: u64) -> usize {
    let over = (size % BLOCK as u64) as usize;
    if over == 0 { 0 } else { BLOCK.saturating_sub(over) }
}

fn put_one(into: &mut Vec<u8>, entry: &Entry<'_>, names: &Names) {
    let mut header = [0; BLOCK];
    let mut rest = &mut header[..];
    let mut field = |length: usize| {
        let (field, after) = std::mem::take(&mut rest).split_at_mut_checked(length).unwrap_or_default();
        rest = after;
        field
    };
    text(field(100), entry.name);
    number(field(8), entry.mode.into());
    number(field(8), entry.user.into());
    number(field(8), entry.group.into());
    number(field(12), entry.size.into());
    number(field(12), entry.modified.into());
    // The sum counts itself as blanks.
    text(field(8), &[b' '; 8]);
    text(field(1), &[entry.kind]);
    text(field(100), entry.link);
    text(field(8), b"ustar  \0");
    text(field(32), names.user(entry.user));
    text(field(32), names.group(entry.group));
    if let Some((major, minor)) = entry.device {
        number(field(8), major.into());
        number(field(8), minor.into());
    }
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    if let Some(field) = header.get_mut(148..155) {
        number(field, sum.into());
    }
    into.extend_from_slice(&header);
}

/// A text in a field, cut where it does not fit.
fn text(field: &mut [u8], text: &[u8]) {
    for (to, from) in field.iter_mut().zip(text) {
        *to = *from;
    }
}

/// A number in a field: octal digits and a NUL, or, where they do not suffice, base 256 with a mark.
fn number(field: &mut [u8], value: i128) {
    let [digits @ .., end] = field else { return };
    let fits = u32::try_from(digits.len()).is_ok_and(|count| (0..1 << (3 * count)).contains(&value));
    if fits {
        let octal = format!("{value:0width$o}", width = digits.len());
        text(digits, octal.as_bytes());
        *end = 0;
        return;
    }
    let bytes = value.to_be_bytes();
    for (to, from) in field.iter_mut().rev().zip(bytes.iter().rev()) {
        *to = *from;
    }
    if let Some(first) = field.first_mut() {
        *first = if value < 0 { 0xff } else { 0x80 };
    }
}
