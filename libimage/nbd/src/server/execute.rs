//! What a request asks for is checked and done.

use std::io;

use super::answer::Failure;
use super::buffers::Buffers;
use super::output::Answers;
use super::session::Session;
use super::status::Asked;
use super::{Mode, Zeroes};
use crate::wire::{Command, Errno, Flags, Request, cmd};

/// Up to this size what is read is collected with other answers; copying it costs less than sending it alone.
const SMALL: u64 = 16 * 1024;
/// Reads from this size on leave out zeroes that are known to be some.
const SPARSE: u64 = 64 * 1024;
/// The largest piece that is read at once where an answer may have several.
const PIECE: u64 = 512 * 1024;

/// A request that has come in whole.
pub(super) struct Job {
    pub(super) request: Request,
    /// At least as long as the request says.
    pub(super) payload: Vec<u8>,
    pub(super) payload_length: usize,
    /// What is wrong with it, if that is known already.
    pub(super) refused: Option<Failure>,
}

impl Session {
    /// What is wrong with `request` by itself. Its payload is read in any case.
    pub(super) fn check(&self, request: &Request) -> Result<(), Failure> {
        let command = request.command;
        let fail = |errno, text: String| Err(Failure::new(errno, text));
        let writes =
            matches!(command, Command::Write | Command::Trim | Command::WriteZeroes | Command::Resize);
        if let Command::Unknown(number) = command {
            return fail(Errno::EINVAL, format!("invalid request type ({number}) received"));
        }
        let needed = match command {
            Command::Flush => Flags::FLUSH,
            Command::Resize => Flags::RESIZE,
            _ => Flags::default(),
        };
        if !self.flags.has(needed) {
            return fail(Errno::EINVAL, format!("{command:?} is not supported by this export"));
        }
        if writes && self.flags.has(Flags::READ_ONLY) {
            return fail(Errno::EPERM, "Export is read-only".to_owned());
        }
        let moves = matches!(command, Command::Read | Command::Write | Command::Cache);
        if moves && request.length > self.max_payload {
            let text = format!("len ({}) is larger than max len ({})", request.length, self.max_payload);
            return fail(Errno::EINVAL, text);
        }
        let status_with_payload =
            command == Command::BlockStatus && request.flags & cmd::PAYLOAD_LEN != 0 && self.is_extended();
        // A flush has no range; what clients put there in its place has to be one.
        let has_range = command != Command::Resize && !status_with_payload;
        if has_range {
            self.check_range(request, request.length)?;
        }
        let known = command.flags_allowed(self.flags, self.is_extended());
        if request.flags & !known != 0 {
            let text = format!("unsupported flags for command {command:?} (got 0x{:x})", request.flags);
            return fail(Errno::EINVAL, text);
        }
        if command == Command::BlockStatus && self.contexts.is_empty() {
            return fail(Errno::EINVAL, "CMD_BLOCK_STATUS not negotiated".to_owned());
        }
        Ok(())
    }

    fn check_range(&self, request: &Request, length: u64) -> Result<(), Failure> {
        let size = self.export.size();
        if request.offset.checked_add(length).is_some_and(|end| end <= size) {
            return Ok(());
        }
        let fills = matches!(request.command, Command::Write | Command::WriteZeroes);
        let errno = if fills { Errno::ENOSPC } else { Errno::EINVAL };
        let text = format!("operation past EOF; From: {}, Len: {length}, Size: {size}", request.offset);
        Err(Failure::new(errno, text))
    }

    /// Does what `job` asks for, and collects or sends the answer.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(super) fn execute(
        &self,
        job: &Job,
        buffers: &Buffers,
        answers: &mut Answers<'_>,
    ) -> io::Result<bool> {
        let request = &job.request;
        let failure = match &job.refused {
            Some(failure) => Failure::new(failure.errno, failure.text.clone()),
            None if request.command == Command::Read => return self.read(request, buffers, answers),
            None => {
                let payload = job.payload.get(..job.payload_length).unwrap_or_default();
                let whole = answers.bytes.len();
                match self.change_or_ask(request, payload, &mut answers.bytes) {
                    Ok(()) => {
                        answers.send_if_many()?;
                        return Ok(true);
                    }
                    Err(failure) => {
                        // Half an answer is none.
                        answers.bytes.truncate(whole);
                        failure
                    }
                }
            }
        };
        self.failed(request, &failure, &mut answers.bytes);
        answers.send_if_many()?;
        Ok(false)
    }

    /// Everything but reading.
    fn change_or_ask(&self, request: &Request, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        let export = &*self.export;
        let range = request.offset..request.offset.saturating_add(request.length);
        let io = |result: io::Result<()>| result.map_err(|error| Failure::of_io(&error));
        let mut durable = request.flags & cmd::FUA != 0;
        match request.command {
            Command::Write => io(export.write(payload, request.offset))?,
            Command::WriteZeroes => {
                let how = Zeroes {
                    may_unmap: request.flags & cmd::NO_HOLE == 0,
                    fast: request.flags & cmd::FAST_ZERO != 0,
                };
                io(export.write_zeroes(range, how))?;
            }
            Command::Trim => io(export.trim(range))?,
            Command::Cache => {
                durable = false;
                io(export.cache(range))?;
            }
            Command::Flush => durable = true,
            Command::Resize => io(export.resize(request.length))?,
            Command::BlockStatus => {
                let asked = Asked::read(self, request, payload)?;
                if asked.length() == 0 {
                    return Err(Failure::new(Errno::EINVAL, "need non-zero length"));
                }
                self.check_range(request, asked.length())?;
                return asked.answer(self, request, out);
            }
            Command::Read | Command::Disconnect | Command::Unknown(_) => {}
        }
        if durable {
            io(export.flush())?;
        }
        self.done(request, out);
        Ok(())
    }

    fn read(&self, request: &Request, buffers: &Buffers, answers: &mut Answers<'_>) -> io::Result<bool> {
        let whole = request.flags & cmd::DF != 0 || self.mode == Mode::Simple;
        if request.length == 0 && self.mode != Mode::Simple {
            let done = crate::wire::chunk::DONE;
            self.chunk(request, done, crate::wire::chunk::NONE, 0, &mut answers.bytes);
            answers.send_if_many()?;
            return Ok(true);
        }
        if request.length <= SMALL {
            return self.read_small(request, answers);
        }
        if whole || request.length < SPARSE {
            return self.read_piece(request, request.offset, request.length, true, buffers, answers);
        }
        self.read_sparse(request, buffers, answers)
    }

    fn read_small(&self, request: &Request, answers: &mut Answers<'_>) -> io::Result<bool> {
        let out = &mut answers.bytes;
        let before = out.len();
        let length = usize::try_from(request.length).unwrap_or(0);
        self.data(request, true, request.offset, length, out);
        let start = out.len();
        out.resize(start + length, 0);
        let result = self.export.read(out.get_mut(start..).unwrap_or_default(), request.offset);
        if let Err(error) = &result {
            out.truncate(before);
            self.failed(request, &Failure::of_io(error), out);
        }
        answers.send_if_many()?;
        Ok(result.is_ok())
    }

    /// Reads into memory and sends it from there.
    fn read_piece(
        &self,
        request: &Request,
        offset: u64,
        length: u64,
        last: bool,
        buffers: &Buffers,
        answers: &mut Answers<'_>,
    ) -> io::Result<bool> {
        if let Some(_leave) = answers.may_send_files()
            && let Some(stored) = self.export.stored(offset..offset + length)
            && stored.length >= length
        {
            let size = usize::try_from(length).unwrap_or(0);
            self.data(request, last, offset, size, &mut answers.bytes);
            answers.send_with_file(&stored, length)?;
            return Ok(true);
        }
        let length = usize::try_from(length).unwrap_or(0);
        let mut buffer = buffers.take(length);
        let data = buffer.get_mut(..length).unwrap_or_default();
        let worked = match self.export.read(data, offset) {
            Ok(()) => {
                self.data(request, last, offset, length, &mut answers.bytes);
                answers.send_with(data)?;
                true
            }
            Err(error) => {
                self.failed(request, &Failure::of_io(&error), &mut answers.bytes);
                answers.send_if_many()?;
                false
            }
        };
        buffers.give(buffer);
        Ok(worked)
    }

    /// Reads piece by piece, and says of zeroes only how many there are.
    fn read_sparse(
        &self,
        request: &Request,
        buffers: &Buffers,
        answers: &mut Answers<'_>,
    ) -> io::Result<bool> {
        let end = request.offset + request.length;
        let mut at = request.offset;
        while at < end {
            let (is_zero, length) = match self.export.zeroes(at..end) {
                Ok((is_zero, length)) => (is_zero, length.clamp(1, end - at)),
                Err(error) => {
                    self.failed(request, &Failure::of_io(&error), &mut answers.bytes);
                    answers.send_if_many()?;
                    return Ok(false);
                }
            };
            if is_zero {
                // A hole has 32 bits in every mode, and no request is longer.
                let length32 = u32::try_from(length).unwrap_or(u32::MAX);
                self.hole(request, at + u64::from(length32) == end, at, length32, &mut answers.bytes);
                answers.send_if_many()?;
                at += u64::from(length32);
                continue;
            }
            let length = length.min(PIECE);
            if !self.read_piece(request, at, length, at + length == end, buffers, answers)? {
                return Ok(false);
            }
            at += length;
        }
        Ok(true)
    }
}
