//! Two guests that are compared, each read in a thread of its own.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use anyhow::{Result, anyhow};
use guest::Guest;
use guestd_api::GuestString;
use guestd_api::prelude::*;

use crate::fields::is_file;
use crate::walk::{File, walk};

/// The words of a command line about two guests, as one about the first or the second of them: the second's disks
/// are named with `-A` and `-D`.
#[must_use]
pub fn words_of_side(words: impl Iterator<Item = OsString>, second: bool) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut words = words;
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        let is_first = |letter: u8, long: &str| {
            let long = long.as_bytes();
            bytes.starts_with(&[b'-', letter])
                || bytes == long
                || bytes.strip_prefix(long).is_some_and(|rest| rest.starts_with(b"="))
        };
        let of_first = is_first(b'a', "--add") || is_first(b'd', "--domain");
        let of_second = bytes.starts_with(b"-A") || bytes.starts_with(b"-D");
        // The value is in the next word, unless it is in this one.
        let has_value = (bytes.len() > 2 && !bytes.starts_with(b"--")) || bytes.contains(&b'=');
        let value = if (of_first || of_second) && !has_value { words.next() } else { None };
        if (of_first && second) || (of_second && !second) {
            continue;
        }
        let word = match of_second {
            true => OsString::from_vec(bytes.to_ascii_lowercase().get(..2).unwrap_or_default().to_vec()),
            false => word.clone(),
        };
        let rest =
            if of_second { OsStr::from_bytes(bytes.get(2..).unwrap_or_default()) } else { OsStr::new("") };
        let mut whole = word;
        whole.push(rest);
        kept.push(whole);
        kept.extend(value);
    }
    kept
}

/// What is read of each file besides what `lstat` says.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Extended attributes.
    pub xattrs: bool,
    /// The checksum of this kind.
    pub checksum: Option<String>,
}

/// A file of one side.
pub struct Entry {
    /// Where it is and what is known about it.
    pub file: File,
    /// Its checksum, if that was wanted and it is a regular file.
    pub checksum: Option<GuestString>,
}

/// A question to a side.
enum Question {
    /// The first bytes of a file.
    Beginning(GuestString, i32),
    /// A file as a whole, into a file of the host.
    Whole(GuestString, std::fs::File),
}

/// A guest in its thread: first everything in it, then what is asked of it.
pub struct Side {
    entries: Receiver<Result<Vec<Entry>>>,
    questions: Option<Sender<Question>>,
    answers: Receiver<Result<Vec<u8>>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Side {
    /// Begins to read a guest; `open` opens and mounts it.
    pub fn start(open: impl FnOnce() -> Result<Guest> + Send + 'static, wanted: Wanted) -> Self {
        let (give_entries, entries) = channel();
        let (questions, asked) = channel();
        let (answer, answers) = channel();
        let work = move || {
            let guest = match open() {
                Ok(guest) => guest,
                Err(error) => {
                    // Nobody listens: the other side has failed before.
                    let _ = give_entries.send(Err(error));
                    return Ok(());
                }
            };
            let _ = give_entries.send(read_all(&guest, &wanted));
            for question in asked {
                let _ = answer.send(reply(&guest, question));
            }
            Ok(guest.shut_down()?)
        };
        let thread = Some(thread::spawn(work));
        Side { entries, questions: Some(questions), answers, thread }
    }

    /// Everything in the guest, in order of paths.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        self.entries.recv().map_err(|_| anyhow!("the guest could not be read"))?
    }

    /// The first bytes of a file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn beginning(&self, path: &GuestString, count: i32) -> Result<Vec<u8>> {
        self.ask(Question::Beginning(path.clone(), count))
    }

    /// Copies a file to one of the host.
    ///
    /// # Errors
    /// When that fails.
    pub fn download(&self, path: &GuestString, to: std::fs::File) -> Result<()> {
        self.ask(Question::Whole(path.clone(), to)).map(drop)
    }

    fn ask(&self, question: Question) -> Result<Vec<u8>> {
        let gone = || anyhow!("the guest is gone");
        self.questions.as_ref().ok_or_else(gone)?.send(question).map_err(|_| gone())?;
        self.answers.recv().map_err(|_| gone())?
    }

    /// Ends it.
    ///
    /// # Errors
    /// When the guest cannot be shut down.
    pub fn finish(mut self) -> Result<()> {
        self.questions = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(done)) => done,
            Some(Err(_)) => Err(anyhow!("the guest's reader broke down")),
            None => Ok(()),
        }
    }
}

fn read_all(guest: &Guest, wanted: &Wanted) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    walk(guest, &"/".into(), wanted.xattrs, &mut |file| {
        let path = || GuestString::from(file.path.as_slice());
        let mode = file.what.st_mode;
        let checksum = match &wanted.checksum {
            Some(kind) if is_file(mode) => Some(guest.checksum(kind.as_str(), path())?),
            _ => None,
        };
        entries.push(Entry { file, checksum });
        Ok(())
    })?;
    entries.sort_by(|a, b| a.file.path.cmp(&b.file.path));
    Ok(entries)
}

fn reply(guest: &Guest, question: Question) -> Result<Vec<u8>> {
    match question {
        Question::Beginning(path, count) => Ok(guest.pread(path, count, 0)?),
        Question::Whole(path, mut to) => {
            guest.download(path, &mut to)?;
            Ok(Vec::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_has_its_disks() {
        let words = ["x", "-a", "1", "--format=raw", "-A", "2", "-A3", "--add=4", "-h", "-dv", "-D", "w"];
        let side = |second| {
            let words = words_of_side(words.into_iter().map(OsString::from), second);
            words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(side(false), "x -a 1 --format=raw --add=4 -h -dv");
        assert_eq!(side(true), "x --format=raw -a 2 -a3 -h -d w");
    }
}
