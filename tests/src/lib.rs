//! What whole-system tests share: machines to run things in, and the real tools to compare ours with.

pub mod nested;
pub mod peers;
pub mod programs;
pub mod vmm;
