//! Appliances that are booted in a test's own process, with raw images in its directory.

use std::path::Path;
use std::sync::Arc;

use appliance_engine::launch::{Choice, Disk, Running, Settings, launch};
use libimage::format::raw::Raw;
use libimage::storage::{FileOptions, FileStorage};

/// Bytes.
pub const MIB: u64 = 1 << 20;

/// A disk whose image is a file in `directory`, made with `size` bytes if it is not there.
///
/// # Panics
/// When that fails.
#[must_use]
pub fn disk(directory: &Path, name: &str, size: u64) -> Disk {
    let path = directory.join(name);
    if !path.exists() {
        std::fs::File::create(&path).and_then(|file| file.set_len(size)).expect("the image is made");
    }
    let storage = FileStorage::open(&path, FileOptions::default()).expect("the image opens");
    Disk { block: Arc::new(Raw::new(Arc::new(storage))), read_only: false, block_size: 512 }
}

/// An appliance with disks of these sizes in bytes, `0.img`, `1.img`... in `directory`, on the back-end that the
/// environment names.
///
/// # Panics
/// When it does not boot.
#[must_use]
pub fn boot(directory: &Path, sizes: &[u64]) -> Running {
    let disks = sizes.iter().enumerate().map(|(index, size)| disk(directory, &format!("{index}.img"), *size));
    let choice = Choice::from_environment().expect("a back-end");
    let settings = Settings { choice, ..Settings::default() };
    launch(disks.collect(), settings, &|_| ()).expect("the appliance boots")
}

/// What an error says.
///
/// # Panics
/// When it is none.
pub fn message(result: Result<impl std::fmt::Debug, guestd_api::Error>) -> String {
    result.expect_err("an error").to_string()
}
