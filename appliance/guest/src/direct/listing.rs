//! What directories hold: names, and all details as `ls -l` shows them.

use std::fmt::Write as _;

use guestd_api::actions::dirs;
use guestd_api::structs::Dirent;
use guestd_api::{Context, Failure, GuestString, Value};
use libimage::fs::system::{Attributes, Kind, Time};

use super::vfs::{Found, Place, Vfs, parent};
use super::{Served, aside, structs, text};

/// Half of a year of the Gregorian calendar, in seconds: what is older is shown with its year.
const HALF_A_YEAR: i64 = 31_556_952 / 2;

/// Answers a call of this group.
pub(super) fn answer(vfs: &Vfs, call: &dirs::Call) -> Served<Value> {
    use dirs::Call;
    match call {
        Call::ls { directory } => names(vfs, directory),
        Call::readdir { dir } => entries(vfs, dir),
        Call::ll { directory } => long(vfs, directory),
        Call::llz { .. } => aside("labels of SELinux are shown by the program ls"),
        _ => aside("it writes"),
    }
}

fn names(vfs: &Vfs, directory: &GuestString) -> Served<Value> {
    let found = vfs.existing(directory)?;
    let all = vfs.list(found.place()?, &found.path, directory.as_bytes())?;
    let mut names: Vec<GuestString> = all.into_iter().map(|named| named.name.into()).collect();
    names.sort_unstable();
    Ok(Value::StringList(names))
}

/// `ls0`: the names as they come, each with a NUL.
pub(super) fn names_out(vfs: &Vfs, directory: &GuestString, context: &mut Context<'_>) -> Served<Value> {
    let found = vfs.existing(directory)?;
    let all = vfs.list(found.place()?, &found.path, directory.as_bytes())?;
    let Some(output) = context.output.as_mut() else { return aside("there is nowhere to write to") };
    let mut bytes = Vec::new();
    for named in all {
        bytes.extend_from_slice(&named.name);
        bytes.push(0);
    }
    output.write_all(&bytes).map_err(|e| Failure::io("Could not send the names", &e))?;
    Ok(Value::Void)
}

fn entries(vfs: &Vfs, directory: &GuestString) -> Served<Value> {
    let found = vfs.existing(directory)?;
    let place = found.place()?;
    match vfs.kind_of(place) {
        "iso9660" => return aside("its directories have numbers of their own for what is in them"),
        "btrfs" => return aside("its directories have numbers of their own for subvolumes"),
        "squashfs" if vfs.is_top(place) => return aside("its top lies in a directory that is not there"),
        _ => {}
    }
    let listed = vfs.list(place, &found.path, directory.as_bytes())?;
    // A directory that does not tell types does not tell its own either.
    let told = listed.iter().all(|named| named.told);
    let letter = |kind: Kind, told: bool| match kind {
        _ if !told => b'u',
        Kind::BlockDevice => b'b',
        Kind::CharDevice => b'c',
        Kind::Directory => b'd',
        Kind::Fifo => b'f',
        Kind::Symlink => b'l',
        Kind::File => b'r',
        Kind::Socket => b's',
    };
    let inode = |place: Place| Served::Ok(vfs.attributes(place, directory.as_bytes())?.inode.cast_signed());
    let mut entries = Vec::with_capacity(listed.len() + 2);
    // Names that lead upwards do not leave the file system.
    let up = if vfs.is_top(place) { place } else { above(vfs, &found)? };
    for (name, place) in [(".", place), ("..", up)] {
        entries.push(Dirent { ino: inode(place)?, ftyp: letter(Kind::Directory, told), name: name.into() });
    }
    for named in listed {
        let ino = inode(named.below)?;
        entries.push(Dirent { ino, ftyp: letter(named.kind, named.told), name: named.name.into() });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(structs(entries))
}

/// The directory around one.
fn above(vfs: &Vfs, found: &Found<'_>) -> Served<Place> {
    vfs.resolve(parent(&found.path), true)?.place()
}

/// A line of the long listing before its columns are as wide as they must be.
struct Line {
    what: Attributes,
    name: Vec<u8>,
    target: Option<Vec<u8>>,
    /// `+` or `.` behind the permissions.
    mark: char,
}

fn long(vfs: &Vfs, directory: &GuestString) -> Served<Value> {
    // What is not there, the link itself included, is an error; what a link leads to need not be there.
    vfs.there(directory, false)?;
    let found = vfs.resolve(directory.as_bytes(), true)?;
    let asked = directory.as_bytes();
    let Some(kind) = found.kind() else { return aside("it is a link that leads nowhere") };
    let place = found.place()?;
    let mut lines = Vec::new();
    if kind != Kind::Directory {
        lines.push(line(vfs, place, found.path.clone(), asked)?);
        return Ok(text(show(&lines)));
    }
    lines.push(line(vfs, place, b".".to_vec(), asked)?);
    lines.push(line(vfs, above(vfs, &found)?, b"..".to_vec(), asked)?);
    for named in vfs.list(place, &found.path, asked)? {
        lines.push(line(vfs, named.place, named.name, asked)?);
    }
    lines.sort_by(|a, b| a.name.cmp(&b.name));
    let blocks: u64 = lines.iter().map(|line| line.what.blocks).fold(0, u64::saturating_add);
    let mut all = format!("total {}\n", blocks.div_ceil(2)).into_bytes();
    all.extend(show(&lines));
    Ok(text(all))
}

fn line(vfs: &Vfs, place: Place, name: Vec<u8>, asked: &[u8]) -> Served<Line> {
    let what = vfs.attributes(place, asked)?;
    let is_link = what.kind == Kind::Symlink;
    let target = is_link.then(|| vfs.ask(place, asked, |fs, node| fs.read_link(node))).transpose()?;
    let names = vfs.ask(place, asked, |fs, node| fs.xattr_names(node))?;
    let has = |wanted: &[u8]| names.iter().any(|name| name == wanted);
    let mark = if !is_link && (has(b"system.posix_acl_access") || has(b"system.posix_acl_default")) {
        '+'
    } else if has(b"security.selinux") {
        '.'
    } else {
        ' '
    };
    Ok(Line { what, name, target, mark })
}

/// The lines as `ls -ln` writes them.
fn show(lines: &[Line]) -> Vec<u8> {
    let widest = |number: &dyn Fn(&Attributes) -> u64| {
        lines.iter().map(|line| digits(number(&line.what))).max().unwrap_or(0)
    };
    let is_device = |what: &Attributes| matches!(what.kind, Kind::CharDevice | Kind::BlockDevice);
    let (links, user, group) =
        (widest(&|w| w.links.into()), widest(&|w| w.user.into()), widest(&|w| w.group.into()));
    let of_devices = |number: &dyn Fn(&Attributes) -> u32| {
        let numbers = lines.iter().filter(|line| is_device(&line.what));
        numbers.map(|line| digits(number(&line.what).into())).max()
    };
    let (major, minor) = (of_devices(&|w| w.device.0), of_devices(&|w| w.device.1));
    let sizes = lines.iter().filter(|line| !is_device(&line.what));
    let mut size = sizes.map(|line| digits(line.what.size)).max().unwrap_or(0);
    let mut major_width = major.unwrap_or(0);
    let minor_width = minor.unwrap_or(0);
    if major.is_some() {
        let both = major_width + 2 + minor_width;
        major_width += size.saturating_sub(both);
        size = size.max(both);
    }
    let marked = lines.iter().any(|line| line.mark != ' ');
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs().cast_signed());
    let mut out = Vec::new();
    for line in lines {
        let what = &line.what;
        let mut text = mode_text(what);
        if marked {
            text.push(line.mark);
        }
        // Text always takes more text.
        let _ = write!(text, " {:>links$} {:>user$} {:>group$} ", what.links, what.user, what.group);
        let _ = match is_device(what) {
            true => write!(text, "{:>major_width$}, {:>minor_width$} ", what.device.0, what.device.1),
            false => write!(text, "{:>size$} ", what.size),
        };
        text.push_str(&date(what.modified, now));
        text.push(' ');
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(&line.name);
        if let Some(target) = &line.target {
            out.extend_from_slice(b" -> ");
            out.extend_from_slice(target);
        }
        out.push(b'\n');
    }
    out
}

fn digits(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |more| more as usize + 1)
}

fn mode_text(what: &Attributes) -> String {
    let mut text = String::with_capacity(11);
    text.push(match what.kind {
        Kind::File => '-',
        Kind::Directory => 'd',
        Kind::Symlink => 'l',
        Kind::CharDevice => 'c',
        Kind::BlockDevice => 'b',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
    });
    // Each with the bit that changes its last letter.
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = what.permissions >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (what.permissions & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// As `ls` shows it in the C locale and UTC; the year in place of the time of day if that is not in the last six
/// months.
fn date(time: Time, now: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, second) = (time.seconds.div_euclid(86_400), time.seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let month = MONTHS.get(month).copied().unwrap_or("???");
    if time.seconds > now - HALF_A_YEAR && time.seconds <= now {
        format!("{month} {day:>2} {:02}:{:02}", second / 3600, second / 60 % 60)
    } else {
        format!("{month} {day:>2}  {year:>4}")
    }
}

/// Year, month (from 0) and day of the month, of a day counted from 1970.
fn civil(days: i64) -> (i64, usize, i64) {
    // Years begin in March here, so that the day that some have more comes last; 400 of them repeat.
    const CYCLE: i64 = 146_097;
    let days = days.saturating_add(719_468);
    let (cycle, day) = (days.div_euclid(CYCLE), days.rem_euclid(CYCLE));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let late = month >= 10;
    let month = if late { month - 10 } else { month + 2 };
    (cycle * 400 + year + i64::from(late), month as usize, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        assert_eq!(civil(0), (1970, 0, 1));
        assert_eq!(civil(-1), (1969, 11, 31));
        assert_eq!(civil(59), (1970, 2, 1));
        assert_eq!(civil(11_016), (2000, 1, 29));
        assert_eq!(civil(20_778), (2026, 10, 21));
    }

    #[test]
    fn dates_are_short() {
        let now = 1_795_302_000;
        let at = |seconds| date(Time { seconds, nanoseconds: 0 }, now);
        assert_eq!(at(0), "Jan  1  1970");
        assert_eq!(at(now), "Nov 21 23:00");
        assert_eq!(at(now + 1), "Nov 21  2026");
    }
}
