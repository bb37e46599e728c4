//! Memory for the data of requests, used again: large pieces fresh from the system cost as much as the work itself.

use std::sync::{Mutex, PoisonError};

/// Pieces that are kept, and their largest size.
const KEPT: usize = 16;
const LARGEST: usize = 512 * 1024;

/// Pieces of memory that nobody uses at the moment.
#[derive(Default)]
pub(super) struct Buffers {
    free: Mutex<Vec<Vec<u8>>>,
}

impl Buffers {
    /// A piece of at least `length` bytes, with anything in it.
    pub(super) fn take(&self, length: usize) -> Vec<u8> {
        let found = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffer = found.unwrap_or_default();
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        buffer
    }

    /// Takes it back.
    pub(super) fn give(&self, buffer: Vec<u8>) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT && buffer.len() <= LARGEST {
            free.push(buffer);
        }
    }
}
