//! How who takes a mount off learns that everything is written.
//!
//! A mount's process listens on a socket whose name is made of the mount's device number: it exists as long as
//! the process does, and leaves nothing behind. Whoever connects before the mount is taken off hears how it ended.
//! The kernel gives a number to the next mount as soon as one is off, which is before its guest has ended; and
//! anybody may take a name. So there are several names for a number, and a listener is found under any of them.

use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use fuse::mount::{Listed, find, unmount};

/// The word for a good end.
const WELL: &[u8] = b"ok";
/// Longest text about a bad one.
const MAX_TEXT: u64 = 4096;
/// Who may listen at a time.
const MAX_LISTENERS: usize = 64;

/// Names for one device number.
const NAMES: u32 = 32;

fn addresses(mount: &Listed) -> impl Iterator<Item = io::Result<SocketAddr>> {
    let device = mount.device.clone();
    (0..NAMES)
        .map(move |number| SocketAddr::from_abstract_name(format!("diskwright/mount/{device}/{number}")))
}

/// Listens under the first name that is free.
fn bind(mount: &Listed) -> io::Result<UnixListener> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for address in addresses(mount) {
        match UnixListener::bind_addr(&address?) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            bound => return bound,
        }
    }
    Err(last)
}

/// The mount's side.
pub(super) struct Herald {
    /// None when nobody new is heard any more.
    listener: Option<UnixListener>,
    listeners: Arc<Mutex<Vec<UnixStream>>>,
    thread: Option<JoinHandle<()>>,
}

impl Herald {
    /// Listens for those who want to know.
    pub(super) fn new(point: &Path) -> io::Result<Self> {
        let mount = find(point)?.ok_or_else(|| io::Error::other("the mount is not listed"))?;
        let listener = bind(&mount)?;
        let listeners: Arc<Mutex<Vec<UnixStream>>> = Arc::default();
        let (theirs, all) = (listener.try_clone()?, Arc::clone(&listeners));
        let accept = move || {
            while let Ok((stream, _)) = theirs.accept() {
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                if all.len() < MAX_LISTENERS {
                    all.push(stream);
                }
            }
        };
        let thread = std::thread::Builder::new().name("mount-end".into()).spawn(accept)?;
        Ok(Herald { listener: Some(listener), listeners, thread: Some(thread) })
    }

    /// Hears nobody new: the mount is off, and its device number may be another's already.
    pub(super) fn close(&mut self) {
        // This ends the thread's wait.
        if let Some(listener) = self.listener.take() {
            let _ = rustix::net::shutdown(&listener, rustix::net::Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// Tells all of them.
    pub(super) fn tell(mut self, end: &Result<(), String>) {
        self.close();
        let text = end.as_ref().map_or_else(String::as_bytes, |()| WELL);
        for mut stream in self.listeners.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // Who does not listen any more misses it.
            let _ = stream.write_all(text);
        }
    }
}

impl Drop for Herald {
    fn drop(&mut self) {
        self.close();
    }
}

/// Why a mount was not taken off, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// There is none.
    #[error("Nothing is mounted there")]
    NotMounted,
    /// The kernel did not take it off.
    #[error("It could not be taken off")]
    Busy(#[source] io::Error),
    /// It was taken off, but its guest did not end well.
    #[error("Not everything may be in the image: {0}")]
    Lost(String),
}

/// Takes a mount off and waits until its guest has ended: everything is in the images then.
///
/// # Errors
/// See [`Failed`].
pub fn take_off(point: &Path) -> Result<(), Failed> {
    let mount = find(point).map_err(Failed::Busy)?.ok_or(Failed::NotMounted)?;
    let ends: Vec<UnixStream> = listen(&mount).collect();
    unmount(&mount.point, false).map_err(Failed::Busy)?;
    // A mount of somebody else's program tells nothing.
    ends.into_iter().try_for_each(hear)
}

/// Waits for the word of a mount's process.
fn hear(end: UnixStream) -> Result<(), Failed> {
    let mut text = Vec::new();
    match end.take(MAX_TEXT).read_to_end(&mut text) {
        Ok(_) if text == WELL => Ok(()),
        Ok(0) => Err(Failed::Lost("the program behind the mount was ended before it was done".to_owned())),
        Ok(_) => Err(Failed::Lost(String::from_utf8_lossy(&text).into_owned())),
        Err(error) => Err(Failed::Lost(error.to_string())),
    }
}

/// Connects to whoever listens for the end of a mount and is one of ours: nobody else is believed.
fn listen(mount: &Listed) -> impl Iterator<Item = UnixStream> {
    let me = rustix::process::getuid();
    addresses(mount).filter_map(move |address| {
        let stream = UnixStream::connect_addr(&address.ok()?).ok()?;
        let peer = rustix::net::sockopt::socket_peercred(&stream).ok()?.uid;
        (peer.is_root() || peer == me || me.is_root()).then_some(stream)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_another_still_uses_is_no_obstacle() {
        let mount = Listed { point: "/".into(), device: "0:999999".into(), kind: "fuse".into() };
        let herald = |listener: UnixListener| {
            let listeners: Arc<Mutex<Vec<UnixStream>>> = Arc::default();
            Herald { listener: Some(listener), listeners, thread: None }
        };
        let (mut first, second) = (herald(bind(&mount).unwrap()), herald(bind(&mount).unwrap()));
        assert_eq!(listen(&mount).count(), 2);
        first.close();
        assert_eq!(listen(&mount).count(), 1);
        drop(second);
        assert_eq!(listen(&mount).count(), 0);
    }
}
