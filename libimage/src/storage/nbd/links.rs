//! The connections to one server: opened when they are needed, and again when they are lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nbd_protocol::client::{Connection, Error, ExportInfo, Result, Wishes, connect, negotiate};
use nbd_protocol::wire::Flags;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::NbdOptions;

/// The first pause between two attempts to connect, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A server that has no time for a further connection within this gets none.
const FURTHER: Duration = Duration::from_secs(2);

/// All connections.
pub(super) struct Links {
    options: NbdOptions,
    info: ExportInfo,
    first: Link,
    others: Vec<Link>,
    /// How many of the others may be used.
    allowed: AtomicUsize,
}

/// A place for a connection.
#[derive(Default)]
struct Link {
    connection: Mutex<Option<Arc<Connection>>>,
    /// Requests under way.
    users: AtomicUsize,
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Connection>>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request's use of a link.
struct Use<'a> {
    link: &'a Link,
}

impl Drop for Use<'_> {
    fn drop(&mut self) {
        self.link.users.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Links {
    /// Opens the first connection.
    pub(super) fn open(options: NbdOptions) -> Result<(Self, Arc<Connection>)> {
        let first = Arc::new(patiently(options.open_timeout, || attempt(&options, None))?);
        let info = first.info().clone();
        let others = match info.flags.has(Flags::MULTI_CONN) {
            true => options.connections.saturating_sub(1),
            false => 0,
        };
        let link = Link { connection: Mutex::new(Some(Arc::clone(&first))), users: AtomicUsize::new(0) };
        let links = Links {
            options,
            info,
            first: link,
            others: (0..others).map(|_| Link::default()).collect(),
            allowed: AtomicUsize::new(others),
        };
        Ok((links, first))
    }

    /// A connection that nobody can open again.
    pub(super) fn only(options: NbdOptions, connection: Connection) -> (Self, Arc<Connection>) {
        let first = Arc::new(connection);
        let link = Link { connection: Mutex::new(Some(Arc::clone(&first))), users: AtomicUsize::new(0) };
        let options = NbdOptions { reconnect_delay: Duration::ZERO, ..options };
        let info = first.info().clone();
        (Links { options, info, first: link, others: Vec::new(), allowed: AtomicUsize::new(0) }, first)
    }

    /// Does something with a connection, and once more with a new one if that is lost and may be replaced.
    pub(super) fn run<T>(&self, mut action: impl FnMut(&Connection) -> Result<T>) -> Result<T> {
        let mut deadline = None;
        loop {
            let used = self.choose();
            let connection = self.connection(used.link)?;
            let error = match action(&connection) {
                Err(error) if error.is_lost() => error,
                other => return other,
            };
            let delay = self.options.reconnect_delay;
            let until = *deadline.get_or_insert_with(|| Instant::now() + delay);
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(error);
            }
            let mut current = used.link.lock();
            // Perhaps somebody else was faster.
            if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &connection)) {
                let again = patiently(left, || self.same(attempt(&self.options, None)?));
                *current = Some(Arc::new(again.map_err(|_| error)?));
            }
        }
    }

    /// The link with the least to do.
    fn choose(&self) -> Use<'_> {
        let allowed = self.allowed.load(Ordering::Relaxed);
        let users = |link: &Link| link.users.load(Ordering::Relaxed);
        let link = self
            .others
            .iter()
            .take(allowed)
            .fold(&self.first, |least, link| if users(link) < users(least) { link } else { least });
        link.users.fetch_add(1, Ordering::Relaxed);
        Use { link }
    }

    /// The connection of a link, opened if it is not. A further one that the server does not want is done without.
    fn connection(&self, link: &Link) -> Result<Arc<Connection>> {
        let mut current = link.lock();
        if let Some(connection) = &*current {
            return Ok(Arc::clone(connection));
        }
        if let Ok(connection) = attempt(&self.options, Some(FURTHER)).and_then(|c| self.same(c)) {
            let connection = Arc::new(connection);
            *current = Some(Arc::clone(&connection));
            return Ok(connection);
        }
        drop(current);
        // The first one is there since `open`.
        self.allowed.store(0, Ordering::Relaxed);
        let first = self.first.lock().clone();
        first.ok_or_else(|| Error::Invalid("The connection is gone".to_owned()))
    }

    /// Refuses what is not the export that was opened.
    fn same(&self, connection: Connection) -> Result<Connection> {
        let info = connection.info();
        if info.size != self.info.size
            || info.flags.without(Flags::MULTI_CONN) != self.info.flags.without(Flags::MULTI_CONN)
        {
            return Err(Error::Invalid("The export is another one than before".to_owned()));
        }
        Ok(connection)
    }
}

/// Connects once. With a `limit` the server has to answer within that time.
fn attempt(options: &NbdOptions, limit: Option<Duration>) -> Result<Connection> {
    let stream = connect(&options.target)?;
    if limit.is_some() {
        let _ = set_socket_timeout(stream.input(), Timeout::Recv, limit);
    }
    let mut wishes = Wishes::new(&options.export);
    wishes.contexts = options.context.iter().cloned().collect();
    wishes.tls.clone_from(&options.tls);
    let connection = negotiate(stream, &wishes)?;
    if limit.is_some() {
        connection.wait_without_limit();
    }
    Ok(connection)
}

/// Tries until it works or the time is over.
fn patiently<T>(time: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match attempt() {
            Err(error) => error,
            done => return done,
        };
        let left = time.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err(error);
        }
        sleep(pause.min(left));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
