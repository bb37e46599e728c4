//! The host's end of the exchange; see [`guestd_api::exchange`].
//!
//! Every piece has one owner at any time. What the agent says about pieces is checked against that, and
//! bytes are copied out of the exchange before anybody looks at them: the guest may change it at any moment.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use guestd_api::exchange::{PIECE, SIZE, TO_GUEST, TO_HOST, offset};
use libimage::Block;
use libimage::storage::Memory;

/// Pieces that one call may have at a time; the rest is for others.
pub(super) const PIECES_OF_A_CALL: usize = 6;

/// Who has a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// It waits in this process (one of the host's) or with the agent (one of its own).
    Idle,
    /// A call of this process has it, empty or full.
    Call(u32),
    /// The agent has it, on behalf of a call.
    Agent(u32),
}

/// The pieces and the memory that they lie in.
pub(super) struct Exchange {
    memory: Arc<dyn Block>,
    owners: Mutex<Vec<Owner>>,
    /// Pieces to be given back to the agent with the next frame that is sent.
    owed: Mutex<Vec<u32>>,
}

/// The memory for an exchange, to be shown to the guest as a disk.
pub(crate) fn memory() -> Arc<dyn Block> {
    Arc::new(Memory::new(SIZE))
}

impl Exchange {
    pub(super) fn new(memory: Arc<dyn Block>) -> Self {
        let owners = TO_GUEST.chain(TO_HOST).map(|_| Owner::Idle).collect();
        Exchange { memory, owners: Mutex::new(owners), owed: Mutex::default() }
    }

    fn owners(&self) -> MutexGuard<'_, Vec<Owner>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a piece's owner if it is `from`.
    fn pass(&self, piece: u32, from: impl Fn(Owner) -> bool, to: Owner) -> Option<Owner> {
        let mut owners = self.owners();
        let owner = owners.get_mut(usize::try_from(piece).ok()?)?;
        let before = *owner;
        from(before).then(|| *owner = to)?;
        Some(before)
    }

    /// An empty piece for a call, if there is one.
    pub(super) fn claim(&self, call: u32) -> Option<u32> {
        TO_GUEST
            .into_iter()
            .find(|piece| self.pass(*piece, |owner| owner == Owner::Idle, Owner::Call(call)).is_some())
    }

    /// Fills a call's piece for the agent to take.
    pub(super) fn fill(&self, call: u32, piece: u32, bytes: &[u8]) -> libimage::Result<()> {
        self.memory.write_at(bytes, offset(piece))?;
        self.pass(piece, |owner| owner == Owner::Call(call), Owner::Agent(call));
        Ok(())
    }

    /// A call does not need its empty piece any more.
    pub(super) fn release(&self, call: u32, piece: u32) {
        self.pass(piece, |owner| owner == Owner::Call(call), Owner::Idle);
    }

    /// The agent has emptied a piece: the call that filled it, which has it again. `None` if it was not the
    /// agent's to give.
    pub(super) fn returned(&self, piece: u32) -> Option<u32> {
        let mut owners = self.owners();
        let owner = owners.get_mut(usize::try_from(piece).ok()?).filter(|_| TO_GUEST.contains(&piece))?;
        let Owner::Agent(call) = *owner else { return None };
        *owner = Owner::Call(call);
        Some(call)
    }

    /// The agent has filled a piece of its own for a call. False if it lies.
    pub(super) fn received(&self, call: u32, piece: u32, length: u32) -> bool {
        let fits = TO_HOST.contains(&piece) && length > 0 && length as usize <= PIECE;
        fits && self.pass(piece, |owner| owner == Owner::Idle, Owner::Call(call)).is_some()
    }

    /// Copies out what the agent has put into a piece.
    pub(super) fn take(&self, piece: u32, length: u32, into: &mut Vec<u8>) -> libimage::Result<()> {
        into.resize((length as usize).min(PIECE), 0);
        self.memory.read_at(into, offset(piece))
    }

    /// The agent's piece may be filled again; who calls this tells the agent.
    pub(super) fn emptied(&self, piece: u32) {
        self.pass(piece, |owner| matches!(owner, Owner::Call(_)), Owner::Idle);
    }

    /// The agent's piece is to be given back by whoever sends next: its reader must not wait for the writer.
    pub(super) fn owe(&self, piece: u32) {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner).push(piece);
    }

    /// The pieces to be given back.
    pub(super) fn owed(&self) -> Vec<u32> {
        std::mem::take(&mut *self.owed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn every_piece_has_one_owner() {
        let exchange = Exchange::new(memory());
        let pieces: Vec<u32> = std::iter::from_fn(|| exchange.claim(7)).collect();
        assert_eq!(pieces.len(), TO_GUEST.count());
        assert_eq!(exchange.returned(0), None, "the agent does not have it");
        exchange.fill(7, 0, b"abc").unwrap();
        assert_eq!((exchange.returned(0), exchange.returned(0)), (Some(7), None));
        exchange.release(8, 0);
        assert_eq!(exchange.claim(8), None, "another's piece cannot be released");
        exchange.release(7, 0);
        assert_eq!(exchange.claim(8), Some(0));

        let first = TO_HOST.start;
        for (piece, length) in
            [(0, 1), (TO_HOST.end, 1), (u32::MAX, 1), (first, 0), (first, PIECE as u32 + 1)]
        {
            assert!(!exchange.received(1, piece, length), "{piece} {length}");
        }
        assert!(exchange.received(1, first, 3) && !exchange.received(1, first, 3));
        exchange.emptied(first);
        assert!(exchange.received(2, first, 3));
        assert_eq!(exchange.returned(first), None);
    }
}
