//! A connection to a host: frames in, actions as threads, frames out.
//!
//! The reader never waits for an action and actions wait for the writer only, so one slow action holds up
//! nobody. An action that fails, even by a panic, costs its own call. A frame that makes no sense ends the
//! connection, because what follows it cannot be trusted either.

use crate::agent::Agent;
use crate::task::Task;
use crate::worker::Worker;
use guestd_api::exchange::{PIECE, TO_GUEST};
use guestd_api::wire::{self, Frame, MAX_CALL, MAX_CALLS, MAX_REPLY};
use guestd_api::{Call, Failure, Value};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

/// Why serving ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The host closed the connection.
    Closed,
    /// The host wants the machine off.
    Shutdown,
}

/// The way to the host, shared by all actions.
pub(crate) struct Sender {
    writer: Mutex<(Box<dyn Write + Send>, Vec<u8>)>,
    /// Pieces to give back with the next frame: the reader, who found nobody for them, does not write.
    owed: Mutex<Vec<u32>>,
}

impl Sender {
    fn new(writer: Box<dyn Write + Send>) -> Arc<Self> {
        Arc::new(Sender { writer: Mutex::new((writer, Vec::new())), owed: Mutex::default() })
    }

    /// Sends one frame whole.
    pub(crate) fn send(&self, frame: &Frame<'_>) -> io::Result<()> {
        let owed = std::mem::take(&mut *self.owed());
        let mut guard = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let (writer, scratch) = &mut *guard;
        for piece in owed {
            wire::write_frame(writer, &Frame::Taken { piece }, scratch)?;
        }
        wire::write_frame(writer, frame, scratch)
    }

    fn owed(&self) -> std::sync::MutexGuard<'_, Vec<u32>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, id: u32, failure: &Failure) -> io::Result<()> {
        self.send(&Frame::Error { id, failure: failure.into() })
    }

    fn reply(&self, id: u32, value: &Value) -> io::Result<()> {
        let bytes = wire::encode(value)?;
        if bytes.len() > MAX_REPLY {
            let why =
                format!("The result has {} bytes, {MAX_REPLY} are possible: use a download", bytes.len());
            return self.fail(id, &Failure::new(why));
        }
        wire::parts(&bytes).try_for_each(|(last, part)| self.send(&Frame::Reply { id, last, part }))
    }
}

/// A call that is not over.
enum Open {
    /// Its message is still coming.
    Arriving(Vec<u8>),
    /// It runs.
    Running(Arc<Task>),
}

type Calls = Arc<Mutex<HashMap<u32, Open>>>;

/// Serves one host until it goes away.
pub(crate) fn serve(
    agent: &Arc<Agent>,
    reader: impl Read,
    writer: impl Write + Send + 'static,
) -> io::Result<End> {
    let sender = Sender::new(Box::new(writer));
    let calls = Calls::default();
    sender.send(&wire::HELLO)?;
    let end = read_frames(agent, reader, &sender, &calls);
    // Whatever still runs has nobody to answer to.
    let open = std::mem::take(&mut *calls.lock().unwrap_or_else(PoisonError::into_inner));
    for call in open.into_values() {
        if let Open::Running(task) = call {
            task.cancel();
        }
    }
    end
}

fn read_frames(
    agent: &Arc<Agent>,
    reader: impl Read,
    sender: &Arc<Sender>,
    calls: &Calls,
) -> io::Result<End> {
    let mut reader = io::BufReader::with_capacity(wire::MAX_FRAME, reader);
    let mut buffer = Vec::new();
    let mut greeted = false;
    while let Some(frame) = wire::read_frame(&mut reader, &mut buffer)? {
        if !greeted {
            if frame != wire::HELLO {
                // The host compares our hello and says what is wrong in its own words.
                return Err(protocol("the host's program and this agent were not built together"));
            }
            greeted = true;
            continue;
        }
        let mut open = calls.lock().unwrap_or_else(PoisonError::into_inner);
        match frame {
            Frame::Call { id, last, part } => {
                if open.len() >= MAX_CALLS && !open.contains_key(&id) {
                    drop(open);
                    if last {
                        sender.fail(
                            id,
                            &Failure::new(format!("More than {MAX_CALLS} actions at the same time")),
                        )?;
                    }
                    continue;
                }
                let Open::Arriving(bytes) = open.entry(id).or_insert_with(|| Open::Arriving(Vec::new()))
                else {
                    return Err(protocol("the number of a running call was used again"));
                };
                if bytes.len().saturating_add(part.len()) > MAX_CALL {
                    // What still comes is dropped piece by piece; the answer says why.
                    bytes.clear();
                    bytes.shrink_to_fit();
                    open.remove(&id);
                    drop(open);
                    sender.fail(
                        id,
                        &Failure::new(format!("A call may have {MAX_CALL} bytes: use an upload")),
                    )?;
                    continue;
                }
                bytes.extend_from_slice(part);
                if last {
                    let bytes = std::mem::take(bytes);
                    let task = Task::new(id, Arc::clone(sender), agent.exchange());
                    open.insert(id, Open::Running(Arc::clone(&task)));
                    drop(open);
                    start(agent, id, bytes, task, Arc::clone(sender), Arc::clone(calls))?;
                }
            }
            Frame::Data { id, bytes } => {
                if let Some(Open::Running(task)) = open.get(&id)
                    && !task.feed(bytes)
                {
                    return Err(protocol("the host sent more than it had credit for"));
                }
            }
            Frame::Piece { id, piece, length } => match (open.get(&id), usize::try_from(length)) {
                (Some(Open::Running(task)), Ok(length @ 1..=PIECE)) if TO_GUEST.contains(&piece) => {
                    task.feed_piece(piece, length);
                }
                (None, Ok(1..=PIECE)) if TO_GUEST.contains(&piece) => sender.owed().push(piece),
                _ => return Err(protocol("a piece that does not exist")),
            },
            Frame::Taken { piece } => {
                if !agent.exchange().is_some_and(|exchange| exchange.release(piece)) {
                    return Err(protocol("a piece was given back that was not sent"));
                }
            }
            Frame::End { id } => with_running(&open, id, Task::end_input),
            Frame::Credit { id, bytes } => with_running(&open, id, |task| task.credit(bytes)),
            Frame::Cancel { id } => with_running(&open, id, Task::cancel),
            Frame::Shutdown => return Ok(End::Shutdown),
            Frame::Hello { .. } | Frame::Progress { .. } | Frame::Reply { .. } | Frame::Error { .. } => {
                return Err(protocol("a frame that only the agent may send"));
            }
        }
    }
    Ok(End::Closed)
}

/// Frames for calls that are over may still be under way: they are no error.
fn with_running(open: &HashMap<u32, Open>, id: u32, act: impl FnOnce(&Task)) {
    if let Some(Open::Running(task)) = open.get(&id) {
        act(task);
    }
}

fn start(
    agent: &Arc<Agent>,
    id: u32,
    bytes: Vec<u8>,
    task: Arc<Task>,
    sender: Arc<Sender>,
    calls: Calls,
) -> io::Result<()> {
    let agent = Arc::clone(agent);
    let on_failure = (Arc::clone(&sender), Arc::clone(&calls));
    let run = move || {
        let result = match wire::decode::<Call>(&bytes) {
            Ok(call) => {
                drop(bytes);
                run_action(&agent, call, &task)
            }
            Err(error) => Err(Failure::new(format!("The call cannot be read: {error}"))),
        };
        // From here on the number is free; frames that still come for it are dropped.
        calls.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        task.finish();
        // If the host is gone there is nobody to tell.
        let _ = match result {
            Ok(value) => sender.reply(id, &value),
            Err(failure) => sender.fail(id, &failure),
        };
    };
    match std::thread::Builder::new().name("action".into()).stack_size(512 << 10).spawn(run) {
        Ok(_) => Ok(()),
        Err(error) => {
            let (sender, calls) = on_failure;
            calls.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            sender.fail(id, &Failure::io("Could not start a thread for the action", &error))
        }
    }
}

/// Runs one action in this thread. A panic is this action's failure and nobody else's, where the build
/// unwinds.
fn run_action(agent: &Arc<Agent>, call: Call, task: &Arc<Task>) -> Result<Value, Failure> {
    let name = call.name();
    let worker = Worker::start(Arc::clone(agent), Arc::clone(task))?;
    catch_unwind(AssertUnwindSafe(|| guestd_api::dispatch(&worker, call))).unwrap_or_else(|_| {
        Err(Failure::new(format!("The agent failed inside of '{name}'; this is a bug in it")))
    })
}

fn protocol(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("Broken protocol: {what}"))
}
