//! `virt-diff`: how the files of two guests differ.

use std::cmp::Ordering;
use std::io::{BufWriter, Write};
use std::os::fd::AsRawFd;
use std::process::{Command as Program, ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use guestd_api::GuestString;
use guestd_api::structs::Statns;
use virt_tools::fields::{self, Line, Style};
use virt_tools::sides::{Entry, Side, Wanted, words_of_side};

const NAME: &str = "virt-diff";
/// Bytes at the beginning of a file by which it is told whether it is text.
const BEGINNING: i32 = 4096;

fn command() -> Command {
    let flag = |name: &'static str, help| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    virt_tools::command(NAME, "Show how the files of two guests differ")
        .disable_help_flag(true)
        .arg(Arg::new("help").long("help").action(ArgAction::Help).help("Print help"))
        .arg(
            Arg::new("second")
                .short('A')
                .value_name("FILE")
                .action(ArgAction::Append)
                .help("Add a disk image of the second guest"),
        )
        .args(fields::arguments())
        .arg(flag("all", "The same as --extra-stats --times --uids --xattrs"))
        .arg(flag("atime", "Look at times of access as well"))
        .arg(flag("dir-links", "Look at the numbers of links of directories as well"))
        .arg(flag("dir-times", "Look at the times of directories as well"))
        .arg(flag("xattrs", "Show extended attributes"))
}

fn main() -> ExitCode {
    match virt_tools::matches(command()) {
        Ok(matches) => guest_cli::finish(NAME, run(&matches)),
        Err(code) => code,
    }
}

/// What counts as a difference, and how it is shown.
struct Choice {
    style: Style,
    atime: bool,
    directory_links: bool,
    directory_times: bool,
    xattrs: bool,
}

fn run(matches: &ArgMatches) -> Result<()> {
    let mut style = fields::style(matches);
    let all = matches.get_flag("all");
    if style.csv && style.human {
        bail!("-h and --csv cannot be combined: programs that read the values could not count with them");
    }
    style.narrow_owners = style.csv;
    if all {
        (style.uids, style.extra) = (true, true);
        style.times = style.times.or(Some(fields::Times::Dates));
    }
    let choice = Choice {
        atime: matches.get_flag("atime"),
        directory_links: matches.get_flag("dir-links"),
        directory_times: matches.get_flag("dir-times"),
        xattrs: all || matches.get_flag("xattrs"),
        style,
    };
    let wanted = Wanted { xattrs: true, checksum: choice.style.checksum.clone() };
    let side = |second| {
        let words = words_of_side(std::env::args_os(), second);
        let matches = command().try_get_matches_from(words)?;
        let open = move || virt_tools::open_mounted(&matches, NAME);
        anyhow::Ok(Side::start(open, wanted.clone()))
    };
    let (first, second) = (side(false)?, side(true)?);
    let (mut old, mut new) = (first.entries()?, second.entries()?);
    for entry in old.iter_mut().chain(&mut new) {
        choice.pass_over(entry);
    }
    let mut out = BufWriter::with_capacity(256 << 10, std::io::stdout().lock());
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some(old), Some(new)) => old.file.path.cmp(&new.file.path),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => break,
        };
        let gone = if order.is_le() { old.next() } else { None };
        let come = if order.is_ge() { new.next() } else { None };
        match (gone, come) {
            (Some(gone), Some(come)) => choice.compare(&first, gone, &second, come, &mut out)?,
            (gone, come) => {
                gone.map_or(Ok(()), |gone| choice.show(b"-", gone, &mut out))?;
                come.map_or(Ok(()), |come| choice.show(b"+", come, &mut out))?;
            }
        }
    }
    out.flush()?;
    first.finish()?;
    second.finish()
}

impl Choice {
    /// Takes out of an entry what does not count.
    fn pass_over(&self, entry: &mut Entry) {
        let what = &mut entry.file.what;
        if !self.atime {
            (what.st_atime_sec, what.st_atime_nsec) = (0, 0);
        }
        if fields::is_directory(what.st_mode) {
            if !self.directory_links {
                what.st_nlink = 0;
            }
            if !self.directory_times {
                (what.st_atime_sec, what.st_atime_nsec) = (0, 0);
                (what.st_mtime_sec, what.st_mtime_nsec) = (0, 0);
                (what.st_ctime_sec, what.st_ctime_nsec) = (0, 0);
            }
        }
        entry.file.xattrs.sort_by(|a, b| a.attrname.cmp(&b.attrname));
    }

    fn compare(
        &self,
        first: &Side,
        old: &Entry,
        second: &Side,
        new: &Entry,
        out: &mut dyn Write,
    ) -> Result<()> {
        let (before, after) = (&old.file.what, &new.file.what);
        let files = fields::is_file(before.st_mode) && fields::is_file(after.st_mode);
        let content = match (&old.checksum, &new.checksum) {
            (Some(before), Some(after)) => before != after,
            _ => {
                let known = |what: &Statns| {
                    let (modified, changed) = (what.st_mtime_sec, what.st_ctime_sec);
                    (what.st_size, modified, what.st_mtime_nsec, changed, what.st_ctime_nsec)
                };
                known(before) != known(after)
            }
        };
        if files && content {
            self.show(b"=", old, out)?;
            if self.style.csv {
                return Ok(());
            }
            let path = GuestString::from(old.file.path.as_slice());
            show_lines(first, second, &path, (before.st_size, after.st_size), out)?;
            writeln!(out, "@@ End of diff @@")?;
            return Ok(());
        }
        let mut changed = differences(before, after);
        if old.file.xattrs != new.file.xattrs {
            changed.push("xattrs");
        }
        if old.file.link != new.file.link && changed.is_empty() {
            changed.push("link");
        }
        if !changed.is_empty() {
            self.show(b"-", old, out)?;
            self.show(b"+", new, out)?;
            let mut line = Line::new(&self.style, out);
            for word in [&["#", "changed:"], &changed[..]].concat() {
                line.text(word.as_bytes())?;
            }
            line.end()?;
        }
        Ok(())
    }

    fn show(&self, mark: &[u8], entry: &Entry, out: &mut dyn Write) -> Result<()> {
        let mut line = Line::new(&self.style, out);
        line.text(mark)?;
        line.values(&entry.file.what, self.atime)?;
        if let Some(checksum) = &entry.checksum {
            line.text(checksum.as_bytes())?;
        } else if self.style.checksum.is_some() && self.style.csv {
            line.text(b"")?;
        }
        line.path(&entry.file.path, entry.file.link.as_ref())?;
        if self.xattrs {
            for xattr in &entry.file.xattrs {
                line.text(xattr.attrname.as_bytes())?;
                line.escaped(xattr.attrval.as_bytes())?;
            }
        }
        Ok(line.end()?)
    }
}

/// The names of what differs; which device it is on depends on the order of the disks, and does not count.
fn differences(old: &Statns, new: &Statns) -> Vec<&'static str> {
    let all = [
        ("st_ino", old.st_ino, new.st_ino),
        ("st_mode", old.st_mode, new.st_mode),
        ("st_nlink", old.st_nlink, new.st_nlink),
        ("st_uid", old.st_uid, new.st_uid),
        ("st_gid", old.st_gid, new.st_gid),
        ("st_rdev", old.st_rdev, new.st_rdev),
        ("st_size", old.st_size, new.st_size),
        ("st_blksize", old.st_blksize, new.st_blksize),
        ("st_blocks", old.st_blocks, new.st_blocks),
        ("st_atime_sec", old.st_atime_sec, new.st_atime_sec),
        ("st_mtime_sec", old.st_mtime_sec, new.st_mtime_sec),
        ("st_ctime_sec", old.st_ctime_sec, new.st_ctime_sec),
        ("st_atime_nsec", old.st_atime_nsec, new.st_atime_nsec),
        ("st_mtime_nsec", old.st_mtime_nsec, new.st_mtime_nsec),
        ("st_ctime_nsec", old.st_ctime_nsec, new.st_ctime_nsec),
    ];
    all.into_iter().filter(|(_, old, new)| old != new).map(|(name, ..)| name).collect()
}

/// The lines that differ between the two versions of a file, if it is text.
fn show_lines(
    first: &Side,
    second: &Side,
    path: &GuestString,
    sizes: (i64, i64),
    out: &mut dyn Write,
) -> Result<()> {
    let (old, new) = (first.beginning(path, BEGINNING)?, second.beginning(path, BEGINNING)?);
    if old.contains(&0) || new.contains(&0) {
        return Ok(());
    }
    // Most files that were only touched are small.
    let whole = i64::from(BEGINNING);
    if old == new && sizes.0 == sizes.1 && sizes.0 <= whole {
        return Ok(());
    }
    let make = || tempfile::tempfile().context("a temporary file cannot be made");
    let (old, new) = (make()?, make()?);
    first.download(path, old.try_clone()?)?;
    second.download(path, new.try_clone()?)?;
    // The files have no names of their own.
    let name = |file: &std::fs::File| format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    let done = Program::new("diff").arg("-u").args([name(&old), name(&new)]).output();
    let done = done.context("the program diff cannot be run (package diffutils)")?;
    if !matches!(done.status.code(), Some(0 | 1)) {
        bail!("diff {path}: {}", String::from_utf8_lossy(&done.stderr).trim_end());
    }
    // The first two lines name the files.
    let lines = done.stdout.split_inclusive(|byte| *byte == b'\n').skip(2);
    for line in lines {
        out.write_all(line)?;
    }
    Ok(())
}
