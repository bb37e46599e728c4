//! Bringing a kernel into memory.

pub mod bzimage;
