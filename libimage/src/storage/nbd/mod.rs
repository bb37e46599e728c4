//! An export of an NBD server as a storage: bytes that another machine, or another process, keeps.
//!
//! Requests are cut to what the server takes; where it wants whole blocks, what is around a smaller request is read
//! and written back. Several connections are used when the server says that they see the same data.

mod links;
mod status;

use std::io;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use nbd_protocol::client::{self, Connection, Server, Target, ZeroOptions};
use nbd_protocol::tls;
use nbd_protocol::wire::{Errno, Flags};

use crate::block::{Block, Extent, Limits, Preallocation, Zero, check_range};
use crate::error::{Error, Result, describe};
use links::Links;
use status::Statuses;

/// The context that tells data from holes.
const ALLOCATION: &str = "base:allocation";
/// Zeroes that have to be sent are sent in pieces of this many bytes.
const ZEROES: usize = 1 << 20;

/// Which export, and how it is reached.
#[derive(Clone)]
pub struct NbdOptions {
    /// Where the server is.
    pub target: Target,
    /// The name of the export.
    pub export: String,
    /// What messages call it.
    pub name: String,
    /// The metadata context that [`Block::status`] tells of; none, and all counts as data.
    pub context: Option<String>,
    /// Refuse writes.
    pub read_only: bool,
    /// Refuse writes if the server does, instead of failing.
    pub auto_read_only: bool,
    /// Encryption, without which nothing is said.
    pub tls: Option<Arc<tls::Client>>,
    /// How long a server is waited for that went away.
    pub reconnect_delay: Duration,
    /// How long a server is waited for that is not there yet.
    pub open_timeout: Duration,
    /// The most connections at once, at least 1.
    pub connections: usize,
}

impl NbdOptions {
    /// The export at `target`, with what is usual.
    pub fn new(target: Target, export: impl Into<String>, name: impl Into<String>) -> Self {
        NbdOptions {
            target,
            export: export.into(),
            name: name.into(),
            context: Some(ALLOCATION.to_owned()),
            read_only: false,
            auto_read_only: false,
            tls: None,
            reconnect_delay: Duration::ZERO,
            open_timeout: Duration::ZERO,
            connections: 4,
        }
    }
}

/// An open export.
pub struct Nbd {
    name: String,
    links: Links,
    size: u64,
    flags: Flags,
    alignment: u32,
    preferred: u32,
    read_only: bool,
    /// The context's place in answers.
    context: Option<usize>,
    statuses: Statuses,
    /// Taken by writers; alone by those that write back what they have read.
    writing: RwLock<()>,
    /// The server, if it was started for this. It ends last.
    _server: Option<Server>,
}

impl Nbd {
    /// Connects to the server, and opens the export.
    ///
    /// # Errors
    /// When that is not possible, or the export may not be written and `options` want to.
    pub fn open(options: NbdOptions) -> Result<Self> {
        Self::of_server(options, None)
    }

    /// As [`Nbd::open`]; `server`, which listens at the target, is ended with this storage.
    ///
    /// # Errors
    /// As [`Nbd::open`].
    pub fn of_server(options: NbdOptions, server: Option<Server>) -> Result<Self> {
        let choices = options.clone();
        let (links, first) = Links::open(options).map_err(|error| opening(&error))?;
        Self::of_links(choices, links, &first, server)
    }

    /// The export at the other end of `connection`, which is the only one there can be: what `options` say about the
    /// target and further connections means nothing.
    ///
    /// # Errors
    /// When the export may not be written and `options` want to.
    pub fn of_connection(options: NbdOptions, connection: Connection) -> Result<Self> {
        let choices = options.clone();
        let (links, first) = Links::only(options, connection);
        Self::of_links(choices, links, &first, None)
    }

    fn of_links(
        options: NbdOptions,
        links: Links,
        first: &Connection,
        server: Option<Server>,
    ) -> Result<Self> {
        let NbdOptions { name, context, .. } = options;
        let info = first.info();
        let refuses = info.flags.has(Flags::READ_ONLY);
        if refuses && !options.read_only && !options.auto_read_only {
            return Err(Error::Invalid("Could not open image: Permission denied".to_owned()));
        }
        let read_only = options.read_only || refuses;
        let place = context.as_deref().and_then(|context| first.context(context));
        if let (Some(context), None) = (context.filter(|context| context != ALLOCATION), place) {
            return Err(Error::Invalid(format!("requested x-dirty-bitmap {context} not found")));
        }
        Ok(Nbd {
            name,
            size: info.size,
            flags: info.flags,
            alignment: info.alignment(),
            preferred: info.block.map_or(0, |block| block.preferred),
            read_only,
            context: place,
            links,
            statuses: Statuses::default(),
            writing: RwLock::new(()),
            _server: server,
        })
    }

    /// What the server says that the export can do.
    pub fn flags(&self) -> Flags {
        self.flags
    }

    /// It can tell holes from data.
    pub fn has_status(&self) -> bool {
        self.context.is_some()
    }

    fn failed<'a>(&'a self, action: &'static str, offset: u64) -> impl Fn(client::Error) -> Error + 'a {
        move |error| Error::io_at(action, &self.name, offset, error.to_io())
    }

    fn writable(&self, range: &Range<u64>) -> Result<()> {
        if self.read_only {
            return Err(Error::ReadOnly { file: self.name.clone() });
        }
        check_range(self, range.start, range.end.saturating_sub(range.start))
    }

    fn is_aligned(&self, offset: u64, length: u64) -> bool {
        (offset | length).is_multiple_of(u64::from(self.alignment))
    }

    /// The whole blocks around a range.
    fn around(&self, range: &Range<u64>) -> Range<u64> {
        let alignment = u64::from(self.alignment);
        range.start - range.start % alignment..range.end.next_multiple_of(alignment).min(self.size)
    }

    /// Writes part of a block: `change` gets the block as it is, and where in it the range lies.
    fn change_block(&self, range: Range<u64>, change: impl FnOnce(&mut [u8])) -> Result<()> {
        let _alone = self.writing.write().unwrap_or_else(PoisonError::into_inner);
        let block = self.around(&range);
        let mut bytes = vec![0; (block.end - block.start) as usize];
        let read = self.links.run(|connection| connection.read_at(&mut bytes, block.start));
        read.map_err(self.failed("read", block.start))?;
        let part = (range.start - block.start) as usize..(range.end - block.start) as usize;
        change(bytes.get_mut(part).unwrap_or_default());
        let written = self.links.run(|connection| connection.write_at(&bytes, block.start, false));
        written.map_err(self.failed("write to", block.start))
    }

    /// Cuts a range at the borders of blocks: parts of blocks at its ends, whole blocks between them.
    fn cut(&self, range: Range<u64>) -> impl Iterator<Item = (Range<u64>, bool)> {
        let alignment = u64::from(self.alignment);
        let first = range.start.next_multiple_of(alignment).min(range.end);
        let last = (range.end - range.end % alignment).max(first);
        [(range.start..first, false), (first..last, true), (last..range.end, false)]
            .into_iter()
            .filter(|(part, _)| !part.is_empty())
    }

    /// Zeroes over whole blocks.
    fn zero_blocks(&self, range: Range<u64>, how: Zero) -> Result<()> {
        let length = range.end - range.start;
        if self.flags.has(Flags::WRITE_ZEROES) {
            let options =
                ZeroOptions { keep_allocated: how == Zero::KeepAllocated, ..ZeroOptions::default() };
            let zeroed = self.links.run(|connection| connection.write_zeroes(range.start, length, options));
            match zeroed {
                Err(client::Error::Server { errno, .. }) if is_unknown(errno.0) => {}
                other => return other.map_err(self.failed("write to", range.start)),
            }
        }
        let zeroes = vec![0; length.min(ZEROES as u64) as usize];
        let mut at = range.start;
        while at < range.end {
            let part = zeroes.get(..(range.end - at).min(ZEROES as u64) as usize).unwrap_or_default();
            let written = self.links.run(|connection| connection.write_at(part, at, false));
            written.map_err(self.failed("write to", at))?;
            at += part.len() as u64;
        }
        Ok(())
    }
}

/// The server cannot do it; some say so only when they are asked, and not all of them with the right word.
fn is_unknown(errno: Errno) -> bool {
    errno == Errno::ENOTSUP || errno == Errno::EINVAL
}

/// Why an export could not be opened, in one sentence.
fn opening(error: &client::Error) -> Error {
    Error::Invalid(describe(error))
}

impl Block for Nbd {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        let length = buf.len() as u64;
        check_range(self, offset, length)?;
        let failed = self.failed("read", offset);
        if self.is_aligned(offset, length) {
            return self.links.run(|connection| connection.read_at(buf, offset)).map_err(failed);
        }
        let range = offset..offset + length;
        let mut done = 0;
        for (part, whole) in self.cut(range) {
            let (target, rest) = (part.end - part.start, buf.get_mut(done..).unwrap_or_default());
            let target = rest.get_mut(..target as usize).unwrap_or_default();
            done += target.len();
            if whole {
                self.links.run(|connection| connection.read_at(target, part.start)).map_err(&failed)?;
                continue;
            }
            let block = self.around(&part);
            let mut bytes = vec![0; (block.end - block.start) as usize];
            self.links.run(|connection| connection.read_at(&mut bytes, block.start)).map_err(&failed)?;
            let from = (part.start - block.start) as usize;
            target.copy_from_slice(bytes.get(from..from + target.len()).unwrap_or_default());
        }
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let range = offset..offset.saturating_add(buf.len() as u64);
        self.writable(&range)?;
        self.statuses.changing();
        for (part, whole) in self.cut(range) {
            let bytes = (part.start - offset) as usize..(part.end - offset) as usize;
            let bytes = buf.get(bytes).unwrap_or_default();
            if whole {
                let _together = self.writing.read().unwrap_or_else(PoisonError::into_inner);
                let written = self.links.run(|connection| connection.write_at(bytes, part.start, false));
                written.map_err(self.failed("write to", part.start))?;
            } else {
                self.change_block(part, |block| block.copy_from_slice(bytes))?;
            }
        }
        self.statuses.changing();
        Ok(())
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> Result<()> {
        self.writable(&range)?;
        self.statuses.changing();
        for (part, whole) in self.cut(range) {
            if whole {
                let _together = self.writing.read().unwrap_or_else(PoisonError::into_inner);
                self.zero_blocks(part, how)?;
            } else {
                self.change_block(part, |block| block.fill(0))?;
            }
        }
        self.statuses.changing();
        Ok(())
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        if self.read_only {
            return Err(Error::ReadOnly { file: self.name.clone() });
        }
        let range = range.start.min(self.size)..range.end.min(self.size);
        if !self.flags.has(Flags::TRIM) || range.is_empty() {
            return Ok(());
        }
        self.statuses.changing();
        for (part, _) in self.cut(range).filter(|(_, whole)| *whole) {
            let trimmed =
                self.links.run(|connection| connection.trim(part.start, part.end - part.start, false));
            match trimmed {
                // A hint, and not taken.
                Err(client::Error::Server { errno, .. }) if is_unknown(errno.0) => {}
                other => other.map_err(self.failed("discard from", part.start))?,
            }
        }
        self.statuses.changing();
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        if self.read_only {
            return Ok(());
        }
        // One connection's flush is one for all: else there is but one.
        let flushed = self.links.run(|connection| connection.flush());
        flushed.map_err(|error| Error::io("flush", &self.name, error.to_io()))
    }

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        let length = range.end.saturating_sub(range.start);
        check_range(self, range.start, length)?;
        let Some(context) = self.context.filter(|_| length > 0) else {
            return Ok(Extent::data(length, range.start));
        };
        let asked = self.around(&range);
        let status = self.statuses.find(range.clone(), || {
            let answer = self
                .links
                .run(|connection| connection.block_status(asked.start, asked.end - asked.start, false));
            let answer = answer.map_err(self.failed("examine", range.start))?;
            let of_context = answer.into_iter().find(|status| status.context == context);
            let extents = of_context.map(|status| status.extents).unwrap_or_default();
            match extents.is_empty() {
                false => Ok((asked.start, extents)),
                true => {
                    let source = io::Error::new(io::ErrorKind::InvalidData, "the server tells no extents");
                    Err(Error::io_at("examine", &self.name, range.start, source))
                }
            }
        })?;
        let (hole, zero) = (status.flags & 1 != 0, status.flags & 2 != 0);
        let present = !hole || zero;
        let offset = present.then_some(range.start);
        Ok(Extent { data: !hole, zero, present, offset, ..Extent::data(status.length, range.start) })
    }

    fn limits(&self) -> Limits {
        let usual = Limits::default();
        Limits { alignment: self.alignment, preferred: usual.preferred.max(self.preferred), ..usual }
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn resize(&self, size: u64, _preallocation: Preallocation) -> Result<()> {
        match size == self.size {
            true => Ok(()),
            false => Err(Error::Invalid("Cannot resize NBD nodes".to_owned())),
        }
    }

    fn name(&self) -> &str {
        &self.name
    }
}
