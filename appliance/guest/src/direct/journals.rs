//! The journal of systemd, read from the files of an image as it is asked for.
//!
//! Damaged entries are left out, as the agent leaves them out. What the reader of the file system itself cannot read
//! is another matter: the appliance is asked then, which opens the same journal and goes to the same entry.

use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use guestd_api::actions::journal::Call;
use guestd_api::{Failure, GuestString, Value};
use journal::{DEPTH, Journal, Source, is_journal, is_machine, not_open, subject};
use libimage::fs::system::{FileSystem, FsError, Kind, Node};
use rustix::io::Errno;

use super::vfs::{MountedAs, Vfs, errno, join};
use super::{Refusal, Served, aside, structs};

/// Bytes that are read from a file at a time: objects are small, and those that are wanted lie close to each other.
const PAGE: u64 = 16 << 10;
/// Pages of a file that are kept.
const PAGES: usize = 8;
/// Journals that are opened; with what is kept of each, 128 MiB of memory.
const MAX_FILES: usize = 1024;

/// The journal that is open.
pub(super) struct OpenJournal {
    journal: Journal<Opened>,
    directory: GuestString,
    mounts: Vec<MountedAs>,
    trouble: Trouble,
}

/// Why something could not be read that the kernel may read.
type Trouble = Arc<OnceLock<String>>;

/// A page: which one, and what is in it.
type Page = (u64, Arc<Vec<u8>>);

/// A file that can be read after its path is forgotten.
struct Opened {
    fs: Arc<dyn FileSystem>,
    node: Node,
    size: u64,
    trouble: Trouble,
    /// What was read lately, each page in the one place that it can have.
    pages: Mutex<Vec<Option<Page>>>,
}

impl Opened {
    fn page(&self, number: u64) -> io::Result<Arc<Vec<u8>>> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.is_empty() {
            pages.resize(PAGES, None);
        }
        let slot = pages.get_mut((number % PAGES as u64) as usize).ok_or(io::ErrorKind::Other)?;
        if let Some((kept, bytes)) = slot
            && *kept == number
        {
            return Ok(Arc::clone(bytes));
        }
        let start = number.saturating_mul(PAGE);
        let mut bytes = vec![0; self.size.saturating_sub(start).min(PAGE) as usize];
        self.fill(&mut bytes, start)?;
        let bytes = Arc::new(bytes);
        *slot = Some((number, Arc::clone(&bytes)));
        Ok(bytes)
    }

    fn fill(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        match self.fs.read(self.node, offset, into) {
            Ok(count) if count == into.len() => Ok(()),
            Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(FsError::Errno(errno)) => Err(errno.into()),
            Err(other) => {
                let why = other.to_string();
                let _ = self.trouble.set(why.clone());
                Err(io::Error::other(why))
            }
        }
    }
}

impl Source for Opened {
    fn length(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(into.len() as u64).filter(|end| *end <= self.size);
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        if into.len() as u64 > PAGE {
            return self.fill(into, offset);
        }
        let mut done = 0;
        while let Some(rest @ [_, ..]) = into.get_mut(done..) {
            let at = offset.saturating_add(done as u64);
            let page = self.page(at / PAGE)?;
            let inside = page.get((at % PAGE) as usize..).unwrap_or_default();
            let count = inside.len().min(rest.len());
            let (Some(to @ [_, ..]), Some(from)) = (rest.get_mut(..count), inside.get(..count)) else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            to.copy_from_slice(from);
            done += count;
        }
        Ok(())
    }
}

impl OpenJournal {
    /// What was mounted when it was opened, and its directory.
    pub(super) fn opened_by(&self) -> (&[MountedAs], &GuestString) {
        (&self.mounts, &self.directory)
    }

    /// How long values may be, and the steps from before the first entry to the current one.
    pub(super) fn state(&self) -> (i64, i64) {
        let steps = self.journal.position().map_or(0, |position| position as u64 + 1);
        (self.journal.threshold().cast_signed(), steps.cast_signed())
    }
}

/// Answers a call of this group.
pub(super) fn answer(vfs: &Vfs, slot: &mut Option<OpenJournal>, call: &Call) -> Served<Value> {
    if let Call::journal_open { directory } = call {
        let opened = open(vfs, directory);
        // Whatever came of it, the one before is closed; unless somebody else is to open this one.
        if !matches!(opened, Err(Refusal::StepAside(_))) {
            *slot = None;
        }
        *slot = Some(opened?);
        return Ok(Value::Void);
    }
    let Some(open) = slot else { return Err(Failure::new(not_open(call.name())).into()) };
    let journal = &mut open.journal;
    let answer = match call {
        Call::journal_next {} => Ok(Value::Bool(journal.skip(1) > 0)),
        Call::journal_skip { skip } => Ok(Value::Int(journal.skip(*skip).cast_signed())),
        Call::journal_get {} => journal.fields().map(structs),
        Call::journal_get_realtime_usec {} => {
            journal.realtime().map(|microseconds| Value::Int(microseconds.cast_signed()))
        }
        Call::journal_get_data_threshold {} => Ok(Value::Int(journal.threshold().cast_signed())),
        Call::journal_set_data_threshold { threshold } => {
            journal.set_threshold(*threshold).map(|()| Value::Void)
        }
        Call::journal_close {} => {
            *slot = None;
            return Ok(Value::Void);
        }
        Call::journal_open { .. } => return aside("it is opened elsewhere"),
    };
    match open.trouble.get() {
        Some(why) => aside(why.clone()),
        None => Ok(answer?),
    }
}

fn open(vfs: &Vfs, directory: &GuestString) -> Served<OpenJournal> {
    let trouble = Trouble::default();
    let mut files = Vec::new();
    let about = subject(directory.as_bytes());
    open_files(vfs, directory.as_bytes(), DEPTH, &trouble, &mut files)
        .map_err(|refusal| refusal.with_subject(&about))?;
    let journal = Journal::new(files);
    if let Some(why) = trouble.get() {
        return aside(why.clone());
    }
    let (directory, mounts) = (directory.clone(), vfs.mounted_as());
    Ok(OpenJournal { journal, directory, mounts, trouble })
}

/// Opens the journal files of a directory, and of those below it that are named after a machine.
fn open_files(
    vfs: &Vfs,
    directory: &[u8],
    depth: usize,
    trouble: &Trouble,
    into: &mut Vec<Opened>,
) -> Served<()> {
    let found = vfs.resolve(directory, true)?;
    let place = found.place()?;
    if found.kind() != Some(Kind::Directory) {
        return Err(errno(directory, Errno::NOTDIR));
    }
    let mut names = vfs.list(place, &found.path, directory)?;
    names.sort_by(|one, other| one.name.cmp(&other.name));
    for named in names {
        let path = join(directory, &named.name);
        if depth > 0 && is_machine(&named.name) && named.kind == Kind::Directory {
            // One that cannot be read hides only itself.
            match open_files(vfs, &path, depth.saturating_sub(1), trouble, into) {
                Ok(()) | Err(Refusal::Failure(_)) => {}
                Err(other) => return Err(other),
            }
        } else if is_journal(&named.name) {
            let found = vfs.resolve(&path, true)?;
            found.place()?;
            match found.kind() {
                Some(Kind::File) => {}
                Some(Kind::Directory | Kind::Fifo) => continue,
                _ => return aside("a device or socket has the name of a journal"),
            }
            if into.len() >= MAX_FILES {
                return aside("there are very many journals");
            }
            let (size, (fs, node)) = (found.size()?, found.file_system()?);
            let pages = Mutex::default();
            into.push(Opened { fs, node, size, trouble: Arc::clone(trouble), pages });
        }
    }
    Ok(())
}
