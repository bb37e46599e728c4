//! Compressed files that are unpacked while they are read: xz, zstd, gzip and bzip2.
//!
//! Formats with pieces that can be unpacked by themselves are read piece by piece ([`pieces`]); the others are
//! unpacked to a temporary file first ([`unpacked`]). Nothing here is written.

mod members;
mod pieces;
mod stream;
mod unpacked;
mod xz;
mod zstd;

pub use members::{bzip2, gzip};
pub use unpacked::Whole;
pub use xz::{Options as XzOptions, open as xz};
pub use zstd::{Options as ZstdOptions, open as zstd};

#[cfg(test)]
#[path = "packed_test.rs"]
mod tests;
