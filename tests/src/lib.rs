//! What whole-system tests share: machines to run things in, images, and the programs under test.

pub mod fish;
pub mod images;
pub mod nested;
pub mod programs;
pub mod vmm;
