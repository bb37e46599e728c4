//! What whole-system tests share: machines to run things in, and the programs under test.

pub mod nested;
pub mod programs;
pub mod vmm;
