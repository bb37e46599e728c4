//! The tree that is served: its nodes, what is open, and how requests are carried out on it.

use super::kernel;
use super::nodes::{Found, Nodes, path_of, status};
use super::request::Request;
use super::slots::Slots;
use crate::exchange::Exchange;
use guestd_api::fuse::{self, Attr, AttrOut, EntryOut, InHeader, OUT_HEADER, op};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::cell::Cell;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use zerocopy::{Immutable, IntoBytes};

/// Seconds that something stays true which nobody else changes.
const LASTING: u64 = 365 * 24 * 3600;

/// How the tree is shown.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shown {
    /// Everything belongs to this user.
    pub(crate) uid: Option<u32>,
    /// And to this group.
    pub(crate) gid: Option<u32>,
    /// Permissions that are not shown.
    pub(crate) umask: u32,
    /// Seconds for which the host may remember what it was told; for good if not said.
    pub(crate) seconds: Option<u64>,
}

/// The tree.
pub(super) struct Tree {
    pub(super) nodes: Nodes,
    pub(super) slots: Slots,
    shown: Shown,
    open: RwLock<HashMap<u64, Open>>,
    next_open: AtomicU64,
    /// What the host's kernel and we do.
    agreed: AtomicU64,
}

/// An open file.
#[derive(Clone)]
struct Open {
    file: Arc<OwnedFd>,
    node: u64,
}

/// An answer in the making: room for its header, then its contents.
pub(super) struct Answer(Vec<u8>);

pub(super) type Done = Result<(), Errno>;

impl Answer {
    pub(super) fn new() -> Self {
        Answer(vec![0; OUT_HEADER])
    }

    /// Adds to the contents.
    pub(super) fn put(&mut self, part: &(impl IntoBytes + Immutable + ?Sized)) {
        self.0.extend_from_slice(part.as_bytes());
    }

    /// The contents so far, to be added to.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// The finished message.
    pub(super) fn finish(mut self, unique: u64, done: Done) -> Vec<u8> {
        let mut header = fuse::answer(unique, 0);
        if let Err(errno) = done {
            self.0.truncate(OUT_HEADER);
            header.error = errno.raw_os_error().saturating_neg();
        }
        // Contents are bounded by what was asked for, which is far less.
        header.len = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        if let Some(place) = self.0.get_mut(..OUT_HEADER) {
            place.copy_from_slice(header.as_bytes());
        }
        self.0
    }
}

thread_local! {
    /// Who owns what this thread makes, and its umask.
    static OWNER: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
    static UMASK: Cell<u32> = const { Cell::new(u32::MAX) };
}

/// Makes a thread one that can act for others.
pub(super) fn prepare_thread() -> Result<(), Errno> {
    crate::sys::own_root_for_this_thread().map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::PERM))?;
    // A thread begins as the one that has started it.
    kernel::keep_capabilities()?;
    kernel::set_owner(0, 0);
    OWNER.set((0, 0));
    Ok(())
}

/// What this thread makes belongs to the one who asked for it.
pub(super) fn act_for(header: &InHeader, umask: u32) {
    let owner = (header.uid, header.gid);
    if OWNER.replace(owner) != owner {
        kernel::set_owner(owner.0, owner.1);
    }
    if UMASK.replace(umask) != umask {
        rustix::process::umask(Mode::from_raw_mode(umask & 0o777));
    }
}

impl Tree {
    /// The tree below a directory; much data goes through the exchange.
    pub(super) fn new(top: OwnedFd, shown: Shown, exchange: Arc<Exchange>) -> Result<Self, Errno> {
        let nodes = Nodes::new(top)?;
        Ok(Tree {
            nodes,
            slots: Slots::new(exchange),
            shown,
            open: RwLock::default(),
            next_open: AtomicU64::new(1),
            agreed: AtomicU64::new(0),
        })
    }

    /// Carries a request out; the contents of its answer go to `answer`.
    pub(super) fn serve(&self, request: &mut Request<'_>, answer: &mut Answer) -> Done {
        match request.header.opcode {
            op::LOOKUP => self.lookup(request, answer),
            op::FORGET | op::BATCH_FORGET => self.forget(request),
            op::GETATTR => self.getattr(request, answer),
            op::SETATTR => self.setattr(request, answer),
            op::STATX => self.statx(request, answer),
            op::READLINK => self.readlink(request, answer),
            op::SYMLINK => self.symlink(request, answer),
            op::MKNOD => self.mknod(request, answer),
            op::MKDIR => self.mkdir(request, answer),
            op::UNLINK => self.unlink(request, false),
            op::RMDIR => self.unlink(request, true),
            op::RENAME => self.rename(request, false),
            op::RENAME2 => self.rename(request, true),
            op::LINK => self.link(request, answer),
            op::OPEN => self.open(request, answer),
            op::CREATE => self.create(request, answer),
            op::TMPFILE => self.tmpfile(request, answer),
            op::READ => self.read(request, answer),
            op::WRITE => self.write(request, answer),
            op::READ_SLOT => self.read_slot(request, answer),
            op::WRITE_SLOT => self.write_slot(request, answer),
            op::RELEASE => self.release(request),
            op::FSYNC | op::FSYNCDIR => self.fsync(request),
            op::SYNCFS => self.syncfs(request),
            op::FALLOCATE => self.fallocate(request),
            op::LSEEK => self.lseek(request, answer),
            op::COPY_FILE_RANGE => self.copy_file_range(request, answer),
            op::STATFS => self.statfs(request, answer),
            op::SETXATTR => self.setxattr(request),
            op::GETXATTR => self.getxattr(request, answer),
            op::LISTXATTR => self.listxattr(request, answer),
            op::REMOVEXATTR => self.removexattr(request),
            op::READDIR => self.readdir(request, answer, false),
            op::READDIRPLUS => self.readdir(request, answer, true),
            op::IOCTL => self.ioctl(request, answer),
            op::INIT => self.init(request, answer),
            // Closing needs no answer, access and locks are the host's own affair.
            _ => Err(Errno::NOSYS),
        }
    }

    /// Notes what both ends do.
    pub(super) fn agree(&self, flags: u64) {
        self.agreed.store(flags, Ordering::Relaxed);
    }

    /// Whether both ends do something.
    pub(super) fn agreed(&self, flag: u64) -> bool {
        self.agreed.load(Ordering::Relaxed) & flag != 0
    }

    /// The file of a request's node.
    pub(super) fn node(&self, request: &Request<'_>) -> Result<Arc<OwnedFd>, Errno> {
        self.nodes.file(request.header.nodeid)
    }

    /// Enters an open file; its number.
    pub(super) fn opened(&self, file: Arc<OwnedFd>, node: u64) -> u64 {
        let number = self.next_open.fetch_add(1, Ordering::Relaxed);
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert(number, Open { file, node });
        number
    }

    /// An open file is open no more.
    pub(super) fn closed(&self, number: u64) {
        let open = self.open.write().unwrap_or_else(PoisonError::into_inner).remove(&number);
        if let Some(Open { file, node }) = open {
            self.nodes.keep_place_only(node, &file);
        }
    }

    /// An open file by its number; where there is none, the node, opened for this once.
    pub(super) fn open_file(&self, number: u64, node: u64, how: OFlags) -> Result<Arc<OwnedFd>, Errno> {
        let known = self.open.read().unwrap_or_else(PoisonError::into_inner).get(&number).cloned();
        match known {
            Some(open) => Ok(open.file),
            None => {
                let place = self.nodes.file(node)?;
                Ok(Arc::new(rustix::fs::open(path_of(&place), how | OFlags::CLOEXEC, Mode::empty())?))
            }
        }
    }

    /// Seconds for which attributes are known.
    pub(super) fn seconds(&self) -> u64 {
        self.shown.seconds.unwrap_or(LASTING)
    }

    /// Attributes as they are shown.
    pub(super) fn show(&self, mut attributes: Attr) -> Attr {
        attributes.uid = self.shown.uid.unwrap_or(attributes.uid);
        attributes.gid = self.shown.gid.unwrap_or(attributes.gid);
        attributes.mode &= !(self.shown.umask & 0o777);
        attributes
    }

    /// The attributes of a file.
    pub(super) fn attributes(&self, file: &OwnedFd) -> Result<AttrOut, Errno> {
        let attr = self.show(self.nodes.attributes(&status(file, c"")?));
        Ok(AttrOut { attr_valid: self.seconds(), attr, ..AttrOut::default() })
    }

    /// What was found, as the host is told of it.
    pub(super) fn entry(&self, found: &Found) -> EntryOut {
        EntryOut {
            nodeid: found.node,
            entry_valid: if found.lasting { self.seconds() } else { 0 },
            attr_valid: self.seconds(),
            attr: self.show(found.attributes),
            ..EntryOut::default()
        }
    }
}
