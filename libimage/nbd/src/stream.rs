//! The two ends of a connection: a socket, or a pair of pipes; later perhaps encrypted.
//!
//! A stream is used through `&self`, by one reader and one writer at a time: callers see to that.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown, sockopt};

/// Makes a connection that is in the clear an encrypted one.
pub trait Encryption: Send + Sync {
    /// Carries out the handshake of the encryption. Nothing may have been read ahead from `stream`.
    ///
    /// # Errors
    /// When the peer does not prove who it is, or cannot agree; the connection is of no use then.
    fn begin(&self, stream: &mut Stream) -> io::Result<()>;
}

/// A connection to a peer.
pub struct Stream {
    input: OwnedFd,
    /// Where it is not the same as `input`.
    output: Option<OwnedFd>,
    is_socket: bool,
}

impl Stream {
    /// Over a connected socket of any kind.
    pub fn socket(socket: impl Into<OwnedFd>) -> Self {
        let input = socket.into();
        // Small answers are waited for. Sockets that are not TCP know nothing of it, and need not.
        let _ = sockopt::set_tcp_nodelay(&input, true);
        let _ = sockopt::set_socket_keepalive(&input, true);
        Stream { input, output: None, is_socket: true }
    }

    /// Over two descriptors, such as standard input and output, which may be one socket twice.
    pub fn pair(input: OwnedFd, output: OwnedFd) -> Self {
        let is_socket = sockopt::socket_type(&input).is_ok() && sockopt::socket_type(&output).is_ok();
        Stream { input, output: Some(output), is_socket }
    }

    /// What is read from.
    pub fn input(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }

    /// What is written to.
    pub fn output(&self) -> BorrowedFd<'_> {
        self.output.as_ref().unwrap_or(&self.input).as_fd()
    }

    /// The bytes that are there, at least one; 0 at the end.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::io::read(&self.input, &mut *buf) {
                Err(Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
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
    pub fn write_vectored(&self, mut bufs: &mut [IoSlice<'_>]) -> io::Result<()> {
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

    /// Bytes of files can go out by [`Stream::send_file`].
    pub fn sends_files(&self) -> bool {
        self.is_socket
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

    /// A peer that is gone is an error, not the end of this process.
    fn write_some(&self, bufs: &[IoSlice<'_>]) -> rustix::io::Result<usize> {
        if self.is_socket {
            let mut none = rustix::net::SendAncillaryBuffer::default();
            return rustix::net::sendmsg(self.output(), bufs, &mut none, SendFlags::NOSIGNAL);
        }
        rustix::io::writev(self.output(), bufs)
    }

    /// Nothing more is read: whoever waits for the peer finds the end. What is to be written still can be.
    pub fn end_input(&self) {
        let _ = rustix::net::shutdown(&self.input, Shutdown::Read);
    }

    /// Ends both directions: who waits for this peer, in whatever thread, hears of it.
    pub fn shutdown(&self) {
        let _ = rustix::net::shutdown(&self.input, Shutdown::Both);
        if let Some(output) = &self.output {
            let _ = rustix::net::shutdown(output, Shutdown::Both);
        }
    }
}
