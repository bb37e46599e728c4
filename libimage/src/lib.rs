//! Disk images: where bytes are stored, how an image format arranges them, what volumes and file
//! systems lie in them, and the long jobs that run over them.
//!
//! Every layer speaks one trait, [`Block`]: a format sits on a storage, a filter on a format, a
//! partition on either, and none of them knows which. Nothing here knows of virtual machines.

#![forbid(unsafe_code)]

pub mod audit;
pub mod block;
pub mod crypto;
pub mod error;
mod fields;
pub mod filter;
pub mod format;
pub mod fs;
pub mod job;
pub mod open;
pub mod spec;
pub mod storage;
mod sync;
pub mod units;
pub mod volume;

pub use block::{Block, Extent, HostRange, Limits, Preallocation, Zero};
pub use error::{Error, Result};
