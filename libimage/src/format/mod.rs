//! How bytes are laid out in a storage: the image formats, their names and their magic numbers.

pub mod luks;
pub mod names;
pub mod probe;
pub mod qcow2;
pub mod raw;

use crate::error::{Error, Result};

/// An image format that this library implements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// The bytes themselves.
    Raw,
    /// QEMU's copy-on-write format, versions 2 and 3.
    Qcow2,
    /// An encrypted volume of LUKS version 1.
    Luks,
}

impl Format {
    /// All formats, in the order in which help texts list them.
    pub const ALL: [Format; 3] = [Format::Luks, Format::Qcow2, Format::Raw];

    /// The format's name on the command line and in image headers.
    pub fn name(self) -> &'static str {
        match self {
            Format::Raw => "raw",
            Format::Qcow2 => "qcow2",
            Format::Luks => "luks",
        }
    }

    /// The format called `name`.
    ///
    /// # Errors
    /// [`Error::NotFound`] for names that are not known.
    pub fn by_name(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| Error::NotFound(format!("Unknown file format '{name}'")))
    }
}
