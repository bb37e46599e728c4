//! Manners shared by all tools: how errors, progress and exit codes look.

pub mod error;
pub mod progress;
