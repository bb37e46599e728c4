//! Long work over images: it reports progress and can be cancelled.

pub mod copy;
pub mod delta;
pub mod ordered;
pub mod progress;
pub mod zero;

pub use progress::{Progress, Silent};
