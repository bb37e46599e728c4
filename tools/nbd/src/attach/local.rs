//! The server's end of connections to the kernel, in this process: pairs of sockets, and no handshake.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use nbd_protocol::server::{Counters, Export, Session, transmit};
use nbd_protocol::stream::Stream;
use rustix::net::sockopt;

/// Bytes that may be under way in a socket: a few large requests.
const ROOM: usize = 4 << 20;

/// Connections for the kernel.
pub(super) struct Connections {
    kernel: Vec<UnixStream>,
    /// Somebody has the other end as long as a connection is served.
    pub(super) over: Receiver<Infallible>,
}

impl Connections {
    /// Begins to serve `export` over so many connections.
    ///
    /// # Errors
    /// When there are no more sockets or threads to be had.
    pub(super) fn new(export: &Arc<dyn Export>, count: usize) -> io::Result<Self> {
        let (send, over) = mpsc::channel();
        let mut kernel = Vec::new();
        for number in 0..count {
            let (theirs, ours) = UnixStream::pair()?;
            for end in [&theirs, &ours] {
                // Less is slower, and nothing else.
                let _ = sockopt::set_socket_send_buffer_size(end, ROOM);
            }
            let (export, serves) = (Arc::clone(export), send.clone());
            let serve = move || {
                let session = Session::plain(export);
                let stream = Arc::new(Stream::socket(ours));
                if let Err(error) = transmit(&session, &stream, &Counters::default()) {
                    eprintln!("{}: The kernel's connection {number} has ended: {error}", cli::program());
                }
                drop(serves);
            };
            std::thread::Builder::new().name(format!("nbd-kernel-{number}")).spawn(serve)?;
            kernel.push(theirs);
        }
        Ok(Connections { kernel, over })
    }

    /// The kernel's ends.
    pub(super) fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        self.kernel.iter().map(AsFd::as_fd).collect()
    }

    /// The kernel has its ends now, and nobody else may.
    pub(super) fn handed_over(&mut self) {
        self.kernel.clear();
    }
}
