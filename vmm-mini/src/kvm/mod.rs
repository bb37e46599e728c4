//! The wall between this machine and the kernel's KVM interface: nothing outside this folder makes a KVM call.

pub mod cpuid;
pub mod interrupts;
pub mod kick;
pub mod machine;
pub mod probe;
pub mod registers;
pub mod vcpu;

pub use probe::{Unusable, probe};
