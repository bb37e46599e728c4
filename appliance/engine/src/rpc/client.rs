//! The connection: one thread reads and hands out, callers write.
//!
//! Lock order: none. The table of calls and the writer are never locked at the same time, so a caller that
//! waits for a slow stream does not hold up the reader, which is what empties it.

use guestd_api::wire::{self, Frame, MAX_REPLY, WINDOW};
use guestd_api::{Actions, Call, Context, Error, Failure, Progress, Result, Value};
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
    /// The answer so far.
    reply: Vec<u8>,
}

/// What the reader tells a caller.
pub(super) enum Event {
    Data(Vec<u8>),
    Credit(u64),
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
        let gone = |what: &'static str| move |e: io::Error| Error::Disconnected(format!("{what}: {e}"));
        let mut reader = stream.try_clone().map_err(gone("Could not set up the connection"))?;
        greet(&mut reader, patience)?;
        let writer = stream.try_clone().map_err(gone("Could not set up the connection"))?;
        let link = Arc::new(Link {
            stream,
            writer: Mutex::new((writer, Vec::new())),
            table: Mutex::default(),
            closed: Condvar::new(),
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
        let sent = {
            let mut guard = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let (stream, scratch) = &mut *guard;
            wire::write_frame(stream, frame, scratch)
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
        table.open.insert(id, Pending { events: Some(sender.clone()), credit, reply: Vec::new() });
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

    /// Checks one frame and gives it to its caller; says what is wrong with it.
    fn hand_out(&self, frame: Frame<'_>) -> std::result::Result<(), String> {
        let (id, last) = match &frame {
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
        if let Some(events) = &pending.events {
            let _ = events.send(event);
        }
        if last {
            table.open.remove(&id);
        }
        Ok(())
    }
}
