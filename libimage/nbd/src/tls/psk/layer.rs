//! A connection whose peers share a key, once the handshake is over.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::handshake::whole_message;
use super::hello::kind;
use super::parser::message;
use super::record::{Incoming, LARGEST, Outgoing, content};
use crate::stream::{Layer, Wire};
use crate::tls::failure::Alert;

/// What is encrypted before it is given to the wire.
const AT_ONCE: usize = 4 * LARGEST;
/// Records without content that a peer may send in a row.
const MAX_EMPTY: usize = 32;

/// Both directions of the connection.
pub(super) struct SharedKey {
    reader: Mutex<Reader>,
    writer: Mutex<Writer>,
    /// The peer wants this side's keys to be renewed.
    renewal_wanted: AtomicBool,
}

struct Reader {
    incoming: Incoming,
    /// Plain bytes that nobody has taken, from `taken` on.
    plain: Vec<u8>,
    taken: usize,
    /// The front of a message about the connection itself.
    pending: Vec<u8>,
    ended: bool,
}

struct Writer {
    outgoing: Outgoing,
    sealed: Vec<u8>,
    closed: bool,
}

impl SharedKey {
    pub(super) fn new(incoming: Incoming, outgoing: Outgoing) -> Self {
        let reader = Reader { incoming, plain: Vec::new(), taken: 0, pending: Vec::new(), ended: false };
        let writer = Writer { outgoing, sealed: Vec::new(), closed: false };
        SharedKey {
            reader: Mutex::new(reader),
            writer: Mutex::new(writer),
            renewal_wanted: AtomicBool::new(false),
        }
    }

    #[cfg(test)]
    pub(super) fn renew_after(&self, records: u64) {
        lock(&self.writer).outgoing.renew_after(records);
    }

    fn receive(&self, reader: &mut Reader, wire: &Wire, buf: &mut [u8]) -> io::Result<usize> {
        for _ in 0..MAX_EMPTY {
            let Some((kind, payload)) = reader.incoming.next(wire)? else { return Ok(0) };
            match (kind, payload) {
                (content::DATA, []) => {}
                (content::DATA, payload) => {
                    let (now, later) = payload.split_at(payload.len().min(buf.len()));
                    let place = buf.get_mut(..now.len()).unwrap_or_default();
                    place.copy_from_slice(now);
                    reader.plain.clear();
                    reader.plain.extend_from_slice(later);
                    reader.taken = 0;
                    return Ok(now.len());
                }
                (content::HANDSHAKE, [_, ..]) => {
                    reader.pending.extend_from_slice(payload);
                    self.messages(reader)?;
                }
                (content::ALERT, [_, reason]) => match Alert(*reason) {
                    Alert::CLOSE_NOTIFY | Alert::USER_CANCELED => return Ok(0),
                    alert => return Err(alert.received()),
                },
                _ => {
                    return Err(
                        Alert::UNEXPECTED_MESSAGE.error("The peer sent a record that has no place here")
                    );
                }
            }
        }
        Err(Alert::UNEXPECTED_MESSAGE.error("The peer sends nothing, again and again"))
    }

    /// Deals with what the peer says about the connection.
    fn messages(&self, reader: &mut Reader) -> io::Result<()> {
        while let Some(found) = whole_message(&reader.pending)? {
            let length = found.len();
            match found {
                // An offer to continue later; there is no need, the key is shared.
                [kind::NEW_SESSION_TICKET, ..] => {}
                [kind::KEY_UPDATE, 0, 0, 1, wanted @ (0 | 1)] => {
                    if *wanted == 1 {
                        self.renewal_wanted.store(true, Ordering::Release);
                    }
                    if reader.pending.len() > length {
                        return Err(
                            Alert::UNEXPECTED_MESSAGE.error("The peer renewed its keys in the middle")
                        );
                    }
                    reader.incoming.renew()?;
                }
                _ => {
                    return Err(
                        Alert::UNEXPECTED_MESSAGE.error("The peer sent a message that has no place here")
                    );
                }
            }
            reader.pending.drain(..length);
        }
        Ok(())
    }

    /// Encrypts `bufs` up to [`AT_ONCE`] bytes, and leaves in `bufs` what is to come.
    fn seal(&self, writer: &mut Writer, bufs: &mut &mut [IoSlice<'_>]) -> io::Result<()> {
        writer.sealed.clear();
        let mut gathered = Vec::new();
        let mut total = 0;
        while !bufs.is_empty() && total < AT_ONCE {
            if writer.outgoing.is_worn() || self.renewal_wanted.swap(false, Ordering::AcqRel) {
                let update = message(kind::KEY_UPDATE, |out| out.push(0));
                writer.outgoing.seal(content::HANDSHAKE, &update, &mut writer.sealed)?;
                writer.outgoing.renew()?;
            }
            let first = bufs.first().map_or(&[][..], |buf| buf);
            let taken = if first.len() >= LARGEST || bufs.len() == 1 {
                let piece = first.get(..first.len().min(LARGEST)).unwrap_or_default();
                writer.outgoing.seal(content::DATA, piece, &mut writer.sealed)?;
                piece.len()
            } else {
                gathered.clear();
                for buf in bufs.iter() {
                    let room = LARGEST - gathered.len();
                    gathered.extend_from_slice(buf.get(..buf.len().min(room)).unwrap_or_default());
                }
                writer.outgoing.seal(content::DATA, &gathered, &mut writer.sealed)?;
                gathered.len()
            };
            IoSlice::advance_slices(bufs, taken);
            total += taken;
        }
        Ok(())
    }
}

impl Layer for SharedKey {
    fn read(&self, wire: &Wire, buf: &mut [u8]) -> io::Result<usize> {
        let reader = &mut *lock(&self.reader);
        let rest = reader.plain.get(reader.taken..).unwrap_or_default();
        if !rest.is_empty() || buf.is_empty() {
            let count = rest.len().min(buf.len());
            let (place, rest) =
                (buf.get_mut(..count).unwrap_or_default(), rest.get(..count).unwrap_or_default());
            place.copy_from_slice(rest);
            reader.taken += count;
            return Ok(count);
        }
        if reader.ended {
            return Ok(0);
        }
        let result = self.receive(reader, wire, buf);
        // What follows an end or an error is not to be trusted.
        reader.ended = !matches!(result, Ok(1..));
        if let Some(Alert(reason)) = result.as_ref().err().and_then(Alert::of)
            && let Ok(mut writer) = self.writer.try_lock()
        {
            writer.last_word(wire, reason);
        }
        result
    }

    fn write_vectored(&self, wire: &Wire, mut bufs: &mut [IoSlice<'_>]) -> io::Result<()> {
        let writer = &mut *lock(&self.writer);
        IoSlice::advance_slices(&mut bufs, 0);
        while !bufs.is_empty() {
            if writer.closed {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.seal(writer, &mut bufs)?;
            if let Err(error) = wire.write_all(&writer.sealed) {
                writer.closed = true;
                return Err(error);
            }
        }
        Ok(())
    }

    fn close(&self, wire: &Wire) {
        if let Ok(mut writer) = self.writer.try_lock() {
            writer.last_word(wire, Alert::CLOSE_NOTIFY.0);
        }
    }
}

impl Writer {
    fn last_word(&mut self, wire: &Wire, reason: u8) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        let level = if reason == Alert::CLOSE_NOTIFY.0 { 1 } else { 2 };
        self.sealed.clear();
        if self.outgoing.seal(content::ALERT, &[level, reason], &mut self.sealed).is_ok() {
            wire.try_write(&self.sealed);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
