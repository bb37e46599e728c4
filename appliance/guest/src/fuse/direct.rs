//! A read-only mount that the direct readers serve, without any appliance.
//!
//! Several threads answer the kernel. Nothing ever changes, so the kernel may remember all it was told and
//! opens files without asking. What a reader refuses waits until whoever watches the mount has started an appliance
//! (`takeover`), and is answered by that.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use fuse::session::{self, Server, name, take};
use guestd_api::fuse::{
    Attr, AttrOut, Dirent, EntryOut, GetxattrIn, GetxattrOut, InHeader, LseekIn, LseekOut, MAX_WRITE,
    OUT_HEADER, ReadIn, StatfsOut, init, op, push_dirent,
};
use libimage::error::describe;
use libimage::fs::system::FsError;
use rustix::io::Errno;
use zerocopy::IntoBytes;

use super::MountOptions;
use super::takeover::{self, Agent};
use super::tree::{Place, Tree};

/// Threads that answer.
const THREADS: usize = 4;
/// Seconds that something stays true which never changes.
const LASTING: u64 = 365 * 24 * 3600;
/// The longest value of an extended attribute, and list of their names.
const MAX_XATTR: usize = 64 << 10;
/// What is used if the kernel has it.
const WANTED: u64 = init::ASYNC_READ
    | init::HAS_IOCTL_DIR
    | init::DO_READDIRPLUS
    | init::READDIRPLUS_AUTO
    | init::NO_OPEN_SUPPORT
    | init::PARALLEL_DIROPS
    | init::POSIX_ACL
    | init::MAX_PAGES
    | init::CACHE_SYMLINKS
    | init::NO_OPENDIR_SUPPORT
    | init::INIT_EXT;

/// A mount that is served.
pub(super) struct DirectMount {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    tree: Tree,
    options: MountOptions,
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Default)]
struct Progress {
    is_ready: bool,
    is_off: bool,
    /// Somebody waits for the end who can start an appliance.
    is_watched: bool,
    help: Help,
}

/// Who answers what the readers refuse.
#[derive(Default)]
enum Help {
    /// Nothing was refused yet.
    #[default]
    None,
    /// An appliance is to be started, because of this.
    Wanted(String),
    /// It runs.
    Here(Arc<Agent>),
    /// It could not be started.
    Failed,
}

/// Why there is no answer.
enum Refusal {
    Errno(Errno),
    /// The readers do not know it, or it seems broken.
    Aside(String),
}

type Done = Result<(), Refusal>;

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Refusal::Errno(errno)
    }
}

impl From<FsError> for Refusal {
    fn from(error: FsError) -> Self {
        match error {
            FsError::Errno(errno) => Refusal::Errno(errno),
            other => Refusal::Aside(describe(&other)),
        }
    }
}

impl DirectMount {
    /// Begins to serve.
    pub(super) fn start(kernel: OwnedFd, tree: Tree, options: MountOptions) -> io::Result<Self> {
        let (progress, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { tree, options, progress, changed });
        let threads = session::start(kernel, &shared, THREADS)?;
        Ok(DirectMount { shared, threads })
    }

    /// Waits until it can be used.
    pub(super) fn ready(&self) {
        let waits = |progress: &mut Progress| !progress.is_ready && !progress.is_off;
        let progress = self.shared.progress();
        drop(self.shared.changed.wait_while(progress, waits));
    }

    /// Whether it was taken off; waits for that, or until help is wanted.
    pub(super) fn is_over(&self, patience: Duration) -> bool {
        let quiet = |progress: &mut Progress| !progress.is_off && !matches!(progress.help, Help::Wanted(_));
        let waited = self.shared.changed.wait_timeout_while(self.shared.progress(), patience, quiet);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_off
    }

    /// From now on somebody looks whether help is wanted, or nobody does any more.
    pub(super) fn watch(&self, is_watched: bool) {
        self.shared.progress().is_watched = is_watched;
        self.shared.changed.notify_all();
    }

    /// Why an appliance is wanted, if one is.
    pub(super) fn wants_help(&self) -> Option<String> {
        match &self.shared.progress().help {
            Help::Wanted(why) => Some(why.clone()),
            _ => None,
        }
    }

    /// The agent that was wanted, or none.
    pub(super) fn help(&self, agent: Option<Agent>) {
        let help = agent.map_or(Help::Failed, |agent| Help::Here(Arc::new(agent)));
        self.shared.progress().help = help;
        self.shared.changed.notify_all();
    }

    /// Ends its threads, if it is over.
    pub(super) fn finish(self) {
        if self.is_over(Duration::ZERO) {
            for thread in self.threads {
                // One that panicked has nothing to tell.
                let _ = thread.join();
            }
        }
    }
}

impl Server for Shared {
    fn wanted(&self) -> u64 {
        WANTED
    }

    fn carry_out(&self, header: &InHeader, rest: &[u8], answer: &mut Vec<u8>) -> Result<(), Errno> {
        match self.read(header, rest, answer) {
            Err(Refusal::Aside(why)) => self.ask(header, rest, answer, &why),
            Err(Refusal::Errno(errno)) => Err(errno),
            Ok(()) => Ok(()),
        }
    }

    fn ready(&self) {
        self.progress().is_ready = true;
        self.changed.notify_all();
    }

    fn over(&self) {
        self.progress().is_off = true;
        self.changed.notify_all();
    }
}

impl Shared {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The agent for what was refused, once it is there. `None` if there will be none.
    fn agent(&self, why: &str) -> Option<Arc<Agent>> {
        let mut progress = self.progress();
        loop {
            match &progress.help {
                Help::Here(agent) => return Some(Arc::clone(agent)),
                Help::Failed => return None,
                _ if !progress.is_watched || progress.is_off => return None,
                Help::None => {
                    progress.help = Help::Wanted(why.to_owned());
                    self.changed.notify_all();
                }
                Help::Wanted(_) => {}
            }
            progress = self.changed.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets the agent answer.
    fn ask(&self, header: &InHeader, rest: &[u8], answer: &mut Vec<u8>, why: &str) -> Result<(), Errno> {
        answer.truncate(OUT_HEADER);
        let agent = self.agent(why).ok_or(Errno::IO)?;
        agent.serve(header, rest, || self.tree.path(header.nodeid), answer)
    }

    fn forget(&self, node: u64, times: u64) {
        if let Help::Here(agent) = &self.progress().help {
            agent.forget(node, times);
        }
        self.tree.forget(node, times);
    }

    /// Answers with the readers, unless they refuse.
    fn read(&self, header: &InHeader, mut rest: &[u8], answer: &mut Vec<u8>) -> Done {
        let rest = &mut rest;
        match header.opcode {
            op::FORGET | op::BATCH_FORGET => {
                for (node, times) in takeover::forgotten(header, rest) {
                    self.forget(node, times);
                }
                Ok(())
            }
            op::LOOKUP
            | op::GETATTR
            | op::READLINK
            | op::READ
            | op::READDIR
            | op::READDIRPLUS
            | op::STATFS
            | op::GETXATTR
            | op::LISTXATTR
            | op::LSEEK => match takeover::is_marked(header.nodeid) {
                true => Err(Refusal::Aside(String::new())),
                false => self.look(header, self.tree.place(header.nodeid)?, rest, answer),
            },
            op::IOCTL if takeover::asks_for_flags(rest) => {
                Err(Refusal::Aside("flags of a file are asked for".to_owned()))
            }
            op::IOCTL => Err(Errno::NOTTY.into()),
            op::INTERRUPT => Ok(()),
            // What would write is refused by the kernel; opening needs no answer.
            _ => Err(Errno::NOSYS.into()),
        }
    }

    /// Requests about something that is there.
    fn look(&self, header: &InHeader, place: Place, rest: &mut &[u8], answer: &mut Vec<u8>) -> Done {
        let (fs, node) = (self.tree.fs(place)?, place.node);
        match header.opcode {
            op::LOOKUP => {
                let name = name(rest)?;
                let entry = match self.tree.lookup(place, name)? {
                    Some(found) => self.entry(found, place, name)?,
                    // That there is nothing is remembered too.
                    None => EntryOut { entry_valid: self.seconds(), ..EntryOut::default() },
                };
                answer.extend_from_slice(entry.as_bytes());
            }
            op::GETATTR => {
                let attr = self.show(self.tree.attributes(place)?);
                let out = AttrOut { attr_valid: self.seconds(), attr, ..AttrOut::default() };
                answer.extend_from_slice(out.as_bytes());
            }
            op::READLINK => answer.extend_from_slice(&fs.read_link(node)?),
            op::READ => {
                let wanted: ReadIn = take(rest)?;
                answer.resize(OUT_HEADER + wanted.size.min(MAX_WRITE) as usize, 0);
                let room = answer.get_mut(OUT_HEADER..).unwrap_or_default();
                let count = fs.read(node, wanted.offset, room)?;
                answer.truncate(OUT_HEADER.saturating_add(count));
            }
            op::LSEEK => {
                let wanted: LseekIn = take(rest)?;
                let size = fs.attributes(node)?.size;
                if wanted.offset >= size {
                    return Err(Errno::NXIO.into());
                }
                let data = fs.data_after(node, wanted.offset)?;
                let offset = match (i32::try_from(wanted.whence), data) {
                    (Ok(libc_seek::DATA), Some((start, _))) => start.max(wanted.offset),
                    (Ok(libc_seek::DATA), None) => return Err(Errno::NXIO.into()),
                    (Ok(libc_seek::HOLE), Some((start, _))) if start > wanted.offset => wanted.offset,
                    (Ok(libc_seek::HOLE), Some((_, end))) => end.min(size),
                    (Ok(libc_seek::HOLE), None) => wanted.offset,
                    _ => return Err(Errno::INVAL.into()),
                };
                answer.extend_from_slice(LseekOut { offset }.as_bytes());
            }
            op::STATFS => {
                let found = fs.statistics()?;
                let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
                let out = StatfsOut {
                    blocks: found.blocks,
                    bfree: found.free,
                    bavail: found.available,
                    files: found.files,
                    ffree: found.files_free,
                    bsize: small(found.block_size),
                    namelen: small(found.name_length),
                    frsize: small(found.block_size),
                    ..StatfsOut::default()
                };
                answer.extend_from_slice(out.as_bytes());
            }
            op::GETXATTR => {
                let wanted: GetxattrIn = take(rest)?;
                let value = fs.xattr(node, name(rest)?)?.ok_or(Errno::NODATA)?;
                give(wanted.size, &value, answer)?;
            }
            op::LISTXATTR => {
                let wanted: GetxattrIn = take(rest)?;
                let names = fs.xattr_names(node)?;
                // Some are for root alone.
                let seen = names.iter().filter(|name| header.uid == 0 || !name.starts_with(b"trusted."));
                let list: Vec<u8> = seen.flat_map(|name| name.iter().copied().chain([0])).collect();
                give(wanted.size, &list, answer)?;
            }
            _ => self.list(place, take(rest)?, header.opcode == op::READDIRPLUS, answer)?,
        }
        Ok(())
    }

    fn list(&self, place: Place, wanted: ReadIn, plus: bool, answer: &mut Vec<u8>) -> Done {
        let names = self.tree.list(place)?;
        let room = OUT_HEADER + wanted.size.min(MAX_WRITE) as usize;
        let skip = usize::try_from(wanted.offset).map_err(|_| Errno::INVAL)?;
        for (index, found) in names.iter().enumerate().skip(skip) {
            let length = size_of::<EntryOut>() + size_of::<Dirent>() + found.name.len();
            if plus && answer.len() + length.next_multiple_of(8) > room {
                break;
            }
            let is_dots = matches!(&found.name[..], b"." | b"..");
            let entry = match found.place {
                // Broken: who asks for it hears that.
                Some(child) if plus && !is_dots => self.entry(child, place, &found.name).unwrap_or_default(),
                _ => EntryOut::default(),
            };
            let dirent = Dirent { ino: found.inode, off: index as u64 + 1, namelen: 0, kind: found.kind };
            if !push_dirent(answer, room, plus.then_some(&entry), dirent, &found.name) {
                break;
            }
        }
        Ok(())
    }

    fn seconds(&self) -> u64 {
        self.options.seconds.unwrap_or(LASTING)
    }

    /// What the kernel is told of a place that was found in a directory under a name.
    fn entry(&self, place: Place, directory: Place, name: &[u8]) -> Result<EntryOut, Refusal> {
        let attr = self.show(self.tree.attributes(place)?);
        let (entry_valid, attr_valid) = (self.seconds(), self.seconds());
        Ok(EntryOut {
            nodeid: self.tree.tell(place, directory, name),
            entry_valid,
            attr_valid,
            attr,
            ..EntryOut::default()
        })
    }

    fn show(&self, mut attributes: Attr) -> Attr {
        attributes.uid = self.options.uid.unwrap_or(attributes.uid);
        attributes.gid = self.options.gid.unwrap_or(attributes.gid);
        attributes.mode &= !self.options.umask;
        attributes
    }
}

/// How `lseek` looks for data and holes.
mod libc_seek {
    pub(super) const DATA: i32 = 3;
    pub(super) const HOLE: i32 = 4;
}

/// Answers with a value; with its size if no room was made for it.
fn give(room: u32, value: &[u8], answer: &mut Vec<u8>) -> Done {
    if value.len() > MAX_XATTR {
        return Err(Errno::TOOBIG.into());
    }
    match room as usize {
        0 => {
            let size = u32::try_from(value.len()).map_err(|_| Errno::TOOBIG)?;
            answer.extend_from_slice(GetxattrOut { size, padding: 0 }.as_bytes());
        }
        room if room < value.len() => return Err(Errno::RANGE.into()),
        _ => answer.extend_from_slice(value),
    }
    Ok(())
}
