//! Threads of one connection, for requests that wait for something.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, Scope};
use std::time::{Duration, Instant};

use super::buffers::Buffers;
use super::execute::Job;
use super::output::{Answers, Output};
use super::session::Session;
use super::transmission::Counters;
use crate::stream::Stream;

/// Threads of one connection.
const MAX_WORKERS: usize = 16;
/// Requests of one connection that are begun or wait for a thread, and the bytes that they may occupy.
const MAX_JOBS: usize = 64;
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// A thread without work ends after this.
const IDLE: Duration = Duration::from_secs(2);
const STACK: usize = 512 * 1024;

/// What all threads of a connection share.
pub(super) struct Shared<'a> {
    pub(super) session: &'a Session,
    pub(super) stream: &'a Stream,
    pub(super) output: Output<'a>,
    pub(super) buffers: Buffers,
    pub(super) counters: &'a Counters,
    pub(super) pace: Pace,
    queue: Mutex<Queue>,
    work: Condvar,
    room: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Begun or waiting.
    pending: usize,
    bytes: usize,
    workers: usize,
    idle: usize,
    closed: bool,
}

impl<'a> Shared<'a> {
    pub(super) fn new(session: &'a Session, stream: &'a Arc<Stream>, counters: &'a Counters) -> Self {
        Shared {
            session,
            stream,
            output: Output::new(stream, &*session.export),
            buffers: Buffers::default(),
            counters,
            pace: Pace::new(session.export.may_wait()),
            queue: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No thread has anything to do.
    pub(super) fn is_idle(&self) -> bool {
        self.queue().pending == 0
    }

    /// Leaves `job` to a thread. The job comes back if there is none to be had.
    pub(super) fn push<'scope>(&'scope self, job: Job, scope: &'scope Scope<'scope, '_>) -> Option<Job> {
        let bytes = job.bytes();
        let mut queue = self.queue();
        while queue.pending > 0 && (queue.pending >= MAX_JOBS || queue.bytes + bytes > MAX_BYTES) {
            queue = self.room.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if queue.idle <= queue.jobs.len() && queue.workers < MAX_WORKERS {
            let worker = Builder::new().name("nbd-request".to_owned()).stack_size(STACK);
            if worker.spawn_scoped(scope, || self.run()).is_ok() {
                queue.workers += 1;
            } else if queue.workers == 0 {
                return Some(job);
            }
        }
        queue.jobs.push_back(job);
        queue.pending += 1;
        queue.bytes += bytes;
        drop(queue);
        self.work.notify_one();
        None
    }

    /// The threads end when nothing is left to do; with `drop_jobs` they begin nothing more.
    pub(super) fn close(&self, drop_jobs: bool) {
        let mut queue = self.queue();
        queue.closed = true;
        if drop_jobs {
            queue.jobs.clear();
        }
        drop(queue);
        self.work.notify_all();
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.queue();
        let mut rested = false;
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.closed || rested {
                queue.workers -= 1;
                return None;
            }
            queue.idle += 1;
            let (back, timeout) = self.work.wait_timeout(queue, IDLE).unwrap_or_else(PoisonError::into_inner);
            queue = back;
            queue.idle -= 1;
            rested = timeout.timed_out();
        }
    }

    fn run(&self) {
        let mut answers = Answers::new(&self.output);
        while let Some(job) = self.next() {
            let sent = self.execute(&job, &mut answers).and_then(|()| answers.send());
            if sent.is_err() {
                // The thread that reads finds the end.
                self.stream.shutdown();
            }
            let mut queue = self.queue();
            queue.pending -= 1;
            queue.bytes -= job.bytes();
            drop(queue);
            self.room.notify_one();
            self.buffers.give(job.payload);
        }
    }

    /// Does what `job` asks for, and keeps account of it.
    pub(super) fn execute(&self, job: &Job, answers: &mut Answers<'_>) -> std::io::Result<()> {
        let begin = Instant::now();
        let worked = self.session.execute(job, &self.buffers, answers)?;
        // Writers of one file of the page cache wait for each other: more of them do not make it faster.
        let buffered =
            job.request.command == crate::wire::Command::Write && !self.session.export.writes_side_by_side();
        let patience = if buffered { Duration::from_millis(5) } else { Duration::from_micros(150) };
        self.pace.note(begin.elapsed(), patience, job.request.length);
        self.counters.count(&job.request, worked);
        Ok(())
    }
}

impl Job {
    /// Memory that it occupies, or its answer will.
    fn bytes(&self) -> usize {
        let read = self.request.command == crate::wire::Command::Read;
        let read = if read { usize::try_from(self.request.length).unwrap_or(0) } else { 0 };
        self.payload.len().max(read)
    }
}

/// Whether requests wait for something, judged by those before.
pub(super) struct Pace {
    score: AtomicU32,
    always_slow: bool,
}

/// From this score on requests are slow; and the largest score, so that it is over some time.
const SLOW: u32 = 16;
const MOST: u32 = 64;

impl Pace {
    fn new(always_slow: bool) -> Self {
        Pace { score: AtomicU32::new(0), always_slow }
    }

    fn note(&self, elapsed: Duration, patience: Duration, bytes: u64) {
        // What memory and processor need for it.
        let fair = patience + Duration::from_nanos(bytes.min(64 << 20));
        let score = self.score.load(Ordering::Relaxed);
        let next = if elapsed <= fair {
            score.saturating_sub(1)
        } else if elapsed < fair * 10 {
            (score + 8).min(MOST)
        } else {
            MOST
        };
        if next != score {
            self.score.store(next, Ordering::Relaxed);
        }
    }

    /// The next request should not keep others waiting.
    pub(super) fn is_slow(&self) -> bool {
        self.always_slow || self.score.load(Ordering::Relaxed) >= SLOW
    }
}
