//! The few devices of a PC that kernels expect without looking: serial port, keyboard controller, power.

pub mod console;
pub mod i8042;
pub mod power;
pub mod serial;
