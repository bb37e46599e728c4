//! What a guest contains: asked of the direct readers where they can tell, of a booted appliance where
//! they cannot. Callers see one [`Guest`] that implements the actions and do not have to care.
//!
//! ```no_run
//! use guest::{Guest, Settings};
//! use guestd_api::prelude::*;
//! use guestd_api::actions::launch::AddDriveOptions;
//!
//! # fn main() -> guestd_api::Result<()> {
//! let guest = Guest::create(Settings::default())?;
//! guest.set_memsize(768)?;
//! guest.add_drive("disk.qcow2", AddDriveOptions::default().readonly(true).format("qcow2"))?;
//! guest.launch()?;
//! for root in guest.inspect_os()? {
//!     println!("{root}: {}", guest.inspect_get_product_name(&root)?);
//! }
//! guest.mount_ro("/dev/sda1", "/")?;
//! println!("{}", guest.cat("/etc/hostname")?);
//! guest.shutdown()?;
//! # Ok(())
//! # }
//! ```

pub mod direct;
mod drive;
pub mod fuse;
pub mod guest;
mod handle;
pub mod inspect;
mod served;
mod trace;

pub use drive::Drive;
pub use guest::{Canceller, ConsoleFn, Guest, How, NoticeFn, Settings, TraceFn};
pub use handle::{Domain, domains};
