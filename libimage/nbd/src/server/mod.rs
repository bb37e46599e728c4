//! The server's side: the handshake, and the answers to requests.
//!
//! [`handshake`] agrees with a client upon an export and the form of answers; [`transmission`] then reads requests. What
//! is quick is done by the thread that reads, and its answers go out together with those of the requests behind it; as
//! soon as requests turn out to wait for something, each gets a thread of its connection (`workers`), so that
//! nothing waits for anything but its own disk.

mod answer;
mod buffers;
mod contexts;
mod execute;
mod export;
pub mod handshake;
mod input;
mod output;
mod session;
mod status;
mod transit;
pub mod transmission;
mod workers;

pub use export::{Export, Exports, Refusal, STATE_HOLE, STATE_ZERO, Span, Stored, Zeroes};
pub use handshake::{HandshakeError, Outcome, Security, Terms, negotiate};
pub use session::{Mode, Session};
pub use transit::{Hold, Queued, Transit};
pub use transmission::{Counters, Ended, TransmissionError, transmit};
