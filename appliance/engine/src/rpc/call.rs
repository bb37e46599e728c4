//! One call, in the thread that makes it: its streams, its progress, its cancellation, its answer.

use super::client::{Event, Link};
use super::exchange::PIECES_OF_A_CALL;
use guestd_api::exchange::PIECE;
use guestd_api::wire::{self, CHUNK, Frame, MAX_CALL, WINDOW};
use guestd_api::{Call, Context, Error, Failure, Progress, Result, Value};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long a cancelled call may take to say that it has ended, before its caller stops waiting.
const CANCEL_PATIENCE: Duration = Duration::from_secs(10);
/// Less than this goes in a frame, where the agent does not have to fetch it.
const WORTH_A_PIECE: usize = 16 << 10;
/// `ECANCELED`
const CANCELLED: i32 = 125;

/// Makes the call and returns its result.
pub(super) fn run(link: &Arc<Link>, call: &Call, context: &mut Context<'_>) -> Result<Value> {
    let action = call.name();
    let bytes = wire::encode(call).map_err(|e| Error::Protocol(e.to_string()))?;
    if bytes.len() > MAX_CALL {
        let why = format!("the arguments have {} bytes, {MAX_CALL} are possible: use an upload", bytes.len());
        return Err(Error::Unavailable { action, why });
    }
    if context.cancel.is_some_and(guestd_api::CancelToken::is_cancelled) {
        return Err(Error::Cancelled { action });
    }
    let context = context.reborrow();
    let (id, wake, events) = link.open(context.output.is_some())?;
    let _guard = context.cancel.map(|token| {
        token.on_cancel(move || {
            // A call that is over has nobody to wake.
            let _ = wake.send(Event::Wake);
        })
    });
    let mut running = Running {
        link,
        action,
        id,
        events,
        input: context.input,
        output: context.output,
        progress: context.progress,
        cancel: context.cancel,
        credit: WINDOW,
        owed: 0,
        idle: Vec::new(),
        lent: 0,
        arrived: Vec::new(),
        given_up: None,
        deadline: None,
    };
    let result = running.begin(&bytes).and_then(|()| running.finish());
    if result.is_err() {
        link.abandon(id);
    }
    running.let_go();
    result
}

struct Running<'c> {
    link: &'c Link,
    action: &'static str,
    id: u32,
    events: Receiver<Event>,
    /// Taken away at its end.
    input: Option<&'c mut dyn Read>,
    output: Option<&'c mut dyn Write>,
    progress: Option<&'c guestd_api::ProgressFn<'c>>,
    cancel: Option<&'c guestd_api::CancelToken>,
    /// Bytes of the stream in that may still be sent.
    credit: u64,
    /// Bytes of the stream out that were used up and not told yet.
    owed: u64,
    /// Empty pieces of the exchange that this call has.
    idle: Vec<u32>,
    /// Pieces that this call has filled and the agent has not emptied yet.
    lent: usize,
    /// Room for what comes in a piece.
    arrived: Vec<u8>,
    /// Why this end has cancelled the call.
    given_up: Option<Error>,
    /// When to stop waiting for a call that was cancelled.
    deadline: Option<Instant>,
}

impl Running<'_> {
    fn begin(&self, bytes: &[u8]) -> Result<()> {
        wire::parts(bytes)
            .try_for_each(|(last, part)| self.link.send(&Frame::Call { id: self.id, last, part }))
    }

    fn finish(&mut self) -> Result<Value> {
        let mut buffer = Vec::new();
        loop {
            while let Some(event) = self.next_event()? {
                if let Some(answer) = self.take(event)? {
                    return self.judge(answer);
                }
            }
            self.feed(&mut buffer)?;
        }
    }

    /// The next event. `None` if there is none and data can be sent instead.
    fn next_event(&mut self) -> Result<Option<Event>> {
        if self.input.is_some() && self.can_send() {
            return match self.events.try_recv() {
                Ok(event) => Ok(Some(event)),
                Err(std::sync::mpsc::TryRecvError::Empty) => Ok(None),
                Err(std::sync::mpsc::TryRecvError::Disconnected) => Err(self.link.death()),
            };
        }
        let event = match self.deadline {
            None => self.events.recv().map_err(RecvTimeoutError::from),
            Some(deadline) => self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())),
        };
        match event {
            Ok(event) => Ok(Some(event)),
            Err(RecvTimeoutError::Disconnected) => Err(self.link.death()),
            Err(RecvTimeoutError::Timeout) => Err(Error::Cancelled { action: self.action }),
        }
    }

    /// Acts on an event; the answer ends the call.
    fn take(&mut self, event: Event) -> Result<Option<std::result::Result<Vec<u8>, Failure>>> {
        match event {
            Event::Reply(bytes) => return Ok(Some(Ok(bytes))),
            Event::Failed(failure) => return Ok(Some(Err(failure))),
            Event::Credit(bytes) => self.credit = self.credit.saturating_add(bytes),
            Event::Returned(piece) => {
                self.lent = self.lent.saturating_sub(1);
                self.idle.push(piece);
            }
            Event::Piece { piece, length } => self.receive_piece(piece, length)?,
            Event::Progress(progress) => self.report(progress),
            Event::Data(bytes) => self.receive(&bytes)?,
            Event::Gone => return Err(self.link.death()),
            Event::Wake => {
                if self.cancel.is_some_and(guestd_api::CancelToken::is_cancelled) {
                    self.give_up(Error::Cancelled { action: self.action })?;
                }
            }
        }
        Ok(None)
    }

    fn report(&self, progress: Progress) {
        if let Some(report) = self.progress {
            report(progress);
        }
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<()> {
        if self.given_up.is_none()
            && let Some(output) = &mut self.output
            && let Err(source) = output.write_all(bytes)
        {
            self.give_up(Error::Output { action: self.action, source })?;
        }
        self.owed = self.owed.saturating_add(bytes.len() as u64);
        if self.owed >= WINDOW / 4 {
            let owed = std::mem::take(&mut self.owed);
            self.link.grant(self.id, owed)?;
        }
        Ok(())
    }

    /// Takes out what the agent has put into the exchange, and gives the piece back.
    fn receive_piece(&mut self, piece: u32, length: u32) -> Result<()> {
        let Some(exchange) = &self.link.exchange else { return Ok(()) };
        if self.given_up.is_none()
            && let Some(output) = &mut self.output
        {
            let taken = exchange.take(piece, length, &mut self.arrived);
            let written = taken.map_err(std::io::Error::other).and_then(|()| output.write_all(&self.arrived));
            exchange.emptied(piece);
            if let Err(source) = written {
                self.give_up(Error::Output { action: self.action, source })?;
            }
        } else {
            exchange.emptied(piece);
        }
        self.link.send(&Frame::Taken { piece })
    }

    /// True if more of the stream in can be sent now: through the exchange, or, where none of its pieces can be
    /// had, in frames.
    fn can_send(&mut self) -> bool {
        if self.idle.is_empty()
            && self.lent < PIECES_OF_A_CALL
            && let Some(exchange) = &self.link.exchange
        {
            self.idle.extend(exchange.claim(self.id));
        }
        // Waiting for a piece is better than going the slow way.
        !self.idle.is_empty() || (self.lent == 0 && self.credit > 0)
    }

    /// Sends one piece of the stream in, or its end.
    fn feed(&mut self, buffer: &mut Vec<u8>) -> Result<()> {
        let Some(input) = &mut self.input else { return Ok(()) };
        let room = match self.idle.last() {
            Some(_) => PIECE,
            None => CHUNK.min(usize::try_from(self.credit).unwrap_or(CHUNK)),
        };
        buffer.resize(room, 0);
        let mut count = 0;
        // A pipe gives 64 KiB at a time; a large piece is worth some more reads, while more seems to be there.
        while let Some(rest @ [_, ..]) = buffer.get_mut(count..) {
            match input.read(rest) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return self.give_up(Error::Input { action: self.action, source }),
                Ok(0) => {
                    self.input = None;
                    break;
                }
                Ok(more) => {
                    count = count.saturating_add(more);
                    if more < WORTH_A_PIECE {
                        break;
                    }
                }
            }
        }
        if let Some(bytes @ [_, ..]) = buffer.get(..count) {
            self.send_data(bytes)?;
        }
        if self.input.is_none() { self.link.send(&Frame::End { id: self.id }) } else { Ok(()) }
    }

    /// Sends bytes, through the exchange if they are many and there is a piece.
    fn send_data(&mut self, bytes: &[u8]) -> Result<()> {
        let is_worth_it = bytes.len() >= WORTH_A_PIECE || bytes.len() as u64 > self.credit;
        if is_worth_it && let (Some(exchange), Some(piece)) = (&self.link.exchange, self.idle.pop()) {
            let filled = exchange.fill(self.id, piece, bytes);
            filled.map_err(|error| Error::Protocol(format!("The exchange fails: {error}")))?;
            self.lent = self.lent.saturating_add(1);
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            return self.link.send(&Frame::Piece { id: self.id, piece, length });
        }
        self.credit = self.credit.saturating_sub(bytes.len() as u64);
        self.link.send(&Frame::Data { id: self.id, bytes })
    }

    /// Gives back the pieces that this call has and those that came too late.
    fn let_go(&mut self) {
        let Some(exchange) = &self.link.exchange else { return };
        while let Ok(event) = self.events.try_recv() {
            match event {
                Event::Returned(piece) => self.idle.push(piece),
                Event::Piece { piece, .. } => self.link.give_back_later(piece),
                _ => {}
            }
        }
        for piece in self.idle.drain(..) {
            exchange.release(self.id, piece);
        }
    }

    /// Cancels the call and waits on for its answer, but not for ever.
    fn give_up(&mut self, why: Error) -> Result<()> {
        self.input = None;
        if self.given_up.is_none() {
            self.given_up = Some(why);
            self.deadline = Some(Instant::now() + CANCEL_PATIENCE);
            self.link.send(&Frame::Cancel { id: self.id })?;
        }
        Ok(())
    }

    fn judge(&mut self, answer: std::result::Result<Vec<u8>, Failure>) -> Result<Value> {
        match (answer, self.given_up.take()) {
            // What was cancelled too late has happened.
            (Ok(bytes), None | Some(Error::Cancelled { .. })) => wire::decode(&bytes)
                .map_err(|e| Error::Protocol(format!("The result of '{}': {e}", self.action))),
            (_, Some(why)) => Err(why),
            (Err(failure), None) if failure.errno == CANCELLED => {
                Err(Error::Cancelled { action: self.action })
            }
            (Err(failure), None) => Err(Error::Action { action: self.action, failure }),
        }
    }
}
