//! What whole-system tests share: machines to run things in, the programs under test, and the real tools to
//! compare them with.

pub mod appliance;
pub mod fish;
pub mod images;
pub mod nested;
pub mod peers;
pub mod programs;
pub mod random;
pub mod socket;
pub mod vmm;
