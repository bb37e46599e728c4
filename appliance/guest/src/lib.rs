//! What a guest contains: asked of the direct readers where they can tell, of a booted appliance where
//! they cannot. Callers see one [`Guest`] that implements the actions and do not have to care.

pub mod direct;
pub mod guest;
pub mod inspect;

pub use guest::{Drive, Guest, How, Settings};
