//! Requests from the port, answers to it.
//!
//! One thread reads. What is answered at once it carries out itself, because handing it to another thread
//! takes longer than the work; answers to requests that came together leave together. What may take long (data,
//! durability, room) goes to a pool of threads, so it holds nobody up, and answers leave in the order in which
//! they are ready. When all threads have work the reader waits, and with it the port and the host.

use super::request::{self, Request};
use super::tree::{Answer, Tree, prepare_thread};
use guestd_api::fuse::{self, IN_HEADER, InterruptIn, MAX_MESSAGE, ReadIn, op};
use rustix::io::Errno;
use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Threads for what may take long.
const THREADS: usize = 12;
/// Requests that may wait for a thread.
const WAITING: usize = 64;
/// Bytes up to which data is read or written at once: for so few another thread takes longer to wake than the data.
const AT_ONCE: usize = 16 << 10;
/// Bytes of answers after which they are sent, although there are more requests to carry out.
const TOGETHER: usize = 64 << 10;

/// How serving ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The host has asked for it and waits for the answer.
    Asked(u64),
    /// The host has gone.
    Gone,
}

/// Work for the pool.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Vec<u8>>,
    /// Requests that nobody waits for any more, as far as they still wait for a thread.
    interrupted: HashSet<u64>,
    idle: usize,
    threads: Vec<JoinHandle<()>>,
    over: bool,
}

struct Pool {
    queue: Mutex<Queue>,
    /// Something waits for a thread, or all is over.
    work: Condvar,
    /// There is room in the queue.
    room: Condvar,
    tree: Arc<Tree>,
    port: Arc<Mutex<File>>,
}

/// Serves the tree until the host has enough or has gone.
pub(super) fn serve(tree: Tree, mut port: File) -> io::Result<End> {
    let writer = Arc::new(Mutex::new(port.try_clone()?));
    let pool = Arc::new(Pool {
        queue: Mutex::default(),
        work: Condvar::new(),
        room: Condvar::new(),
        tree: Arc::new(tree),
        port: writer,
    });
    let end = read_all(&pool, &mut port);
    let mut queue = pool.queue();
    queue.over = true;
    pool.work.notify_all();
    let threads = std::mem::take(&mut queue.threads);
    drop(queue);
    // What was asked for before the end is carried out; then nothing of the tree is open any more.
    for thread in threads {
        // One that panicked took its own request with it.
        let _ = thread.join();
    }
    end
}

/// Answers one request.
fn answer(tree: &Tree, request: &mut Request<'_>) -> Option<Vec<u8>> {
    let mut answer = Answer::new();
    let done = tree.serve(request, &mut answer);
    let header = &request.header;
    (!fuse::is_one_way(header.opcode)).then(|| answer.finish(header.unique, done))
}

/// May carrying this out take long?
fn is_long(request: &Request<'_>, message: &[u8]) -> bool {
    match request.header.opcode {
        op::WRITE => message.len() > AT_ONCE,
        op::READ => read_size(message) > AT_ONCE,
        op::SETATTR => is_resize(message),
        op::READ_SLOT
        | op::WRITE_SLOT
        | op::FSYNC
        | op::FSYNCDIR
        | op::SYNCFS
        | op::FALLOCATE
        | op::COPY_FILE_RANGE
        | op::LSEEK
        | op::IOCTL => true,
        _ => false,
    }
}

/// Bytes that a request wants to read.
fn read_size(message: &[u8]) -> usize {
    let wanted = Request::of(message).and_then(|mut request| request.take::<ReadIn>().ok());
    wanted.map_or(0, |wanted| wanted.size as usize)
}

/// Whether a request changes the size of a file.
fn is_resize(message: &[u8]) -> bool {
    let wanted = Request::of(message).and_then(|mut request| request.take::<fuse::SetattrIn>().ok());
    wanted.is_some_and(|wanted| wanted.valid & fuse::fattr::SIZE != 0)
}

fn read_all(pool: &Arc<Pool>, port: &mut File) -> io::Result<End> {
    prepare_thread()?;
    let mut buffer = vec![0; 2 * MAX_MESSAGE];
    let (mut start, mut end) = (0, 0);
    let mut answers = Vec::new();
    loop {
        loop {
            let unread = buffer.get(start..end).unwrap_or_default();
            if unread.len() < IN_HEADER {
                break;
            }
            let length = request::length(unread).ok_or_else(|| broken("the length of a request"))?;
            let Some(message) = unread.get(..length) else { break };
            let mut request = Request::of(message).ok_or_else(|| broken("a request without a header"))?;
            start += length;
            match request.header.opcode {
                op::DESTROY => {
                    pool.send(&answers)?;
                    return Ok(End::Asked(request.header.unique));
                }
                op::INTERRUPT => {
                    if let Ok(InterruptIn { unique }) = request.take() {
                        pool.interrupt(unique);
                    }
                }
                _ if is_long(&request, message) => pool.hand_over(message.to_vec())?,
                _ => answers.extend(answer(&pool.tree, &mut request).into_iter().flatten()),
            }
            if answers.len() > TOGETHER {
                pool.send(&answers)?;
                answers.clear();
            }
        }
        if !answers.is_empty() {
            pool.send(&answers)?;
            answers.clear();
        }
        buffer.copy_within(start..end, 0);
        (start, end) = (0, end - start);
        let room = buffer.get_mut(end..).unwrap_or_default();
        match port.read(room) {
            Ok(0) => return Ok(End::Gone),
            Ok(count) => end += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("The host sent {what} that cannot be"))
}

impl Pool {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, answers: &[u8]) -> io::Result<()> {
        self.port.lock().unwrap_or_else(PoisonError::into_inner).write_all(answers)
    }

    /// A request that waits is answered when its turn comes, with the error that says it was not carried out.
    fn interrupt(&self, unique: u64) {
        let mut queue = self.queue();
        let waits = queue
            .waiting
            .iter()
            .any(|message| Request::of(message).is_some_and(|request| request.header.unique == unique));
        if waits {
            queue.interrupted.insert(unique);
        }
    }

    /// Gives a request to a thread, perhaps a new one; waits while too many wait already.
    fn hand_over(self: &Arc<Self>, message: Vec<u8>) -> io::Result<()> {
        let mut queue = self.queue();
        while queue.waiting.len() >= WAITING {
            queue = self.room.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.waiting.push_back(message);
        if queue.idle >= queue.waiting.len() || queue.threads.len() >= THREADS {
            self.work.notify_one();
            return Ok(());
        }
        let pool = Arc::clone(self);
        let spawned =
            std::thread::Builder::new().name("fuse".into()).stack_size(256 << 10).spawn(move || pool.work());
        match spawned {
            Ok(thread) => queue.threads.push(thread),
            Err(error) if queue.threads.is_empty() => return Err(error),
            // Fewer threads do as well.
            Err(_) => self.work.notify_one(),
        }
        Ok(())
    }

    /// A thread of the pool.
    fn work(&self) {
        let ready = prepare_thread();
        loop {
            let mut queue = self.queue();
            let (message, interrupted) = loop {
                if let Some(message) = queue.waiting.pop_front() {
                    let unique = Request::of(&message).map_or(0, |request| request.header.unique);
                    let interrupted = queue.interrupted.remove(&unique);
                    break (message, interrupted);
                }
                if queue.over {
                    return;
                }
                queue.idle += 1;
                queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
            };
            drop(queue);
            self.room.notify_one();
            let Some(mut request) = Request::of(&message) else { continue };
            let answer = match ready {
                Ok(()) if !interrupted => answer(&self.tree, &mut request),
                Ok(()) => Some(Answer::new().finish(request.header.unique, Err(Errno::INTR))),
                Err(error) => Some(Answer::new().finish(request.header.unique, Err(error))),
            };
            if let Some(answer) = answer {
                // Without a host nobody waits for it.
                let _ = self.send(&answer);
            }
        }
    }
}
