//! Flags of an export, and flags of a command.

use std::ops::{BitOr, BitOrAssign};

/// What a server says about an export: the transmission flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u16);

impl Flags {
    /// Always set.
    pub const HAS_FLAGS: Self = Flags(1);
    /// Writes are refused.
    pub const READ_ONLY: Self = Flags(1 << 1);
    /// FLUSH is known.
    pub const FLUSH: Self = Flags(1 << 2);
    /// Commands may carry FUA.
    pub const FUA: Self = Flags(1 << 3);
    /// It lies on a rotating disk.
    pub const ROTATIONAL: Self = Flags(1 << 4);
    /// TRIM is known.
    pub const TRIM: Self = Flags(1 << 5);
    /// WRITE_ZEROES is known.
    pub const WRITE_ZEROES: Self = Flags(1 << 6);
    /// Reads may carry DF.
    pub const DF: Self = Flags(1 << 7);
    /// A flush on one connection is one for all of them.
    pub const MULTI_CONN: Self = Flags(1 << 8);
    /// RESIZE is known (experimental).
    pub const RESIZE: Self = Flags(1 << 9);
    /// CACHE is known.
    pub const CACHE: Self = Flags(1 << 10);
    /// WRITE_ZEROES may carry FAST_ZERO.
    pub const FAST_ZERO: Self = Flags(1 << 11);
    /// BLOCK_STATUS may carry a choice of contexts (experimental, with extended headers only).
    pub const BLOCK_STATUS_PAYLOAD: Self = Flags(1 << 12);

    /// All bits of `other` are set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags without those of `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Flags(self.0 & !other.0)
    }

    /// `other` too, if `wanted`.
    #[must_use]
    pub fn with(self, other: Self, wanted: bool) -> Self {
        if wanted { self | other } else { self }
    }
}

impl BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Flags(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// Flags of a command.
pub mod cmd {
    /// Durable before the answer.
    pub const FUA: u16 = 1;
    /// Zeroes have to take up space.
    pub const NO_HOLE: u16 = 1 << 1;
    /// The answer in one piece.
    pub const DF: u16 = 1 << 2;
    /// One extent only.
    pub const REQ_ONE: u16 = 1 << 3;
    /// Zeroes only if that is fast.
    pub const FAST_ZERO: u16 = 1 << 4;
    /// The length is that of a payload (extended headers).
    pub const PAYLOAD_LEN: u16 = 1 << 5;
}
