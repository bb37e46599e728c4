//! Collects what a guest's kernel says, without ever waiting for somebody to close the pipe.

use std::collections::VecDeque;
use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};

use crate::backend::LogSink;

/// Bytes of the log that are kept.
const KEPT: usize = 256 * 1024;

/// The console output of one machine.
#[derive(Clone)]
pub(crate) struct KernelLog(Arc<Mutex<VecDeque<u8>>>);

/// The thread that reads it.
pub(crate) struct LogReader {
    /// Closed to tell the thread that the machine is gone.
    alive: Option<io::PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl KernelLog {
    /// Reads `pipe` from now on; every piece goes to `sink` too.
    pub(crate) fn collect(pipe: PipeReader, mut sink: Option<LogSink>) -> io::Result<(Self, LogReader)> {
        let log = KernelLog(Arc::default());
        let (ended, alive) = io::pipe()?;
        let theirs = log.clone();
        let thread = std::thread::Builder::new().name("machine-log".into()).spawn(move || {
            let mut piece = [0; 4096];
            while let Some(count) = next(&pipe, &ended, &mut piece) {
                if let Some(sink) = &mut sink {
                    sink(&piece[..count]);
                }
                theirs.add(&piece[..count]);
            }
        })?;
        Ok((log, LogReader { alive: Some(alive), thread: Some(thread) }))
    }

    /// Adds a piece.
    pub(crate) fn add(&self, piece: &[u8]) {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.extend(piece);
        let surplus = text.len().saturating_sub(KEPT);
        text.drain(..surplus);
    }

    /// What has been said so far; the last 256 KiB of it.
    pub(crate) fn text(&self) -> String {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (front, back) = text.as_slices();
        String::from_utf8_lossy(&[front, back].concat()).into_owned()
    }
}

impl Drop for LogReader {
    /// The machine is gone: what is left in the pipe is taken, and no more is waited for.
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads the next piece. `None` at the end of the pipe, or when it is empty and the machine is gone.
fn next(mut pipe: &PipeReader, ended: &PipeReader, piece: &mut [u8]) -> Option<usize> {
    loop {
        let (pipe_fd, ended_fd) = (pipe.as_fd(), ended.as_fd());
        let mut fds = [PollFd::new(&pipe_fd, PollFlags::IN), PollFd::new(&ended_fd, PollFlags::IN)];
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return None,
            Ok(_) => {}
        }
        if !fds[0].revents().is_empty() {
            match pipe.read(piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(0) | Err(_) => return None,
                Ok(count) => return Some(count),
            }
        }
        if !fds[1].revents().is_empty() {
            return None;
        }
    }
}
