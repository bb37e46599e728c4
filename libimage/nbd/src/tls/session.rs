//! A connection that rustls encrypts. Its lock is held while bytes are encrypted or decrypted, never while the wire is
//! waited for.

use std::io::{self, IoSlice, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::Connection;

use super::failure::{broken, closed};
use crate::stream::{Layer, Wire};

/// What is read from the wire at once.
const ROOM: usize = 64 * 1024;
/// Rounds that a handshake may take; it takes three.
const MAX_ROUNDS: usize = 1000;

/// Both directions of the connection.
pub(super) struct Session {
    connection: Mutex<Connection>,
    incoming: Mutex<Incoming>,
    /// Records in the order in which they were encrypted.
    outgoing: Mutex<Vec<u8>>,
}

/// Encrypted bytes that came in.
struct Incoming {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Incoming {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }
}

impl Session {
    /// Carries out the handshake.
    pub(super) fn begin(mut connection: Connection, wire: &Wire) -> io::Result<Self> {
        let mut pipe = Pipe(wire);
        for _ in 0..MAX_ROUNDS {
            while connection.wants_write() {
                if let Err(error) = connection.write_tls(&mut pipe) {
                    return Err(last_word(&mut connection, &mut pipe).unwrap_or_else(|| closed(error)));
                }
            }
            if !connection.is_handshaking() {
                return Ok(Session {
                    connection: Mutex::new(connection),
                    incoming: Mutex::new(Incoming { bytes: vec![0; ROOM], start: 0, end: 0 }),
                    outgoing: Mutex::new(Vec::new()),
                });
            }
            if connection.read_tls(&mut pipe).map_err(closed)? == 0 {
                return Err(closed(io::ErrorKind::BrokenPipe.into()));
            }
            if let Err(error) = connection.process_new_packets() {
                // The peer is told why, if it still listens.
                let mut out = Vec::new();
                let _ = connection.write_tls(&mut out);
                wire.try_write(&out);
                return Err(failed(&error));
            }
        }
        Err(broken("TLS: the peer's handshake does not end"))
    }
}

impl Session {
    /// The certificate of the peer in DER's form, if it has shown one.
    pub(super) fn peer(&self) -> Option<Vec<u8>> {
        lock(&self.connection).peer_certificates()?.first().map(|certificate| certificate.to_vec())
    }
}

/// Why the peer does not listen any more, if it said so before it left.
fn last_word(connection: &mut Connection, pipe: &mut Pipe<'_>) -> Option<io::Error> {
    while connection.read_tls(pipe).ok()? > 0 {
        if let Err(error) = connection.process_new_packets() {
            return Some(failed(&error));
        }
    }
    None
}

fn failed(error: &rustls::Error) -> io::Error {
    broken(&format!("TLS: {error}"))
}

impl Layer for Session {
    fn read(&self, wire: &Wire, buf: &mut [u8]) -> io::Result<usize> {
        let incoming = &mut *lock(&self.incoming);
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            let mut connection = lock(&self.connection);
            match connection.reader().read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Many peers close without a word; what NBD has to say has its own ends.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                other => return other,
            }
            let mut rest = incoming.rest();
            if rest.is_empty() {
                drop(connection);
                incoming.start = 0;
                incoming.end = wire.read(&mut incoming.bytes)?;
                if incoming.end == 0 {
                    return Ok(0);
                }
                continue;
            }
            incoming.start += connection.read_tls(&mut rest)?;
            if let Err(error) = connection.process_new_packets() {
                let mut out = Vec::new();
                let _ = connection.write_tls(&mut out);
                drop(connection);
                if self.outgoing.try_lock().is_ok() {
                    wire.try_write(&out);
                }
                return Err(failed(&error));
            }
        }
    }

    fn write_vectored(&self, wire: &Wire, mut bufs: &mut [IoSlice<'_>]) -> io::Result<()> {
        let out = &mut *lock(&self.outgoing);
        IoSlice::advance_slices(&mut bufs, 0);
        while !bufs.is_empty() {
            out.clear();
            let mut connection = lock(&self.connection);
            let count = connection.writer().write_vectored(bufs)?;
            while connection.wants_write() {
                connection.write_tls(out)?;
            }
            drop(connection);
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut bufs, count);
            wire.write_all(out)?;
        }
        Ok(())
    }

    fn close(&self, wire: &Wire) {
        if let Ok(mut out) = self.outgoing.try_lock() {
            out.clear();
            let mut connection = lock(&self.connection);
            connection.send_close_notify();
            let _ = connection.write_tls(&mut *out);
            drop(connection);
            wire.try_write(&out);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The wire, as rustls reads and writes it.
struct Pipe<'a>(&'a Wire);

impl Read for Pipe<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write_all(buf)?;
        Ok(buf.len())
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let whole: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        self.write(&whole)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
