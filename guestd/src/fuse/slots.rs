//! Requests whose data goes through the exchange: a port moves it in pages, a disk in hundreds of kilobytes.

use super::request::Request;
use super::tree::{Answer, Done, Tree};
use crate::exchange::{Aligned, Exchange};
use guestd_api::fuse::{ReadIn, SlotIn, SlotOut, WriteIn};
use rustix::io::Errno;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// The exchange, and room for what comes out of it and goes into it.
pub(super) struct Slots {
    exchange: Arc<Exchange>,
    /// Room that nobody uses. There is never more than the host has slots to lend.
    rooms: Mutex<Vec<Aligned>>,
}

impl Slots {
    pub(super) fn new(exchange: Arc<Exchange>) -> Self {
        Slots { exchange, rooms: Mutex::default() }
    }

    /// Does something that needs room.
    fn with_room<T>(
        &self,
        work: impl FnOnce(&Exchange, &mut Aligned) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let spare = self.rooms.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut room = spare.unwrap_or_else(Aligned::for_slot);
        let done = work(&self.exchange, &mut room);
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner).push(room);
        done
    }
}

impl Tree {
    /// Reads from a file into a slot.
    pub(super) fn read_slot(&self, request: &mut Request<'_>, answer: &mut Answer) -> Done {
        let wanted: ReadIn = request.take()?;
        let SlotIn { slot, .. } = request.take()?;
        let done = self.slots.with_room(|exchange, room| {
            let bytes = room.bytes().get_mut(..wanted.size as usize).ok_or(Errno::INVAL)?;
            let done = self.read_into(request.header.nodeid, &wanted, bytes)?;
            exchange.fill_slot(slot, room, done).map_err(|error| errno(&error))?;
            Ok(done)
        })?;
        answer.put(&SlotOut { size: u32::try_from(done).map_err(|_| Errno::INVAL)?, padding: 0 });
        Ok(())
    }

    /// Writes what lies in a slot to a file.
    pub(super) fn write_slot(&self, request: &mut Request<'_>, answer: &mut Answer) -> Done {
        let wanted: WriteIn = request.take()?;
        let SlotIn { slot, .. } = request.take()?;
        self.slots.with_room(|exchange, room| {
            exchange.take_slot(slot, room, wanted.size as usize).map_err(|error| errno(&error))?;
            let data = room.bytes().get(..wanted.size as usize).ok_or(Errno::INVAL)?;
            self.write_from(request.header.nodeid, &wanted, data, answer)
        })
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
