//! The window through which `nbd top` looks: a socket of each server that tells who does what.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

use super::clients::House;

/// Where the servers of this user have their windows.
pub(crate) fn directory() -> PathBuf {
    let user = rustix::process::getuid();
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(runtime) => runtime.join("diskwright/nbd"),
        None if user.is_root() => PathBuf::from("/run/diskwright/nbd"),
        None => std::env::temp_dir().join(format!("diskwright-{}/nbd", user.as_raw())),
    }
}

/// A window, and its end.
pub(super) struct Window {
    path: PathBuf,
}

impl Drop for Window {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Opens the window of `house`. Where that is not possible a server does without.
pub(super) fn open(house: &Arc<House>) -> Option<Window> {
    let directory = directory();
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).ok()?;
    // Somebody else may have been here first, in a directory that is everybody's.
    let metadata = std::fs::symlink_metadata(&directory).ok()?;
    if !metadata.is_dir() || metadata.uid() != rustix::process::getuid().as_raw() {
        return None;
    }
    let path = directory.join(format!("{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).ok()?;
    let window = Window { path };
    let house = Arc::clone(house);
    let watch = move || {
        for visitor in listener.incoming().flatten() {
            let _ = visitor.set_write_timeout(Some(std::time::Duration::from_secs(1)));
            let mut visitor = visitor;
            let _ = visitor.write_all(format!("{}\n", house.report()).as_bytes());
        }
    };
    std::thread::Builder::new().name("window".to_owned()).spawn(watch).ok()?;
    Some(window)
}
