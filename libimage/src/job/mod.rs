//! Long work over images: it reports progress and can be cancelled.

pub mod progress;

pub use progress::{Progress, Silent};
