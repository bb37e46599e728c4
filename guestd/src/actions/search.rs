//! Finding files.

use crate::task::Output;
use crate::worker::{GuestPath, Worker};
use guestd_api::actions::search::{GlobExpandOptions, GrepOptions, Server};
use guestd_api::forms::pattern::matches;
use guestd_api::{Failure, GuestString};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

impl Worker {
    /// Calls for everything below a directory with the path relative to it. The thread is inside the guest
    /// while it reads a directory, outside while it calls.
    fn walk(
        &self,
        top: &GuestPath,
        mut found: impl FnMut(&Path) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut todo = vec![PathBuf::new()];
        let mut first = true;
        while let Some(directory) = todo.pop() {
            self.task.check()?;
            let mut names = Vec::new();
            {
                let _guest = self.guest()?;
                // Joining nothing would add a slash.
                let path = if first { top.path().to_owned() } else { top.path().join(&directory) };
                let failed = |e: &io::Error| Failure::io(path.as_os_str().as_bytes(), e);
                let entries = match std::fs::read_dir(&path) {
                    Ok(entries) => entries,
                    // Removed since it was seen.
                    Err(error) if !first && error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(failed(&error)),
                };
                for entry in entries {
                    let entry = entry.map_err(|e| failed(&e))?;
                    let is_directory = entry.file_type().map_err(|e| failed(&e))?.is_dir();
                    names.push((directory.join(entry.file_name()), is_directory));
                }
            }
            first = false;
            for (path, is_directory) in names {
                found(&path)?;
                if is_directory {
                    todo.push(path);
                }
            }
        }
        Ok(())
    }

    /// The paths that match a pattern, sorted.
    pub(super) fn expand_pattern(&self, pattern: &GuestPath) -> Result<Vec<GuestString>, Failure> {
        let _guest = self.guest()?;
        let mut paths = vec![b"/".to_vec()];
        for part in pattern.as_ref().split(|b| *b == b'/').filter(|part| !part.is_empty()) {
            let mut next = Vec::new();
            for path in &paths {
                self.task.check()?;
                expand(path, part, &mut next);
            }
            paths = next;
        }
        paths.sort_unstable();
        Ok(paths.into_iter().map(GuestString::from).collect())
    }
}

impl Server for Worker {
    fn find(&self, directory: GuestPath) -> Result<Vec<GuestString>, Failure> {
        let mut paths = Vec::new();
        self.walk(&directory, |path| {
            paths.push(GuestString::from(path.as_os_str().as_bytes()));
            Ok(())
        })?;
        paths.sort_unstable();
        Ok(paths)
    }

    fn find0(&self, directory: GuestPath, files: Output) -> Result<(), Failure> {
        let mut files = BufWriter::with_capacity(64 << 10, files);
        let failed = |e| Failure::io("Could not send the paths", &e);
        self.walk(&directory, |path| {
            files.write_all(path.as_os_str().as_bytes()).and_then(|()| files.write_all(&[0])).map_err(failed)
        })?;
        files.flush().map_err(failed)
    }

    fn ls0(&self, dir: GuestPath, filenames: Output) -> Result<(), Failure> {
        let mut out = BufWriter::with_capacity(64 << 10, filenames);
        let failed = |e| Failure::io("Could not send the names", &e);
        let entries = {
            let _guest = self.guest()?;
            // The directory stays open, so it can be read from outside as well.
            std::fs::read_dir(dir.path()).map_err(|e| dir.failure(e))?
        };
        for entry in entries {
            let name = entry.map_err(|e| dir.failure(e))?.file_name();
            out.write_all(name.as_bytes()).and_then(|()| out.write_all(&[0])).map_err(failed)?;
        }
        out.flush().map_err(failed)
    }

    fn glob_expand(&self, pattern: GuestPath, opts: GlobExpandOptions) -> Result<Vec<GuestString>, Failure> {
        let paths = self.expand_pattern(&pattern)?;
        let _guest = self.guest()?;
        let slash = opts.directoryslash.unwrap_or(true);
        let wants_directory = pattern.as_ref().ends_with(b"/");
        let finish = |path: GuestString| {
            let mut path = path.into_bytes();
            let is_directory = Path::new(std::ffi::OsStr::from_bytes(&path)).is_dir();
            if wants_directory && !is_directory {
                return None;
            }
            if is_directory && (slash || wants_directory) && !path.ends_with(b"/") {
                path.push(b'/');
            }
            Some(GuestString::from(path))
        };
        Ok(paths.into_iter().filter_map(finish).collect())
    }

    fn grep(
        &self,
        regex: GuestString,
        path: GuestPath,
        opts: GrepOptions,
    ) -> Result<Vec<GuestString>, Failure> {
        let on = |option: Option<bool>| option.unwrap_or(false);
        if on(opts.extended) && on(opts.fixed) {
            return Err(Failure::new("can't use 'extended' and 'fixed' options at the same time"));
        }
        let file = self.open(&path)?;
        let mut grep = self.tool(if on(opts.compressed) { "zgrep" } else { "grep" })?;
        for (wanted, option) in [(opts.extended, "-E"), (opts.fixed, "-F"), (opts.insensitive, "-i")] {
            if on(wanted) {
                grep = grep.arg(option);
            }
        }
        // `-a`: a line that matches is wanted even if the file is not all text.
        let done = grep.arg("-a").arg("-e").arg(regex.as_os_str()).stdin(file).finish()?;
        match done.status.code() {
            Some(0) => Ok(super::lines(&done.stdout)),
            Some(1) => Ok(Vec::new()),
            _ => Err(Failure::new(format!("{regex}: {}", done.failure().message))),
        }
    }

    fn egrep(&self, regex: GuestString, path: GuestPath) -> Result<Vec<GuestString>, Failure> {
        self.grep(regex, path, GrepOptions::default().extended(true))
    }

    fn zegrep(&self, regex: GuestString, path: GuestPath) -> Result<Vec<GuestString>, Failure> {
        self.grep(regex, path, GrepOptions::default().extended(true).compressed(true))
    }

    fn egrepi(&self, regex: GuestString, path: GuestPath) -> Result<Vec<GuestString>, Failure> {
        self.grep(regex, path, GrepOptions::default().extended(true).insensitive(true))
    }

    fn zegrepi(&self, regex: GuestString, path: GuestPath) -> Result<Vec<GuestString>, Failure> {
        self.grep(regex, path, GrepOptions::default().extended(true).insensitive(true).compressed(true))
    }

    fn fgrep(&self, pattern: GuestString, path: GuestPath) -> Result<Vec<GuestString>, Failure> {
        self.grep(pattern, path, GrepOptions::default().fixed(true))
    }

    fn zfgrep(&self, pattern: GuestString, path: GuestPath) -> Result<Vec<GuestString>, Failure> {
        self.grep(pattern, path, GrepOptions::default().fixed(true).compressed(true))
    }

    fn fgrepi(&self, pattern: GuestString, path: GuestPath) -> Result<Vec<GuestString>, Failure> {
        self.grep(pattern, path, GrepOptions::default().fixed(true).insensitive(true))
    }

    fn zfgrepi(&self, pattern: GuestString, path: GuestPath) -> Result<Vec<GuestString>, Failure> {
        self.grep(pattern, path, GrepOptions::default().fixed(true).insensitive(true).compressed(true))
    }

    fn grepi(&self, regex: GuestString, path: GuestPath) -> Result<Vec<GuestString>, Failure> {
        self.grep(regex, path, GrepOptions::default().insensitive(true))
    }

    fn zgrepi(&self, regex: GuestString, path: GuestPath) -> Result<Vec<GuestString>, Failure> {
        self.grep(regex, path, GrepOptions::default().insensitive(true).compressed(true))
    }

    fn zgrep(&self, regex: GuestString, path: GuestPath) -> Result<Vec<GuestString>, Failure> {
        self.grep(regex, path, GrepOptions::default().compressed(true))
    }
}

/// Adds what one part of a pattern matches in a directory.
fn expand(directory: &[u8], part: &[u8], into: &mut Vec<Vec<u8>>) {
    let with = |name: &[u8]| {
        let mut path = directory.to_vec();
        if !path.ends_with(b"/") {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    };
    if !part.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\')) {
        let path = with(part);
        if Path::new(std::ffi::OsStr::from_bytes(&path)).symlink_metadata().is_ok() {
            into.push(path);
        }
        return;
    }
    let Ok(entries) = std::fs::read_dir(Path::new(std::ffi::OsStr::from_bytes(directory))) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let hidden = name.as_bytes().starts_with(b".") && !part.starts_with(b".");
        if !hidden && matches(part, name.as_bytes()) {
            into.push(with(name.as_bytes()));
        }
    }
}
