//! How who takes a mount off learns that everything is written.
//!
//! A mount's process listens on a socket whose name is made of the mount's device number: it exists as long as
//! the process does, and leaves nothing behind. Whoever connects before the mount is taken off hears how it ended.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::mount::{Listed, find, unmount};

/// The word for a good end.
const WELL: &[u8] = b"ok";
/// Longest text about a bad one.
const MAX_TEXT: u64 = 4096;
/// Who may listen at a time.
const MAX_LISTENERS: usize = 64;

fn address(mount: &Listed) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("diskwright/mount/{}", mount.device))
}

/// The mount's side.
pub(super) struct Herald {
    listener: UnixListener,
    listeners: Arc<Mutex<Vec<UnixStream>>>,
    thread: Option<JoinHandle<()>>,
}

impl Herald {
    /// Listens for those who want to know.
    pub(super) fn new(point: &Path) -> io::Result<Self> {
        let mount = find(point)?.ok_or_else(|| io::Error::other("the mount is not listed"))?;
        let listener = UnixListener::bind_addr(&address(&mount)?)?;
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
        Ok(Herald { listener, listeners, thread: Some(thread) })
    }

    /// Tells all of them.
    pub(super) fn tell(mut self, end: &Result<(), String>) {
        self.stop();
        let text = end.as_ref().map_or_else(String::as_bytes, |()| WELL);
        for mut stream in self.listeners.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // Who does not listen any more misses it.
            let _ = stream.write_all(text);
        }
    }

    fn stop(&mut self) {
        // This ends the thread's wait.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Herald {
    fn drop(&mut self) {
        self.stop();
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
    let end = listen(&mount);
    unmount(&mount.point, false).map_err(Failed::Busy)?;
    // A mount of somebody else's program tells nothing.
    let Some(stream) = end else { return Ok(()) };
    let mut text = Vec::new();
    match stream.take(MAX_TEXT).read_to_end(&mut text) {
        Ok(_) if text == WELL => Ok(()),
        Ok(0) => Err(Failed::Lost("the program behind the mount was ended before it was done".to_owned())),
        Ok(_) => Err(Failed::Lost(String::from_utf8_lossy(&text).into_owned())),
        Err(error) => Err(Failed::Lost(error.to_string())),
    }
}

/// Connects to the process behind a mount, if it is one of ours: nobody else is believed.
fn listen(mount: &Listed) -> Option<UnixStream> {
    let stream = UnixStream::connect_addr(&address(mount).ok()?).ok()?;
    let peer = rustix::net::sockopt::socket_peercred(&stream).ok()?.uid;
    let me = rustix::process::getuid();
    let trusted = peer.is_root() || peer == me || me.is_root();
    if !trusted {
        let _ = stream.shutdown(Shutdown::Both);
    }
    trusted.then_some(stream)
}
