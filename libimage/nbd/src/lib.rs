//! Network block devices: the messages, a client, and a server for anything that implements [`server::Export`].
//!
//! The protocol is that of the document `doc/proto.md` of the NBD project, with its extensions for structured
//! replies, block status and 64-bit requests ("extended headers"). Nothing here knows what an image is.
#![forbid(unsafe_code)]

pub mod client;
pub mod server;
pub mod stream;
pub mod tls;
pub mod uri;
pub mod wire;
