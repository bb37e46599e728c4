//! `nbd serve`: the protocol byte by byte beside qemu-nbd, command lines beside qemu-nbd, real clients, and clients
//! that mean no good.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod clients;
mod hostile;
mod load;
mod protocol;
mod raw;
mod server;
mod words;
