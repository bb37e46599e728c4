//! What a client and the server have agreed upon.

use std::sync::Arc;

use super::Export;
use crate::wire::Flags;

/// The form of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// One piece.
    Simple,
    /// Chunks.
    Structured,
    /// Chunks, with lengths of 64 bits.
    Extended,
}

/// The end of a handshake: the transmission begins.
pub struct Session {
    /// The name by which the client asked for it.
    pub name: String,
    /// What is served.
    pub export: Arc<dyn Export>,
    /// The form of answers.
    pub mode: Mode,
    /// What was said about the export.
    pub flags: Flags,
    /// The metadata contexts that the client wants, by their positions in [`Export::contexts`].
    pub contexts: Vec<usize>,
    /// The longest read or write in bytes; a longer one is an error.
    pub max_payload: u64,
}

impl Session {
    /// A connection that begins with the transmission, as a kernel has it that was told all by other means.
    pub fn plain(export: Arc<dyn Export>) -> Self {
        let flags = export.flags() | Flags::HAS_FLAGS;
        let max_payload = u64::from(export.block_sizes().maximum);
        Session { name: String::new(), export, mode: Mode::Simple, flags, contexts: Vec::new(), max_payload }
    }

    /// Requests and answers have extended headers.
    pub(super) fn is_extended(&self) -> bool {
        self.mode == Mode::Extended
    }
}
