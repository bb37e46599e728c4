//! A client: finds a server, agrees with it about an export, and asks for bytes.
//!
//! [`connect`] and [`negotiate`] are all that most users need. [`Handshake`] is the same in steps, for those who only
//! want to know what a server has. A [`Connection`] is used by any number of threads at once, each waiting for its own
//! answer.
//!
//! A server is a stranger: every length that it sends is checked against what was asked before memory is taken or
//! bytes are believed, and a server that breaks the rules loses its connection.

mod address;
mod answer;
mod command;
mod connection;
mod coverage;
mod error;
mod export;
mod handshake;
mod input;
mod option;
mod security;

pub use address::{Target, connect};
pub use answer::{ContextExtents, StatusExtent};
pub use command::Server;
pub use connection::{Connection, ZeroOptions};
pub use error::{Error, Refusal, Result, ServerError, SystemError};
pub use export::{Context, ExportInfo};
pub use handshake::{Greeting, Handshake, Negotiated, Wishes, negotiate};
pub use option::Listed;
pub use security::security;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests;
