//! What whole-system tests share: machines to run things in.

pub mod nested;
pub mod vmm;
