//! Something that is on, off, or on as long as a file exists.

use std::path::PathBuf;

/// A setting that can perhaps be changed from outside while the program runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Switch {
    /// Always the same.
    Fixed(bool),
    /// On while this file exists.
    While(PathBuf),
}

impl Switch {
    /// Whether it is on now.
    pub fn is_on(&self) -> bool {
        match self {
            Switch::Fixed(on) => *on,
            Switch::While(path) => path.exists(),
        }
    }
}
