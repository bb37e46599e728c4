//! Block devices over other block devices.

pub mod concat;
pub mod fault;
pub mod policy;
pub mod scratch;
pub mod slice;
pub mod spread;
pub mod stripe;
pub mod trace;
pub mod undo;
pub mod watch;
pub mod write_through;

pub use concat::Concat;
pub use fault::Fault;
pub use policy::{Policy, Rules};
pub use scratch::Scratch;
pub use slice::Slice;
pub use stripe::Stripe;
pub use trace::{Event, Trace};
pub use undo::Undo;
pub use watch::Watch;
pub use write_through::WriteThrough;
