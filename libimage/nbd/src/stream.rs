//! The two ends of a connection: a socket, or a pair of pipes; in the clear or encrypted.
//!
//! A stream is used through `&self`, by one reader and one writer at a time: callers see to that.

use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, Shutdown, sockopt};

/// Bytes that may be on their way to a peer on this machine, as far as the system lets anybody have them: who sends large
/// answers need not wait for who takes them after each piece.
const SEND_BUFFER: usize = 512 << 10;

/// Makes a connection that is in the clear an encrypted one.
pub trait Encryption: Send + Sync {
    /// Carries out the handshake of the encryption. Nothing may have been read ahead from `stream`.
    ///
    /// # Errors
    /// When the peer does not prove who it is, or cannot agree; the connection is of no use then.
    fn begin(&self, stream: &mut Stream) -> io::Result<()>;
}

/// What lies between a connection's user and its wire when it is encrypted. Reading never waits for writing, nor the
/// reverse: a peer may be busy in one direction for as long as it likes.
pub(crate) trait Layer: Send + Sync {
    /// As [`Stream::read`].
    fn read(&self, wire: &Wire, buf: &mut [u8]) -> io::Result<usize>;

    /// As [`Stream::write_vectored`].
    fn write_vectored(&self, wire: &Wire, bufs: &mut [IoSlice<'_>]) -> io::Result<()>;

    /// Tells the peer that nothing more will come, if that can be done without waiting.
    fn close(&self, wire: &Wire);
}

/// A connection to a peer.
pub struct Stream {
    wire: Wire,
    layer: Option<Box<dyn Layer>>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("input", &self.wire.input)
            .field("encrypted", &self.is_encrypted())
            .finish()
    }
}

impl Stream {
    /// Over a connected socket of any kind.
    pub fn socket(socket: impl Into<OwnedFd>) -> Self {
        Stream { wire: Wire::socket(socket.into()), layer: None }
    }

    /// Over two descriptors, such as standard input and output, which may be one socket twice.
    pub fn pair(input: OwnedFd, output: OwnedFd) -> Self {
        Stream { wire: Wire::pair(input, output), layer: None }
    }

    /// What is read from. Under encryption there may be more to read than this descriptor knows of.
    pub fn input(&self) -> BorrowedFd<'_> {
        self.wire.input.as_fd()
    }

    /// What is written to.
    pub fn output(&self) -> BorrowedFd<'_> {
        self.wire.output()
    }

    /// Nobody on the way can read or change what is said.
    pub fn is_encrypted(&self) -> bool {
        self.layer.is_some()
    }

    /// The wire itself, for the handshake of an encryption.
    pub(crate) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// From now on everything goes through `layer`.
    pub(crate) fn encrypt(&mut self, layer: Box<dyn Layer>) {
        self.layer = Some(layer);
    }

    /// The bytes that are there, at least one; 0 at the end.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        match &self.layer {
            Some(layer) => layer.read(&self.wire, buf),
            None => self.wire.read(buf),
        }
    }

    /// Something can be read without waiting, as far as the system knows.
    pub fn has_input(&self) -> bool {
        let mut fds = [PollFd::new(&self.wire.input, PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Fills `buf`.
    ///
    /// # Errors
    /// When the connection is broken, or ends before.
    pub fn read_exact(&self, mut buf: &mut [u8]) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read(buf)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => buf = buf.get_mut(n..).unwrap_or_default(),
            }
        }
        Ok(())
    }

    /// Writes all of `buf`.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn write_all(&self, buf: &[u8]) -> io::Result<()> {
        self.write_vectored(&mut [IoSlice::new(buf)])
    }

    /// Writes all of `bufs`, one after the other.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn write_vectored(&self, bufs: &mut [IoSlice<'_>]) -> io::Result<()> {
        match &self.layer {
            Some(layer) => layer.write_vectored(&self.wire, bufs),
            None => self.wire.write_vectored(bufs),
        }
    }

    /// Bytes of files can go out by [`Stream::send_file`].
    pub fn sends_files(&self) -> bool {
        self.wire.is_socket && self.layer.is_none()
    }

    /// Writes `header`, and then `length` bytes of `file` from `offset`, which do not pass through this process.
    ///
    /// # Errors
    /// When the connection is broken, or the file ends before: then the peer waits for what does not come.
    pub fn send_file(&self, header: &[u8], file: BorrowedFd<'_>, offset: u64, length: u64) -> io::Result<()> {
        let mut rest = header;
        while !rest.is_empty() {
            match rustix::net::send(self.output(), rest, SendFlags::NOSIGNAL | SendFlags::MORE) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let (mut at, end) = (offset, offset + length);
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            match rustix::fs::sendfile(self.output(), file, Some(&mut at), left) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Nothing more is read: whoever waits for the peer finds the end. What is to be written still can be.
    pub fn end_input(&self) {
        let _ = rustix::net::shutdown(&self.wire.input, Shutdown::Read);
    }

    /// Ends both directions: who waits for this peer, in whatever thread, hears of it.
    pub fn shutdown(&self) {
        if let Some(layer) = &self.layer {
            layer.close(&self.wire);
        }
        let _ = rustix::net::shutdown(&self.wire.input, Shutdown::Both);
        if let Some(output) = &self.wire.output {
            let _ = rustix::net::shutdown(output, Shutdown::Both);
        }
    }
}

/// The descriptors of a connection.
pub(crate) struct Wire {
    input: OwnedFd,
    /// Where it is not the same as `input`.
    output: Option<OwnedFd>,
    is_socket: bool,
}

impl Wire {
    fn socket(input: OwnedFd) -> Self {
        // Small answers are waited for. Sockets that are not TCP know nothing of it, and need not.
        let _ = sockopt::set_tcp_nodelay(&input, true);
        let _ = sockopt::set_socket_keepalive(&input, true);
        // TCP finds out by itself how much room it needs.
        if sockopt::socket_domain(&input) == Ok(AddressFamily::UNIX) {
            let _ = sockopt::set_socket_send_buffer_size(&input, SEND_BUFFER);
        }
        Wire { input, output: None, is_socket: true }
    }

    fn pair(input: OwnedFd, output: OwnedFd) -> Self {
        let is_socket = sockopt::socket_type(&input).is_ok() && sockopt::socket_type(&output).is_ok();
        Wire { input, output: Some(output), is_socket }
    }

    fn output(&self) -> BorrowedFd<'_> {
        self.output.as_ref().unwrap_or(&self.input).as_fd()
    }

    pub(crate) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::io::read(&self.input, &mut *buf) {
                Err(Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    pub(crate) fn write_all(&self, buf: &[u8]) -> io::Result<()> {
        self.write_vectored(&mut [IoSlice::new(buf)])
    }

    pub(crate) fn write_vectored(&self, mut bufs: &mut [IoSlice<'_>]) -> io::Result<()> {
        IoSlice::advance_slices(&mut bufs, 0);
        while !bufs.is_empty() {
            match self.write_some(bufs) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => IoSlice::advance_slices(&mut bufs, n),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// A peer that is gone is an error, not the end of this process.
    fn write_some(&self, bufs: &[IoSlice<'_>]) -> rustix::io::Result<usize> {
        if self.is_socket {
            let mut none = rustix::net::SendAncillaryBuffer::default();
            return rustix::net::sendmsg(self.output(), bufs, &mut none, SendFlags::NOSIGNAL);
        }
        rustix::io::writev(self.output(), bufs)
    }

    /// Writes `buf` if that goes without waiting; a last word that nobody depends on.
    pub(crate) fn try_write(&self, buf: &[u8]) {
        if self.is_socket {
            let _ = rustix::net::send(self.output(), buf, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        }
    }
}
