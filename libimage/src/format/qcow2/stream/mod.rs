//! Images in one pass: written to something that cannot seek, and read from it.
//!
//! A qcow2 file names the places of things before and after it, so a writer has to know everything beforehand:
//! it looks at the source first ([`layout`]), then writes tables and data in the order of the file ([`write`]).
//! A reader keeps what it does not yet know the meaning of, within limits ([`read`]).

mod layout;
pub(super) mod read;
pub(super) mod write;
