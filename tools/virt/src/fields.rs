//! Lines about files: type, permissions, size and whatever more was asked for, as `virt-ls -lR` and `virt-diff`
//! print them.

use std::io::{self, Write};

use clap::{Arg, ArgAction, ArgMatches};
use guestd_api::GuestString;
use guestd_api::structs::Statns;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// How times are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// Date and time of day, where the reader is.
    Dates,
    /// Seconds since 1970.
    Seconds,
    /// Seconds before now.
    Relative,
    /// Days before now.
    Days,
}

/// What lines show.
#[derive(Debug, Clone)]
pub struct Style {
    /// Values separated by commas.
    pub csv: bool,
    /// Sizes in handy units.
    pub human: bool,
    /// Owners.
    pub uids: bool,
    /// Owners have no blanks before them.
    pub narrow_owners: bool,
    /// Times, and how.
    pub times: Option<Times>,
    /// Device, inode, links, device of a device node, space.
    pub extra: bool,
    /// The kind of checksum.
    pub checksum: Option<String>,
    /// Now, in seconds since 1970.
    pub now: i64,
    zone: TimeZone,
}

impl Default for Style {
    fn default() -> Self {
        let now = Timestamp::now().as_second();
        let zone = TimeZone::system();
        Style {
            csv: false,
            human: false,
            uids: false,
            narrow_owners: false,
            times: None,
            extra: false,
            checksum: None,
            now,
            zone,
        }
    }
}

impl Style {
    /// Whether it is any other than the shortest.
    #[must_use]
    pub fn is_asked_for(&self) -> bool {
        let shown = self.csv || self.human || self.uids || self.extra;
        shown || self.times.is_some() || self.checksum.is_some()
    }
}

/// The options that choose a style.
pub fn arguments() -> Vec<Arg> {
    let flag = |name: &'static str, help| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    vec![
        flag("csv", "Values separated by commas"),
        flag("human-readable", "Sizes in handy units").short('h'),
        flag("uids", "Show owners"),
        flag("times", "Show times"),
        flag("time-t", "Show times as seconds since 1970"),
        flag("time-relative", "Show times as seconds before now"),
        flag("time-days", "Show times as days before now"),
        flag("extra-stats", "Show devices, inodes, links and space"),
        Arg::new("checksum")
            .long("checksum")
            .value_name("KIND")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("md5")
            .value_parser(["crc", "md5", "sha1", "sha224", "sha256", "sha384", "sha512"])
            .help("Show checksums of files, md5 unless said"),
    ]
}

/// The style that was chosen.
#[must_use]
pub fn style(matches: &ArgMatches) -> Style {
    // The last of them says how; each of them asks for times.
    let kinds = [
        ("times", Times::Dates),
        ("time-t", Times::Seconds),
        ("time-relative", Times::Relative),
        ("time-days", Times::Days),
    ];
    let asked = kinds.into_iter().filter(|(name, _)| matches.get_flag(name));
    Style {
        csv: matches.get_flag("csv"),
        human: matches.get_flag("human-readable"),
        uids: matches.get_flag("uids"),
        times: asked.map(|(_, times)| times).next_back(),
        extra: matches.get_flag("extra-stats"),
        checksum: matches.get_one::<String>("checksum").cloned(),
        ..Style::default()
    }
}

/// One line under way: values with what separates them.
pub struct Line<'a> {
    style: &'a Style,
    out: &'a mut dyn Write,
    begun: bool,
}

impl<'a> Line<'a> {
    /// Begins a line.
    pub fn new(style: &'a Style, out: &'a mut dyn Write) -> Self {
        Line { style, out, begun: false }
    }

    fn separate(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.begun, true) {
            self.out.write_all(if self.style.csv { b"," } else { b" " })?;
        }
        Ok(())
    }

    /// A text; in quotes where commas need that.
    ///
    /// # Errors
    /// When it cannot be written, as for all methods.
    pub fn text(&mut self, text: &[u8]) -> io::Result<()> {
        self.separate()?;
        self.bare(text)
    }

    fn bare(&mut self, text: &[u8]) -> io::Result<()> {
        if !self.style.csv || !text.iter().any(|byte| b" \",\n".contains(byte)) {
            return self.out.write_all(text);
        }
        let mut quoted = vec![b'"'];
        for byte in text {
            if *byte == b'"' {
                quoted.push(b'"');
            }
            quoted.push(*byte);
        }
        quoted.push(b'"');
        self.out.write_all(&quoted)
    }

    /// Bytes that are not text: what cannot be printed as numbers.
    pub fn escaped(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut shown = Vec::with_capacity(bytes.len());
        for byte in bytes {
            match byte {
                b' '..=b'~' => shown.push(*byte),
                other => write!(shown, "\\x{other:02x}")?,
            }
        }
        self.text(&shown)
    }

    /// Type, permissions and size, and the other values that the style asks for, but the checksum; perhaps without
    /// the time of access.
    pub fn values(&mut self, what: &Statns, access: bool) -> io::Result<()> {
        self.text(&[letter(what.st_mode)])?;
        self.separate()?;
        write!(self.out, "{:04o}", what.st_mode & 0o7777)?;
        self.separate()?;
        match (self.style.csv, self.style.human) {
            (false, false) => write!(self.out, "{:>10}", what.st_size)?,
            (false, true) => write!(self.out, "{:>10}", human(what.st_size))?,
            (true, false) => write!(self.out, "{}", what.st_size)?,
            (true, true) => write!(self.out, "{}", human(what.st_size))?,
        }
        if self.style.uids {
            for number in [what.st_uid, what.st_gid] {
                self.separate()?;
                match self.style.narrow_owners {
                    true => write!(self.out, "{number}")?,
                    false => write!(self.out, "{number:>4}")?,
                }
            }
        }
        if let Some(times) = self.style.times {
            if access {
                self.time(times, what.st_atime_sec)?;
            }
            self.time(times, what.st_mtime_sec)?;
            self.time(times, what.st_ctime_sec)?;
        }
        if self.style.extra {
            self.device(what.st_dev)?;
            self.number(what.st_ino)?;
            self.number(what.st_nlink)?;
            self.device(what.st_rdev)?;
            self.number(what.st_blocks)?;
        }
        Ok(())
    }

    fn number(&mut self, number: i64) -> io::Result<()> {
        self.separate()?;
        write!(self.out, "{number}")
    }

    fn device(&mut self, number: i64) -> io::Result<()> {
        let number = number.cast_unsigned();
        self.separate()?;
        write!(self.out, "{}:{}", rustix::fs::major(number), rustix::fs::minor(number))
    }

    fn time(&mut self, times: Times, seconds: i64) -> io::Result<()> {
        self.separate()?;
        let before = self.style.now.saturating_sub(seconds);
        match times {
            Times::Seconds => write!(self.out, "{seconds:>10}"),
            Times::Relative => write!(self.out, "{before:>8}"),
            Times::Days => write!(self.out, "{:>3}", before / 86_400),
            Times::Dates => match Timestamp::from_second(seconds) {
                Ok(time) => {
                    let zoned = self.style.zone.to_datetime(time);
                    write!(self.out, "{}", zoned.strftime("%Y-%m-%d %H:%M:%S"))
                }
                Err(_) => write!(self.out, "{seconds:>10}"),
            },
        }
    }

    /// A path, and where it leads if it is a link.
    pub fn path(&mut self, path: &[u8], link: Option<&GuestString>) -> io::Result<()> {
        self.text(path)?;
        match link {
            Some(link) if self.style.csv => self.text(link.as_bytes()),
            Some(link) => {
                self.out.write_all(b" -> ")?;
                self.out.write_all(link.as_bytes())
            }
            None => Ok(()),
        }
    }

    /// Ends the line.
    pub fn end(self) -> io::Result<()> {
        self.out.write_all(b"\n")
    }
}

/// The letter for a type of file.
fn letter(mode: i64) -> u8 {
    match mode >> 12 & 0o17 {
        0o10 => b'-',
        0o04 => b'd',
        0o02 => b'c',
        0o06 => b'b',
        0o01 => b'p',
        0o12 => b'l',
        0o14 => b's',
        _ => b'u',
    }
}

/// Whether the mode is that of a regular file.
pub fn is_file(mode: i64) -> bool {
    mode & 0o170_000 == 0o100_000
}

/// Whether the mode is that of a directory.
pub fn is_directory(mode: i64) -> bool {
    mode & 0o170_000 == 0o040_000
}

/// Whether the mode is that of a symbolic link.
pub fn is_link(mode: i64) -> bool {
    mode & 0o170_000 == 0o120_000
}

/// A size in powers of 1024, with a digit after the point where there is one before it.
fn human(size: i64) -> String {
    let size = u128::from(size.max(0).cast_unsigned());
    if size < 1024 {
        return size.to_string();
    }
    let mut unit = 1024;
    for letter in ["K", "M", "G", "T", "P", "E"] {
        let tenths = (size * 10 + unit / 2) / unit;
        if tenths < 100 {
            return format!("{}.{}{letter}", tenths / 10, tenths % 10);
        }
        let whole = (size + unit / 2) / unit;
        // What rounds to 1024 is one of the next unit.
        if whole < 1024 || letter == "E" {
            return format!("{whole}{letter}");
        }
        unit *= 1024;
    }
    size.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (size, text) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0K"),
            (5000, "4.9K"),
            (10_188, "9.9K"),
            (10_189, "10K"),
            (10_240, "10K"),
            (1_047_551, "1023K"),
            (1_048_063, "1023K"),
            (1_048_064, "1.0M"),
            (3_000_000, "2.9M"),
            (i64::MAX, "8.0E"),
        ] {
            assert_eq!(human(size), text, "{size}");
        }
    }

    #[test]
    fn commas_need_quotes() {
        let line = |csv: bool| {
            let style = Style { csv, ..Style::default() };
            let mut out = Vec::new();
            let mut line = Line::new(&style, &mut out);
            assert!(line.text(b"a").is_ok() && line.path(b"b,\"c", Some(&"d e".into())).is_ok());
            assert!(line.end().is_ok());
            String::from_utf8_lossy(&out).into_owned()
        };
        assert_eq!(line(true), "a,\"b,\"\"c\",\"d e\"\n");
        assert_eq!(line(false), "a b,\"c -> d e\n");
    }
}
