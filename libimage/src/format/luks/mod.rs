//! LUKS: an encrypted disk with up to eight passphrases, as a format of its own and inside qcow2.
//! Version 1 in full; version 2 can be read.
//!
//! A random master key encrypts the payload. Each key slot holds that key, split into many stripes and
//! encrypted under a key that PBKDF2 makes of a passphrase; so a passphrase can be changed without touching
//! the payload, and destroyed by overwriting its slot. (LUKS on-disk format specification 1.2.3.)
//!
//! Where to read on: [`header`] is what lies on disk and the checks it must pass, [`keyslot`] how a slot is
//! opened, filled and erased, [`create`] how a new one is made, [`amend`] how its slots are changed,
//! [`image`] the format itself, and [`luks2`] how version 2 says the same.

mod amend;
mod create;
mod header;
mod image;
mod info;
mod keyslot;
mod luks2;

pub use amend::{Amend, SlotState};
pub use create::{CreateOptions, NewHeader};
pub use header::{Header, SLOTS};
pub use image::Luks;
pub use info::{Info, SlotInfo};
pub use keyslot::MasterKey;

/// What [`Luks::open`] says when a password opens no slot.
pub const WRONG_PASSWORD: &str = "Invalid password, cannot unlock any keyslot";
