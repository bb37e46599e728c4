//! The transmission phase: requests are read, and done at once or by a thread of the connection.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Scope;

use super::execute::Job;
use super::input::Input;
use super::output::Answers;
use super::session::Session;
use super::workers::Shared;
use crate::stream::Stream;
use crate::wire::{
    COMPACT_REQUEST, Command, EXTENDED_REQUEST, Errno, MAX_PAYLOAD, Request, RequestError, cmd,
};
use std::sync::Arc;

/// Requests for more are done by the thread that reads, one at a time, so that memory stays bounded.
const ALONE: u64 = 512 * 1024;

/// How a transmission ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The client said so.
    Disconnected,
    /// The connection was closed between two requests.
    Closed,
}

/// Why a transmission was broken off.
#[derive(Debug, thiserror::Error)]
pub enum TransmissionError {
    /// The connection is broken.
    #[error("Could not speak with the client")]
    Io(#[from] io::Error),
    /// What came was no request.
    #[error("The client sent what is no request: {0}")]
    Request(#[from] RequestError),
    /// More than any client needs.
    #[error("The client sends {0} bytes with one request")]
    TooLarge(u64),
}

/// What a client has done so far.
#[derive(Debug, Default)]
pub struct Counters {
    /// Reads that worked, and their bytes.
    pub reads: AtomicU64,
    /// Bytes read.
    pub read_bytes: AtomicU64,
    /// Writes and zeroes that worked.
    pub writes: AtomicU64,
    /// Bytes written.
    pub written_bytes: AtomicU64,
    /// All other requests that worked.
    pub others: AtomicU64,
    /// Requests that failed.
    pub failed: AtomicU64,
}

impl Counters {
    pub(super) fn count(&self, request: &Request, worked: bool) {
        let add = |counter: &AtomicU64, by| counter.fetch_add(by, Ordering::Relaxed);
        match request.command {
            _ if !worked => add(&self.failed, 1),
            Command::Read => {
                add(&self.read_bytes, request.length);
                add(&self.reads, 1)
            }
            Command::Write | Command::WriteZeroes => {
                add(&self.written_bytes, request.length);
                add(&self.writes, 1)
            }
            _ => add(&self.others, 1),
        };
    }
}

/// Answers the requests that come over `stream` until the client ends it.
///
/// # Errors
/// When the connection is broken or the client does not keep to the protocol. Whatever was answered was done.
pub fn transmit(
    session: &Session,
    stream: &Arc<Stream>,
    counters: &Counters,
) -> Result<Ended, TransmissionError> {
    let shared = Shared::new(session, stream, counters);
    std::thread::scope(|scope| {
        let ended = Reader::new(&shared, stream).run(scope);
        shared.close(ended.is_err());
        ended
    })
}

struct Reader<'a> {
    shared: &'a Shared<'a>,
    input: Input,
    answers: Answers<'a>,
}

impl<'a> Reader<'a> {
    fn new(shared: &'a Shared<'a>, stream: &Arc<Stream>) -> Self {
        Reader { shared, input: Input::new(Arc::clone(stream)), answers: Answers::new(&shared.output) }
    }

    fn run<'scope>(&mut self, scope: &'scope Scope<'scope, '_>) -> Result<Ended, TransmissionError>
    where
        'a: 'scope,
    {
        let extended = self.shared.session.is_extended();
        let size = if extended { EXTENDED_REQUEST } else { COMPACT_REQUEST };
        loop {
            if !self.input.has(size) {
                self.answers.send()?;
                if !self.input.wait_for(size)? {
                    return Ok(Ended::Closed);
                }
            }
            let request = Request::decode(self.input.take(size), extended)?;
            if request.command == Command::Disconnect {
                self.answers.send()?;
                return Ok(Ended::Disconnected);
            }
            let job = self.receive(request, extended)?;
            if !self.is_for_thread(&job, size) {
                self.finish(&job)?;
                self.shared.buffers.give(job.payload);
            } else if let Some(job) = {
                self.answers.send()?;
                self.shared.push(job, scope)
            } {
                self.finish(&job)?;
            }
        }
    }

    fn finish(&mut self, job: &Job) -> io::Result<()> {
        self.shared.execute(job, &mut self.answers)
    }

    /// Reads the payload of `request`, and judges it.
    fn receive(&mut self, request: Request, extended: bool) -> Result<Job, TransmissionError> {
        let length = request.payload(extended);
        let mut refused = self.shared.session.check(&request).err();
        let status = request.command == Command::BlockStatus;
        if length > 0 && !matches!(request.command, Command::Write) {
            // Only these two have payloads, and the names of contexts are few.
            let contexts = self.shared.session.contexts.len() as u64;
            if !status || length > 8 + 4 * contexts {
                refused.get_or_insert_with(|| {
                    super::answer::Failure::new(Errno::EINVAL, "the payload is not what the command takes")
                });
            }
        }
        if length > 2 * u64::from(MAX_PAYLOAD) {
            return Err(TransmissionError::TooLarge(length));
        }
        let mut job = Job { request, payload: Vec::new(), payload_length: 0, refused };
        let length = usize::try_from(length).unwrap_or(0);
        if length == 0 {
            return Ok(job);
        }
        if !self.input.has(length) {
            self.answers.send()?;
        }
        if job.refused.is_some() {
            self.skip(length)?;
            return Ok(job);
        }
        let mut payload = self.shared.buffers.take(length);
        self.input.read_exact(payload.get_mut(..length).unwrap_or_default())?;
        job.payload = payload;
        job.payload_length = length;
        Ok(job)
    }

    fn skip(&mut self, mut left: usize) -> io::Result<()> {
        let mut buffer = self.shared.buffers.take(64 * 1024);
        while left > 0 {
            let part = left.min(buffer.len());
            self.input.read_exact(buffer.get_mut(..part).unwrap_or_default())?;
            left -= part;
        }
        self.shared.buffers.give(buffer);
        Ok(())
    }

    /// It should not keep other requests waiting.
    fn is_for_thread(&self, job: &Job, header: usize) -> bool {
        let request = &job.request;
        let moves = matches!(request.command, Command::Read | Command::Write);
        if job.refused.is_some() || moves && request.length > ALONE {
            return false;
        }
        if self.shared.pace.is_slow() {
            return true;
        }
        let quick = moves || request.command == Command::BlockStatus;
        let quick = quick && request.flags & cmd::FUA == 0;
        !quick && (self.input.has(header) || !self.shared.is_idle())
    }
}
