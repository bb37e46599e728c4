//! The one table of guest actions, and the protocol that carries them.
//!
//! What can be done with a guest (list its partitions, read a file, make a file system) is declared here
//! once, in [`actions`]. From a declaration come the message, the method that guestd must implement, the
//! typed method that callers use, and the entry in the command table from which a shell gets parsing, help
//! and completion. Adding an action means its declaration and its implementation, nothing else.
//!
//! Callers: `use guestd_api::prelude::*;` and then `guest.mkdir("/x")` on anything that implements
//! [`Actions`]. Shells: [`find`] a [`CommandSpec`], [`CommandSpec::parse`] words into a [`Request`], hand its
//! call to [`Actions::call`], print the [`Value`] by [`CommandSpec::ret`].

pub mod actions;
mod client;
mod error;
pub mod exchange;
pub mod forms;
pub mod fuse;
pub mod kind;
pub mod network;
mod server;
pub mod structs;
mod table;
mod text;
mod value;
pub mod wire;
pub mod words;

pub use actions::{Call, FINGERPRINT, Server, dispatch};
pub use client::{Actions, CancelGuard, CancelToken, Context, Progress, ProgressFn, With};
pub use error::{Error, Failure, Result, error_text};
pub use kind::{ArgKind, ArgSpec};
pub use server::Worker;
pub use structs::{Field, FieldKind, FieldSpec, StructSpec};
pub use table::{CommandSpec, Request, commands, find};
pub use text::GuestString;
pub use value::{IntStyle, Ret, RetKind, Value, ret};
pub use words::{ArgError, AskKey};

/// What callers of actions import.
pub mod prelude {
    pub use crate::actions::methods::*;
    pub use crate::{Actions, CancelToken, Context, GuestString, Progress, With};
}
