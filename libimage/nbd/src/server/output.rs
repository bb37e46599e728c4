//! Answers as they go out: small ones are collected, and whatever belongs together stays together.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use super::transit::{Member, Ticket};
use super::{Export, Stored};
use crate::stream::Stream;

/// Collected answers are sent when there are so many bytes of them.
const ENOUGH: usize = 128 * 1024;

/// The outgoing half of a connection, for all its threads.
pub(super) struct Output<'a> {
    stream: &'a Stream,
    turn: Mutex<()>,
    files: Files,
}

/// Whether files can be sent without reading them.
enum Files {
    Never,
    Always,
    /// When what is on its way is kept account of.
    Counted(Member),
}

impl<'a> Output<'a> {
    pub(super) fn new(stream: &'a Arc<Stream>, export: &dyn Export) -> Self {
        let files = match export.transit() {
            _ if !stream.sends_files() => Files::Never,
            None => Files::Always,
            Some(transit) => transit.join(stream).map_or(Files::Never, Files::Counted),
        };
        Output { stream, turn: Mutex::new(()), files }
    }

    fn send(&self, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.stream.write_vectored(parts)
    }
}

/// Held while something is looked up in files and sent from there.
pub(super) struct Leave<'a>(#[expect(dead_code, reason = "only its end counts")] Option<Ticket<'a>>);

/// Answers of one thread that wait to be sent.
pub(super) struct Answers<'a> {
    output: &'a Output<'a>,
    /// Whole answers or chunks, and perhaps the header of what is sent next.
    pub(super) bytes: Vec<u8>,
}

impl<'a> Answers<'a> {
    pub(super) fn new(output: &'a Output<'a>) -> Self {
        Answers { output, bytes: Vec::new() }
    }

    /// Sends what is collected.
    pub(super) fn send(&mut self) -> io::Result<()> {
        self.send_with(&[])
    }

    /// Sends what is collected, and `data` right behind it.
    pub(super) fn send_with(&mut self, data: &[u8]) -> io::Result<()> {
        if self.bytes.is_empty() && data.is_empty() {
            return Ok(());
        }
        let sent = self.output.send(&mut [IoSlice::new(&self.bytes), IoSlice::new(data)]);
        self.bytes.clear();
        sent
    }

    /// Sends what is collected, and bytes of a file right behind it.
    pub(super) fn send_with_file(&mut self, stored: &Stored, length: u64) -> io::Result<()> {
        let sent = {
            let _turn = self.output.turn.lock().unwrap_or_else(PoisonError::into_inner);
            self.output.stream.send_file(&self.bytes, stored.file.as_fd(), stored.offset, length)
        };
        self.bytes.clear();
        sent
    }

    /// Leave to send from files now.
    pub(super) fn may_send_files(&self) -> Option<Leave<'a>> {
        match &self.output.files {
            Files::Never => None,
            Files::Always => Some(Leave(None)),
            Files::Counted(member) => Some(Leave(Some(member.enter()?))),
        }
    }

    /// Sends what is collected if it is much.
    pub(super) fn send_if_many(&mut self) -> io::Result<()> {
        if self.bytes.len() >= ENOUGH { self.send() } else { Ok(()) }
    }
}
