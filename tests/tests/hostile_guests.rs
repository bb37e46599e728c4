//! Guests that mean harm: whatever their disks hold, every command ends in time with an answer or an error, and the
//! next command works.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod hostile;
