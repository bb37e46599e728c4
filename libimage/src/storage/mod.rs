//! Where bytes live: local files and block devices, memory, and servers.
//!
//! A storage knows nothing of image formats. Formats ask it for bytes by position and, where they
//! allocate by growing the file, write past its end.

pub mod direct;
mod early;
pub mod file;
pub mod lock;
pub mod memory;
pub mod nbd;
pub mod null;
pub mod replace;
mod share;

pub use direct::Direct;
pub use file::{FileOptions, FileStorage};
pub use memory::Memory;
pub use nbd::{Nbd, NbdOptions};
pub use null::Null;
pub use replace::Replacement;
