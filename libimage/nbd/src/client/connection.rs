//! Transmission: requests and answers, for any number of threads on one connection.
//!
//! There is no thread of the connection's own. Whoever waits for an answer reads, as long as nobody else does. When it
//! meets the beginning of somebody else's answer, it hands the reading over, so that bytes go from the socket straight
//! to where they are wanted; small answers it takes in itself, which costs less than waking another thread.

use std::io::IoSlice;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::net::sockopt;

use super::answer::{Answer, ContextExtents, Expected, Source};
use super::error::{Error, Result};
use super::export::ExportInfo;
use super::handshake::Negotiated;
use super::input::Input;
use crate::stream::Stream;
use crate::wire::{ChunkHeader, Command, Flags, Request, cmd};

/// Answers up to this size are taken in by whoever reads.
const SMALL: usize = 16 * 1024;
/// The longest range that a request of 32 bits may name, so that any alignment remains.
const LONGEST: u64 = 0xffff_0000;

/// An export that is open.
pub struct Connection {
    stream: Arc<Stream>,
    goodbye: Goodbye,
    info: ExportInfo,
    negotiated: Negotiated,
    /// Who sends, with memory for a header.
    sending: Mutex<Vec<u8>>,
    /// Who reads; held by the one whose turn it is, so that hardly anybody ever waits for it.
    input: Mutex<Input>,
    requests: Mutex<Requests>,
}

/// The requests that are under way.
#[derive(Default)]
struct Requests {
    slots: Vec<Slot>,
    free: Vec<usize>,
    serial: u64,
    /// Somebody reads, or has been told to.
    is_read: bool,
    lost: Option<Error>,
}

struct Slot {
    /// Of the request that is under way here.
    cookie: Option<u64>,
    /// Absent while somebody works on it.
    answer: Option<Answer>,
    /// The reading has been handed over, at this header.
    turn: Option<ChunkHeader>,
    is_waiting: bool,
    wake: Arc<Condvar>,
}

/// How zeroes are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ZeroOptions {
    /// Space stays, or becomes, allocated.
    pub keep_allocated: bool,
    /// Fail unless that is faster than writing them.
    pub fast: bool,
    /// Durable before the answer.
    pub durable: bool,
}

impl Connection {
    pub(super) fn new(stream: Stream, info: ExportInfo, negotiated: Negotiated) -> Self {
        let stream = Arc::new(stream);
        let goodbye = Goodbye { stream: Some(Arc::clone(&stream)), extended: negotiated.extended };
        Connection {
            stream,
            goodbye,
            info,
            negotiated,
            sending: Mutex::default(),
            input: Mutex::new(Input::new()),
            requests: Mutex::default(),
        }
    }

    /// What the server told of the export.
    pub fn info(&self) -> &ExportInfo {
        &self.info
    }

    /// What was agreed upon.
    pub fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// From now on the server may take its time, whatever limit the socket had.
    pub fn wait_without_limit(&self) {
        // A limit that remains shows as a lost connection later.
        let _ = sockopt::set_socket_timeout(self.stream.input(), sockopt::Timeout::Recv, None);
    }

    /// The place of a context among those that were agreed upon.
    pub fn context(&self, name: &str) -> Option<usize> {
        self.negotiated.contexts.iter().position(|context| context.name == name)
    }

    /// The connection itself, for one who goes on with the protocol on his own, such as the kernel.
    pub fn into_stream(mut self) -> Arc<Stream> {
        self.goodbye.stream = None;
        Arc::clone(&self.stream)
    }

    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    /// When the server cannot, the range is not in the export, or the connection is lost.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.check(offset, buf.len() as u64)?;
        let mut at = offset;
        for part in buf.chunks_mut(self.info.max_payload() as usize) {
            let range = at..at + part.len() as u64;
            at = range.end;
            self.request(Command::Read, 0, range.clone(), Expected::Data(range), &[], part)?;
        }
        Ok(())
    }

    /// Writes all of `buf` at `offset`; `durable` before it returns, if the server knows how.
    ///
    /// # Errors
    /// As [`Connection::read_at`].
    pub fn write_at(&self, buf: &[u8], offset: u64, durable: bool) -> Result<()> {
        self.check(offset, buf.len() as u64)?;
        let payload = if self.negotiated.extended { cmd::PAYLOAD_LEN } else { 0 };
        let flags = payload | self.durability(durable);
        let mut at = offset;
        for part in buf.chunks(self.info.max_payload() as usize) {
            let range = at..at + part.len() as u64;
            at = range.end;
            self.request(Command::Write, flags, range, Expected::Done, part, &mut [])?;
        }
        self.settle(durable)
    }

    /// Makes everything durable that was answered.
    ///
    /// # Errors
    /// When the server cannot, or the connection is lost. A server that does not know of it has nothing to do.
    pub fn flush(&self) -> Result<()> {
        if !self.info.flags.has(Flags::FLUSH) {
            return Ok(());
        }
        self.request(Command::Flush, 0, 0..0, Expected::Done, &[], &mut []).map(drop)
    }

    /// Tells that a range is not needed any more.
    ///
    /// # Errors
    /// As [`Connection::read_at`].
    pub fn trim(&self, offset: u64, length: u64, durable: bool) -> Result<()> {
        self.without_payload(Command::Trim, self.durability(durable), offset, length)?;
        self.settle(durable)
    }

    /// Tells that a range will be read soon.
    ///
    /// # Errors
    /// As [`Connection::read_at`].
    pub fn cache(&self, offset: u64, length: u64) -> Result<()> {
        self.without_payload(Command::Cache, 0, offset, length)
    }

    /// Makes a range read as zeroes. The server has to have [`Flags::WRITE_ZEROES`].
    ///
    /// # Errors
    /// As [`Connection::read_at`].
    pub fn write_zeroes(&self, offset: u64, length: u64, how: ZeroOptions) -> Result<()> {
        let mut flags = self.durability(how.durable);
        if how.keep_allocated {
            flags |= cmd::NO_HOLE;
        }
        if how.fast && self.info.flags.has(Flags::FAST_ZERO) {
            flags |= cmd::FAST_ZERO;
        }
        self.without_payload(Command::WriteZeroes, flags, offset, length)?;
        self.settle(how.durable)
    }

    /// What the contexts that were agreed upon say of the beginning of a range: each of at least one byte, perhaps of
    /// more than was asked for.
    ///
    /// # Errors
    /// As [`Connection::read_at`].
    pub fn block_status(&self, offset: u64, length: u64, only_first: bool) -> Result<Vec<ContextExtents>> {
        self.check(offset, length)?;
        if self.negotiated.contexts.is_empty() {
            return Err(Error::Invalid("No metadata context was agreed upon".to_owned()));
        }
        let length = length.min(self.longest());
        let range = offset..offset + length;
        let flags = if only_first { cmd::REQ_ONE } else { 0 };
        let expected = Expected::Status(range.clone(), self.info.size);
        self.request(Command::BlockStatus, flags, range, expected, &[], &mut [])
    }

    fn durability(&self, durable: bool) -> u16 {
        if durable && self.info.flags.has(Flags::FUA) { cmd::FUA } else { 0 }
    }

    /// A server that does not know FUA is asked for a flush.
    fn settle(&self, durable: bool) -> Result<()> {
        if durable && !self.info.flags.has(Flags::FUA) { self.flush() } else { Ok(()) }
    }

    fn longest(&self) -> u64 {
        if self.negotiated.extended { i64::MAX as u64 } else { LONGEST }
    }

    fn without_payload(&self, command: Command, flags: u16, offset: u64, length: u64) -> Result<()> {
        self.check(offset, length)?;
        let end = offset + length;
        let mut at = offset;
        while at < end {
            let range = at..end.min(at.saturating_add(self.longest()));
            at = range.end;
            self.request(command, flags, range, Expected::Done, &[], &mut [])?;
        }
        Ok(())
    }

    fn check(&self, offset: u64, length: u64) -> Result<()> {
        match offset.checked_add(length) {
            Some(end) if end <= self.info.size => Ok(()),
            _ => Err(Error::Invalid(format!(
                "Request of {length} bytes at offset {offset} lies beyond the end of the export ({} bytes)",
                self.info.size
            ))),
        }
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request and waits for its answer.
    fn request(
        &self,
        command: Command,
        flags: u16,
        range: Range<u64>,
        expected: Expected,
        payload: &[u8],
        buf: &mut [u8],
    ) -> Result<Vec<ContextExtents>> {
        let (index, cookie) = self.requests().enter(Answer::to(expected))?;
        let length = range.end - range.start;
        let request = Request { flags, command, cookie, offset: range.start, length };
        if let Err(error) = self.send(&request, payload) {
            self.lose(error);
        }
        self.wait(index, buf)?.result()
    }

    fn send(&self, request: &Request, payload: &[u8]) -> Result<()> {
        let mut header = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        header.clear();
        request.encode(self.negotiated.extended, &mut header);
        let sent = match payload.is_empty() {
            true => self.stream.write_all(&header),
            false => self.stream.write_vectored(&mut [IoSlice::new(&header), IoSlice::new(payload)]),
        };
        sent.map_err(|source| Error::io("send request", source))
    }

    /// Waits until the request in slot `index` is answered, reading if nobody else does.
    fn wait(&self, index: usize, buf: &mut [u8]) -> Result<Answer> {
        let mut requests = self.requests();
        loop {
            if let Some(answer) = requests.finished(index) {
                drop(requests);
                deliver(&answer, buf);
                return Ok(answer);
            }
            if let Some(error) = requests.lost.clone() {
                // Nobody reads into this slot any more, unless somebody has its answer in hand.
                if requests.slots.get(index).is_none_or(|slot| slot.answer.is_some()) {
                    requests.leave(index);
                    return Err(error);
                }
            } else {
                let turn = requests.slots.get_mut(index).and_then(|slot| slot.turn.take());
                if turn.is_some() || !requests.is_read {
                    requests.is_read = true;
                    drop(requests);
                    if let Err(error) = self.read(index, turn, buf) {
                        self.lose(error);
                    }
                    requests = self.requests();
                    continue;
                }
            }
            requests = sleep(requests, index);
        }
    }

    /// Reads answers until that of slot `index` is complete, or the reading is handed over. `first` is a header that
    /// was read already.
    fn read(&self, index: usize, mut first: Option<ChunkHeader>, buf: &mut [u8]) -> Result<()> {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        let Negotiated { structured, extended, .. } = self.negotiated;
        loop {
            let header = match first.take() {
                Some(header) => header,
                None => input.header(&self.stream, structured, extended)?,
            };
            let mut requests = self.requests();
            let Some((owner, slot)) = requests.slot_of(header.cookie()) else {
                return Err(Error::protocol(format!(
                    "a reply with unexpected cookie 0x{:x}",
                    header.cookie()
                )));
            };
            let is_mine = owner == index;
            let is_small = slot.answer.as_ref().is_some_and(|answer| answer.data_length() <= SMALL);
            if !is_mine && !is_small {
                slot.turn = Some(header);
                slot.wake.notify_one();
                return Ok(());
            }
            let Some(mut answer) = slot.answer.take() else {
                return Err(Error::protocol("a reply to a request that is being answered"));
            };
            drop(requests);
            let mut source = Source {
                stream: &self.stream,
                input: &mut input,
                structured,
                contexts: &self.negotiated.contexts,
            };
            let taken = if is_mine && answer.staged.is_empty() {
                answer.take(header, &mut source, buf)
            } else {
                // What was begun for somebody goes on in the same memory.
                let mut staged = std::mem::take(&mut answer.staged);
                staged.resize(answer.data_length(), 0);
                let taken = answer.take(header, &mut source, &mut staged);
                answer.staged = staged;
                taken
            };
            let is_done = answer.is_done;
            let mut requests = self.requests();
            if let Some(slot) = requests.slots.get_mut(owner) {
                slot.answer = Some(answer);
                if is_done && !is_mine {
                    slot.wake.notify_one();
                }
            }
            taken?;
            if is_done && is_mine {
                requests.pass_on(index);
                return Ok(());
            }
        }
    }

    /// Gives the connection up. Everybody hears of it.
    fn lose(&self, error: Error) {
        let mut requests = self.requests();
        requests.lost.get_or_insert(error);
        requests.is_read = false;
        for slot in &requests.slots {
            slot.wake.notify_all();
        }
        self.stream.shutdown();
    }

    /// Why nothing can be asked any more, if so.
    pub fn lost(&self) -> Option<Error> {
        self.requests().lost.clone()
    }
}

/// Bytes that another thread read go to who asked for them.
fn deliver(answer: &Answer, buf: &mut [u8]) {
    if answer.staged.len() == buf.len() {
        buf.copy_from_slice(&answer.staged);
    }
}

/// Sleeps until there may be news for slot `index`.
fn sleep(mut requests: MutexGuard<'_, Requests>, index: usize) -> MutexGuard<'_, Requests> {
    let Some(slot) = requests.slots.get_mut(index) else { return requests };
    slot.is_waiting = true;
    let wake = Arc::clone(&slot.wake);
    let mut requests = wake.wait(requests).unwrap_or_else(PoisonError::into_inner);
    if let Some(slot) = requests.slots.get_mut(index) {
        slot.is_waiting = false;
    }
    requests
}

/// Tells the server, when it is dropped, that there is nothing more to come.
struct Goodbye {
    stream: Option<Arc<Stream>>,
    extended: bool,
}

impl Drop for Goodbye {
    fn drop(&mut self) {
        let Some(stream) = &self.stream else { return };
        let mut message = Vec::new();
        let request = Request { flags: 0, command: Command::Disconnect, cookie: 0, offset: 0, length: 0 };
        request.encode(self.extended, &mut message);
        // A server that does not listen is left without a word.
        let _ = sockopt::set_socket_timeout(
            stream.output(),
            sockopt::Timeout::Send,
            Some(Duration::from_secs(1)),
        );
        let _ = stream.write_all(&message);
    }
}

impl Requests {
    /// A place for a new request, and its cookie.
    fn enter(&mut self, answer: Answer) -> Result<(usize, u64)> {
        if let Some(error) = &self.lost {
            return Err(error.clone());
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() > usize::from(u16::MAX) => {
                return Err(Error::Invalid("Too many requests at once on one connection".to_owned()));
            }
            None => {
                let wake = Arc::new(Condvar::new());
                let slot = Slot { cookie: None, answer: None, turn: None, is_waiting: false, wake };
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        self.serial = self.serial.wrapping_add(1);
        let cookie = (self.serial << 16) | (index as u64 & 0xffff);
        if let Some(slot) = self.slots.get_mut(index) {
            slot.cookie = Some(cookie);
            slot.answer = Some(answer);
            slot.turn = None;
        }
        Ok((index, cookie))
    }

    fn leave(&mut self, index: usize) -> Option<Answer> {
        let slot = self.slots.get_mut(index)?;
        slot.cookie = None;
        self.free.push(index);
        slot.answer.take()
    }

    fn slot_of(&mut self, cookie: u64) -> Option<(usize, &mut Slot)> {
        let index = (cookie & 0xffff) as usize;
        let slot = self.slots.get_mut(index)?;
        (slot.cookie == Some(cookie)).then_some((index, slot))
    }

    /// The answer, if it is complete.
    fn finished(&mut self, index: usize) -> Option<Answer> {
        let slot = self.slots.get(index)?;
        if slot.answer.as_ref().is_some_and(|answer| answer.is_done) { self.leave(index) } else { None }
    }

    /// Somebody else shall read.
    fn pass_on(&mut self, index: usize) {
        self.is_read = false;
        let mut others = self.slots.iter().enumerate();
        if let Some((_, slot)) = others.find(|(other, slot)| *other != index && slot.is_waiting) {
            slot.wake.notify_one();
        }
    }
}
