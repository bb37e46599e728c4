//! The connection: one thread reads and hands out, callers write.
//!
//! Lock order: none. The table of calls and the writer are never locked at the same time, so a caller that
//! waits for a slow stream does not hold up the reader, which is what empties it.

use super::exchange::Exchange;
use guestd_api::wire::{self, Frame, MAX_REPLY, WINDOW};
use guestd_api::{Actions, Call, Context, Error, Failure, Progress, Result, Value};
use libimage::Block;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the agent may take to say its first word: a slow machine boots in that time.
const HELLO_PATIENCE: Duration = Duration::from_secs(120);

/// The agent's actions over a stream. Calls may be made from several threads at once.
///
/// Dropping it closes the stream, upon which the agent switches its machine off.
pub struct Client {
    link: Arc<Link>,
    reader: Option<JoinHandle<()>>,
}

/// What callers and the reader share.
pub(super) struct Link {
    /// To hang up without waiting for the writer.
    stream: UnixStream,
    writer: Mutex<(UnixStream, Vec<u8>)>,
    table: Mutex<Table>,
    closed: Condvar,
    /// The way for large pieces of streams, if the guest was given one.
    pub(super) exchange: Option<Exchange>,
}

#[derive(Default)]
struct Table {
    open: HashMap<u32, Pending>,
    next: u32,
    /// Why nothing can be called any more.
    dead: Option<Death>,
}

#[derive(Clone)]
enum Death {
    Gone(String),
    Protocol(String),
}

impl From<Death> for Error {
    fn from(death: Death) -> Self {
        match death {
            Death::Gone(why) => Error::Disconnected(why),
            Death::Protocol(what) => Error::Protocol(what),
        }
    }
}

/// A call as the reader knows it.
struct Pending {
    /// To the caller; `None` when it has given up waiting.
    events: Option<Sender<Event>>,
    /// Bytes that the agent may still send. No credit at all for a call without a stream out.
    credit: u64,
    /// The call has a stream out.
    has_output: bool,
    /// The answer so far.
    reply: Vec<u8>,
}

/// What the reader tells a caller.
pub(super) enum Event {
    Data(Vec<u8>),
    Credit(u64),
    /// More of the stream out, in a piece of the exchange.
    Piece {
        piece: u32,
        length: u32,
    },
    /// A piece that this call has filled is empty again.
    Returned(u32),
    Progress(Progress),
    Reply(Vec<u8>),
    Failed(Failure),
    /// Look at the cancel token.
    Wake,
    /// The connection has ended.
    Gone,
}

impl Client {
    /// Waits for the agent's hello and answers it.
    ///
    /// Fails if the agent says nothing for two minutes or was built from another table of actions.
    pub fn new(stream: UnixStream) -> Result<Self> {
        Self::with_patience(stream, HELLO_PATIENCE)
    }

    /// Like [`Client::new`] with a time-out of the caller's choice.
    pub fn with_patience(stream: UnixStream, patience: Duration) -> Result<Self> {
        Self::connect(stream, patience, None)
    }

    /// Like [`Client::new`], with the memory that the guest sees as its exchange: a disk with the serial
    /// [`guestd_api::exchange::SERIAL`]. Large streams pass through it.
    pub fn with_exchange(stream: UnixStream, memory: Arc<dyn Block>) -> Result<Self> {
        Self::connect(stream, HELLO_PATIENCE, Some(Exchange::new(memory)))
    }

    fn connect(stream: UnixStream, patience: Duration, exchange: Option<Exchange>) -> Result<Self> {
        let gone = |what: &'static str| move |e: io::Error| Error::Disconnected(format!("{what}: {e}"));
        let mut reader = stream.try_clone().map_err(gone("Could not set up the connection"))?;
        greet(&mut reader, patience)?;
        let writer = stream.try_clone().map_err(gone("Could not set up the connection"))?;
        let link = Arc::new(Link {
            stream,
            writer: Mutex::new((writer, Vec::new())),
            table: Mutex::default(),
            closed: Condvar::new(),
            exchange,
        });
        link.send(&wire::HELLO)?;
        let shared = Arc::clone(&link);
        let thread = std::thread::Builder::new().name("rpc".into()).spawn(move || shared.read_all(reader));
        Ok(Client { link, reader: Some(thread.map_err(gone("Could not start a thread"))?) })
    }

    /// Has the agent write everything and switch its machine off, and waits until it has closed the stream.
    pub fn shutdown(&self, patience: Duration) -> Result<()> {
        self.link.send(&Frame::Shutdown)?;
        let deadline = Instant::now() + patience;
        let mut table = self.link.table();
        loop {
            match &table.dead {
                Some(Death::Gone(_)) => return Ok(()),
                Some(death) => return Err(death.clone().into()),
                None => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let why = format!("It did not switch off within {} seconds", patience.as_secs());
                return Err(Error::Disconnected(why));
            }
            table = self.link.closed.wait_timeout(table, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// True until the agent has gone or broken the protocol.
    pub fn is_alive(&self) -> bool {
        self.link.table().dead.is_none()
    }
}

impl Actions for Client {
    fn call(&self, call: &Call, context: &mut Context<'_>) -> Result<Value> {
        super::call::run(&self.link, call, context)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.link.stream.shutdown(Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            // It ends at the end of the stream, which was just caused.
            let _ = reader.join();
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("alive", &self.is_alive()).finish_non_exhaustive()
    }
}

/// Reads the agent's hello. Nothing may be sent before it: a port that the agent has not opened yet throws
/// away what arrives.
fn greet(stream: &mut UnixStream, patience: Duration) -> Result<()> {
    let gone = |e: io::Error| match e.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            Error::Disconnected(format!("It said nothing for {} seconds", patience.as_secs()))
        }
        io::ErrorKind::InvalidData => Error::Protocol(e.to_string()),
        _ => Error::Disconnected(e.to_string()),
    };
    stream.set_read_timeout(Some(patience)).map_err(gone)?;
    let mut buffer = Vec::new();
    match wire::read_frame(stream, &mut buffer).map_err(gone)? {
        Some(frame) if frame == wire::HELLO => {}
        Some(Frame::Hello { .. }) => {
            let why = "The agent in the appliance and this program were not built together: build the appliance again";
            return Err(Error::Protocol(why.into()));
        }
        Some(_) => return Err(Error::Protocol("It did not start with a hello".into())),
        None => return Err(Error::Disconnected("It closed the connection before its first word".into())),
    }
    stream.set_read_timeout(None).map_err(gone)
}

impl Link {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends one frame. If that fails, the reason why the connection died counts more than the broken pipe.
    pub(super) fn send(&self, frame: &Frame<'_>) -> Result<()> {
        let owed = self.exchange.as_ref().map(Exchange::owed).unwrap_or_default();
        let sent = {
            let mut guard = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let (stream, scratch) = &mut *guard;
            let mut give_back =
                owed.into_iter().map(|piece| wire::write_frame(stream, &Frame::Taken { piece }, scratch));
            give_back.try_for_each(|sent| sent).and_then(|()| wire::write_frame(stream, frame, scratch))
        };
        sent.map_err(|error| match self.table().dead.clone() {
            Some(death) => death.into(),
            None => Error::Disconnected(error.to_string()),
        })
    }

    /// Enters a call: its number, and where its events arrive.
    pub(super) fn open(&self, has_output: bool) -> Result<(u32, Sender<Event>, Receiver<Event>)> {
        let (sender, receiver) = mpsc::channel();
        let mut table = self.table();
        if let Some(death) = &table.dead {
            return Err(death.clone().into());
        }
        let mut id = table.next;
        while table.open.contains_key(&id) {
            id = id.wrapping_add(1);
        }
        table.next = id.wrapping_add(1);
        let credit = if has_output { WINDOW } else { 0 };
        let pending = Pending { events: Some(sender.clone()), credit, has_output, reply: Vec::new() };
        table.open.insert(id, pending);
        Ok((id, sender, receiver))
    }

    /// The caller does not wait any more; what still comes for the call is dropped.
    pub(super) fn abandon(&self, id: u32) {
        if let Some(pending) = self.table().open.get_mut(&id) {
            pending.events = None;
        }
    }

    /// Gives the agent credit for what was used up.
    pub(super) fn grant(&self, id: u32, bytes: u64) -> Result<()> {
        if let Some(pending) = self.table().open.get_mut(&id) {
            pending.credit = pending.credit.saturating_add(bytes);
        }
        self.send(&Frame::Credit { id, bytes })
    }

    /// Why no more events come.
    pub(super) fn death(&self) -> Error {
        match self.table().dead.clone() {
            Some(death) => death.into(),
            None => Error::Disconnected("It does not answer any more".into()),
        }
    }

    /// The reader's thread.
    fn read_all(&self, mut stream: UnixStream) {
        let mut buffer = Vec::new();
        let death = loop {
            match wire::read_frame(&mut stream, &mut buffer) {
                Ok(Some(frame)) => {
                    if let Err(what) = self.hand_out(frame) {
                        break Death::Protocol(what);
                    }
                }
                Ok(None) => break Death::Gone("It closed the connection".into()),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    break Death::Protocol(error.to_string());
                }
                Err(error) => break Death::Gone(error.to_string()),
            }
        };
        // First the reason, then the end: who wakes up because its events are over finds the reason there.
        let mut table = self.table();
        table.dead = Some(death);
        for pending in table.open.drain().filter_map(|(_, pending)| pending.events) {
            let _ = pending.send(Event::Gone);
        }
        drop(table);
        self.closed.notify_all();
        let _ = stream.shutdown(Shutdown::Both);
    }

    /// The agent has emptied a piece of ours: whose call filled it, can fill it again.
    fn piece_returned(&self, piece: u32) -> std::result::Result<(), String> {
        let exchange = self.exchange.as_ref();
        let Some((exchange, call)) = exchange.and_then(|e| Some((e, e.returned(piece)?))) else {
            return Err(format!("Piece {piece} was given back, which the agent does not have"));
        };
        let table = self.table();
        let events = table.open.get(&call).and_then(|pending| pending.events.as_ref());
        if events.is_none_or(|events| events.send(Event::Returned(piece)).is_err()) {
            exchange.release(call, piece);
        }
        Ok(())
    }

    /// Nobody looks at a piece of the agent's any more.
    pub(super) fn give_back_later(&self, piece: u32) {
        if let Some(exchange) = &self.exchange {
            exchange.emptied(piece);
            exchange.owe(piece);
        }
    }

    /// Checks one frame and gives it to its caller; says what is wrong with it.
    fn hand_out(&self, frame: Frame<'_>) -> std::result::Result<(), String> {
        let (id, last) = match &frame {
            Frame::Taken { piece } => return self.piece_returned(*piece),
            Frame::Piece { id, .. } => (*id, false),
            Frame::Data { id, .. } | Frame::Credit { id, .. } | Frame::Progress { id, .. } => (*id, false),
            Frame::Reply { id, last, .. } => (*id, *last),
            Frame::Error { id, .. } => (*id, true),
            other => return Err(format!("A frame that only the host may send: {other:?}")),
        };
        let mut table = self.table();
        let Some(pending) = table.open.get_mut(&id) else {
            return Err(format!("An answer to call {id}, which does not run"));
        };
        let event = match frame {
            Frame::Data { bytes, .. } => {
                pending.credit = pending
                    .credit
                    .checked_sub(bytes.len() as u64)
                    .ok_or_else(|| format!("More data for call {id} than it has credit for"))?;
                Event::Data(bytes.to_vec())
            }
            Frame::Piece { piece, length, .. } => {
                let exchange = self.exchange.as_ref().filter(|_| pending.has_output);
                if !exchange.is_some_and(|exchange| exchange.received(id, piece, length)) {
                    return Err(format!("A piece for call {id} that it cannot have sent"));
                }
                if pending.events.is_none() {
                    self.give_back_later(piece);
                }
                Event::Piece { piece, length }
            }
            Frame::Credit { bytes, .. } => Event::Credit(bytes),
            Frame::Progress { position, total, .. } => Event::Progress(Progress { position, total }),
            Frame::Reply { part, .. } => {
                if pending.reply.len().saturating_add(part.len()) > MAX_REPLY {
                    return Err(format!("A result of more than {MAX_REPLY} bytes for call {id}"));
                }
                pending.reply.extend_from_slice(part);
                if !last {
                    return Ok(());
                }
                Event::Reply(std::mem::take(&mut pending.reply))
            }
            Frame::Error { failure, .. } => Event::Failed(failure.into()),
            _ => return Ok(()),
        };
        // A caller that has gone since is no fault of the agent.
        if let Some(events) = &pending.events
            && let Err(unheard) = events.send(event)
            && let Event::Piece { piece, .. } = unheard.0
        {
            self.give_back_later(piece);
        }
        if last {
            table.open.remove(&id);
        }
        Ok(())
    }
}
