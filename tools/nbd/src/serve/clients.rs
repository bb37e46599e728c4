//! Clients come, are served, and go: how many at once, for how long they may hesitate, and when it is over.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nbd_protocol::server::{Counters, Exports, HandshakeError, Outcome, Session, Terms, negotiate, transmit};
use nbd_protocol::stream::Stream;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SocketFlags;
use serde_json::{Value, json};

use super::ip::{Doorman, Origin};

/// How long clients may take to read their last answers when the server stops.
const GRACE: Duration = Duration::from_secs(5);

/// What a server allows.
pub(super) struct Rules {
    /// Clients at once; `None` for any number.
    pub(super) most: Option<usize>,
    /// The server stays when the last client has left.
    pub(super) persistent: bool,
    /// How long a client may take to choose an export.
    pub(super) patience: Option<Duration>,
    /// What is said about clients.
    pub(super) verbose: bool,
    /// Who may come.
    pub(super) doorman: Doorman,
}

/// A client, as far as others have to know it.
struct Client {
    /// Its connection, under a descriptor of its own.
    stream: Arc<Stream>,
    from: Origin,
    since: Instant,
    negotiated: bool,
    /// What it has chosen.
    export: String,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct State {
    clients: BTreeMap<u64, Client>,
    stopping: bool,
}

/// All clients of a server.
pub(super) struct House {
    rules: Rules,
    /// What is served, for people.
    image: String,
    exports: Arc<dyn Exports>,
    terms: Terms,
    state: Mutex<State>,
    changed: Condvar,
    next: AtomicU64,
    /// Wakes the thread that accepts.
    bell: (OwnedFd, OwnedFd),
}

impl House {
    /// Will serve `exports`.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub(super) fn new(
        image: String,
        exports: Arc<dyn Exports>,
        terms: Terms,
        rules: Rules,
    ) -> io::Result<Arc<Self>> {
        let bell =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK)?;
        Ok(Arc::new(House {
            rules,
            image,
            exports,
            terms,
            state: Mutex::default(),
            changed: Condvar::new(),
            next: AtomicU64::new(0),
            bell,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        // A full pipe rings as well.
        let _ = rustix::io::write(&self.bell.1, b"!");
    }

    /// No more clients, and an end for those that are here: what they sent is done and answered.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.stopping = true;
        for client in state.clients.values() {
            client.stream.end_input();
        }
        drop(state);
        self.ring();
        self.changed.notify_all();
    }

    /// Accepts clients from `sockets` until it is over.
    ///
    /// # Errors
    /// When nobody can be accepted any more.
    pub(super) fn accept(self: &Arc<Self>, sockets: &[&OwnedFd]) -> io::Result<()> {
        for socket in sockets {
            rustix::io::ioctl_fionbio(*socket, true)?;
        }
        loop {
            let (full, wait) = {
                let state = self.state();
                if state.stopping {
                    return Ok(());
                }
                let full = self.rules.most.is_some_and(|most| state.clients.len() >= most);
                (full, self.hesitating(&state))
            };
            let mut fds = vec![PollFd::new(&self.bell.0, PollFlags::IN)];
            if !full {
                fds.extend(sockets.iter().map(|socket| PollFd::new(*socket, PollFlags::IN)));
            }
            let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
            match poll(&mut fds, wait.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let ready: Vec<bool> = fds.iter().skip(1).map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            let mut buffer = [0; 64];
            let _ = rustix::io::read(&self.bell.0, &mut buffer);
            for (socket, _) in sockets.iter().zip(&ready).filter(|(_, ready)| **ready) {
                match rustix::net::accept_with(*socket, SocketFlags::CLOEXEC) {
                    Ok(connection) => self.welcome(connection)?,
                    // Gone already, or taken by another process; or out of descriptors, which will pass.
                    Err(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE | rustix::io::Errno::NOBUFS) => {
                        std::thread::sleep(Duration::from_millis(100));
                    }
                    Err(_) => {}
                }
            }
        }
    }

    /// Ends clients that cannot make up their mind. Returns when to look again.
    fn hesitating(&self, state: &State) -> Option<Duration> {
        let patience = self.rules.patience?;
        let mut soonest = None;
        for client in state.clients.values().filter(|client| !client.negotiated) {
            match patience.checked_sub(client.since.elapsed()) {
                None | Some(Duration::ZERO) => client.stream.shutdown(),
                Some(left) => soonest = Some(soonest.map_or(left, |soonest: Duration| soonest.min(left))),
            }
        }
        // Those just ended need a moment.
        soonest.map(|soonest| soonest + Duration::from_millis(1))
    }

    fn welcome(self: &Arc<Self>, connection: OwnedFd) -> io::Result<()> {
        // Its end can be ordered from outside, by a descriptor of the same socket.
        let outside = Arc::new(Stream::socket(connection.as_fd().try_clone_to_owned()?));
        self.admit(Stream::socket(connection), outside)
    }

    /// Serves the client behind `stream` in a thread of its own.
    pub(super) fn admit(self: &Arc<Self>, stream: Stream, outside: Arc<Stream>) -> io::Result<()> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let from = Origin::of(outside.input());
        if !self.rules.doorman.lets_in(from) {
            self.say(id, &format!("{from} may not connect"));
            return Ok(());
        }
        let counters = Arc::new(Counters::default());
        let client = Client {
            stream: outside,
            from,
            since: Instant::now(),
            negotiated: false,
            export: String::new(),
            counters: Arc::clone(&counters),
        };
        self.state().clients.insert(id, client);
        let house = Arc::clone(self);
        let spawned = std::thread::Builder::new().name(format!("nbd-client-{id}")).spawn(move || {
            let negotiated = house.serve(id, stream, &counters);
            house.leave(id, negotiated);
        });
        if spawned.is_err() {
            // No thread for it: it sees a connection that closes.
            self.leave(id, false);
        }
        Ok(())
    }

    fn leave(&self, id: u64, negotiated: bool) {
        let mut state = self.state();
        state.clients.remove(&id);
        if negotiated && state.clients.is_empty() && !self.rules.persistent {
            state.stopping = true;
        }
        drop(state);
        self.ring();
        self.changed.notify_all();
    }

    /// Serves one client from the first byte to the last. True if it came to transmission.
    fn serve(&self, id: u64, stream: Stream, counters: &Counters) -> bool {
        let (session, stream): (Box<Session>, _) = match negotiate(stream, &*self.exports, &self.terms) {
            Ok(Outcome::Transmission(session, stream)) => (session, stream),
            Ok(Outcome::Finished) => return false,
            Err(HandshakeError::Io(error)) if error.get_ref().is_none() => {
                self.say(id, "left during the handshake");
                return false;
            }
            Err(HandshakeError::Io(error)) if cli::plays_peer() => {
                eprintln!("{}: option negotiation failed: {error}", cli::program());
                return false;
            }
            Err(error) => {
                self.say(id, &libimage::error::describe(&error));
                return false;
            }
        };
        {
            let mut state = self.state();
            if state.stopping {
                stream.end_input();
            }
            if let Some(client) = state.clients.get_mut(&id) {
                client.negotiated = true;
                client.export.clone_from(&session.name);
            }
        }
        match transmit(&session, &stream, counters) {
            Ok(_) => {}
            Err(error) => self.say(id, &libimage::error::describe(&error)),
        }
        stream.shutdown();
        true
    }

    fn say(&self, id: u64, text: &str) {
        if self.rules.verbose {
            eprintln!("{}: client {id}: {text}", cli::program());
        }
    }

    /// Who is here and what they did, as JSON.
    pub(super) fn report(&self) -> Value {
        let state = self.state();
        let clients = state.clients.iter().map(|(id, client)| {
            let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let done = &*client.counters;
            json!({
                "id": id,
                "from": client.from.to_string(),
                "export": client.export,
                "seconds": client.since.elapsed().as_secs(),
                "reads": number(&done.reads),
                "read-bytes": number(&done.read_bytes),
                "writes": number(&done.writes),
                "written-bytes": number(&done.written_bytes),
                "others": number(&done.others),
                "failed": number(&done.failed),
            })
        });
        let clients: Vec<Value> = clients.collect();
        json!({ "pid": std::process::id(), "image": self.image, "clients": clients })
    }

    /// Waits until the last client has left; those that do not read their answers are given up after a while.
    pub(super) fn wait_for_clients(&self) {
        let begin = Instant::now();
        let mut state = self.state();
        while !state.clients.is_empty() {
            let (back, _) = self
                .changed
                .wait_timeout(state, Duration::from_millis(200))
                .unwrap_or_else(PoisonError::into_inner);
            state = back;
            if begin.elapsed() > GRACE {
                for client in state.clients.values() {
                    client.stream.shutdown();
                }
            }
        }
    }
}
