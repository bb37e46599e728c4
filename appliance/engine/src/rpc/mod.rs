//! Speaking to the agent in a booted appliance.
//!
//! [`Client`] is the agent's actions over a connected byte stream, whoever connected it. Nothing that comes
//! from the agent is believed: sizes, call numbers and credit are checked, and the first frame that is wrong
//! ends the connection.

mod call;
mod client;
mod exchange;

pub use client::Client;
pub(crate) use exchange::memory as exchange_memory;
