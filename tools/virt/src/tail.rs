//! Files of a guest that grow: what was added since they were last looked at.
//!
//! A guest is looked at anew each time its images have changed: whoever runs it writes to them meanwhile.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use anyhow::Result;
use guest::Guest;
use guest::inspect::System;
use guest_cli::DiskSpec;
use guestd_api::prelude::*;
use guestd_api::{Error, GuestString};

use crate::windows_path::Paths;

/// How often the images are looked at.
const PAUSE: Duration = Duration::from_millis(500);

/// When an image was last changed, and how long it was; nothing if that cannot be told.
pub type Mark = Option<(i64, i64, u64)>;

/// The state of the images.
pub fn marks(disks: &[DiskSpec]) -> Vec<Mark> {
    let mark = |disk: &DiskSpec| match disk {
        DiskSpec::Drive(drive) => {
            let found = std::fs::metadata(&drive.file).ok().filter(std::fs::Metadata::is_file);
            found.map(|found| (found.mtime(), found.mtime_nsec(), found.blocks()))
        }
        DiskSpec::Domain(_) => None,
    };
    disks.iter().map(mark).collect()
}

/// Waits until an image may have changed; false when an interrupt came.
pub fn wait(disks: &[DiskSpec], before: &[Mark]) -> bool {
    loop {
        std::thread::sleep(PAUSE);
        if cli::interrupt::requested() {
            return false;
        }
        let now = marks(disks);
        if now != before || now.iter().any(Option::is_none) {
            return true;
        }
    }
}

/// Files that are followed.
pub struct Follower {
    program: &'static str,
    files: Vec<Followed>,
    /// Whose contents were printed last.
    shown: Option<usize>,
}

struct Followed {
    name: OsString,
    /// How much of it was printed; nothing while it is not there.
    size: Option<i64>,
    seen: bool,
}

impl Follower {
    /// Nothing was printed of any file yet.
    pub fn new(program: &'static str, names: Vec<OsString>) -> Self {
        let files = names.into_iter().map(|name| Followed { name, size: None, seen: false }).collect();
        Follower { program, files, shown: None }
    }

    /// Prints what is new; at first the last lines of each file. False when no file is there any more.
    ///
    /// # Errors
    /// When the guest does not answer, or nothing can be printed.
    pub fn look(&mut self, guest: &Guest, system: Option<&System>, out: &mut dyn Write) -> Result<bool> {
        let mut paths = Paths::new(guest, system);
        let many = self.files.len() > 1;
        let mut any = false;
        for (index, file) in self.files.iter_mut().enumerate() {
            let found = paths.resolve(file.name.as_bytes()).map_or(Ok(None), |path| size_of(guest, path))?;
            let Some((path, size)) = found else {
                if !file.seen {
                    eprintln!("{}: {}: it is not there", self.program, file.name.display());
                } else if file.size.is_some() {
                    eprintln!("{}: {}: it has disappeared", self.program, file.name.display());
                }
                (file.size, file.seen) = (None, true);
                continue;
            };
            any = true;
            let before = if file.seen { Some(file.size.unwrap_or(0)) } else { None };
            file.seen = true;
            file.size = Some(size);
            if before == Some(size) {
                continue;
            }
            if many && self.shown != Some(index) {
                write!(out, "\n\n--- {} ---\n\n", file.name.display())?;
            }
            self.shown = Some(index);
            let start = match before {
                Some(before) if before <= size => before,
                Some(_) => {
                    eprintln!("{}: {}: it was truncated", self.program, file.name.display());
                    0
                }
                None => start_of_end(guest, &path, size)?,
            };
            guest.download_offset(path, &mut *out, start, size - start)?;
            out.flush()?;
        }
        Ok(any)
    }
}

/// A regular file's path and size.
fn size_of(guest: &Guest, path: GuestString) -> Result<Option<(GuestString, i64)>> {
    match guest.filesize(&path) {
        Ok(size) => Ok(Some((path, size))),
        Err(Error::Action { .. }) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

/// Where the last ten lines of a file begin, as far as they are not very long.
fn start_of_end(guest: &Guest, path: &GuestString, size: i64) -> Result<i64> {
    const LINES: usize = 10;
    const MOST: i64 = 64 << 10;
    let start = size.saturating_sub(MOST).max(0);
    let mut end = Vec::new();
    guest.download_offset(path, &mut end, start, size - start)?;
    // A newline at the very end ends the last line.
    let body = end.strip_suffix(b"\n").unwrap_or(&end);
    let mut newlines = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    Ok(match newlines.nth(LINES - 1) {
        Some((at, _)) => start.saturating_add(i64::try_from(at).unwrap_or(0)).saturating_add(1),
        None => start,
    })
}
