//! What needs a kernel of its own: in a machine under QEMU, with a processor that has virtualization, where that is needed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod appliance;
mod harness;
mod nbd;
mod vmm;
