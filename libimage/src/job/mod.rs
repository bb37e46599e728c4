//! Long work over images: it reports progress and can be cancelled.

pub mod commit;
pub mod compare;
pub mod copy;
pub mod delta;
pub mod hash;
pub mod map;
pub mod measure;
pub mod ordered;
mod parallel;
pub mod progress;
pub mod rebase;
pub mod stream;
mod target;
pub mod zero;

pub use parallel::processors;
pub use progress::{Progress, Silent};
