//! The frames of vhost-user: a header of 12 bytes, a body, and file descriptors beside them.
//!
//! Nothing longer than [`MAX_BODY`] is ever read into memory, and nothing is waited for longer than
//! [`PATIENCE`] once a message has begun.

use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::Fault;

/// Largest body: every message that is understood is far below.
const MAX_BODY: usize = 4096;
/// Regions in a memory table, hence descriptors with a message, without `CONFIGURE_MEM_SLOTS`.
pub(super) const MAX_FDS: usize = 8;
/// How long either side may take over one message.
const PATIENCE: Duration = Duration::from_secs(10);
const HEADER: usize = 12;
const VERSION: u32 = 1;
const VERSION_MASK: u32 = 3;
const REPLY: u32 = 1 << 2;
const NEED_REPLY: u32 = 1 << 3;

/// One request of the front-end.
pub(super) struct Message {
    pub(super) request: u32,
    /// An answer is wanted even where the request has none of its own.
    pub(super) need_reply: bool,
    pub(super) body: Vec<u8>,
    pub(super) fds: Vec<OwnedFd>,
}

/// The socket to the front-end.
pub(super) struct Channel {
    pub(super) socket: UnixStream,
}

impl Channel {
    pub(super) fn new(socket: UnixStream) -> Result<Self, Fault> {
        let prepare = || {
            socket.set_nonblocking(false)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.set_write_timeout(Some(PATIENCE))
        };
        prepare().map_err(|error| Fault::Io("prepare to talk", error))?;
        Ok(Channel { socket })
    }

    /// Reads one message; `None` when the front-end has hung up between two of them.
    pub(super) fn receive(&self) -> Result<Option<Message>, Fault> {
        let failed = |error| Fault::Io("receive", error);
        let mut header = [0; HEADER];
        let (count, fds) = self.receive_with_fds(&mut header).map_err(failed)?;
        if count == 0 {
            return Ok(None);
        }
        (&self.socket).read_exact(&mut header[count..]).map_err(failed)?;
        let [r0, r1, r2, r3, f0, f1, f2, f3, s0, s1, s2, s3] = header;
        let request = u32::from_le_bytes([r0, r1, r2, r3]);
        let flags = u32::from_le_bytes([f0, f1, f2, f3]);
        let size = u32::from_le_bytes([s0, s1, s2, s3]) as usize;
        if flags & VERSION_MASK != VERSION || flags & REPLY != 0 {
            return Err(Fault::Protocol(format!("request {request} with flags {flags:#x}")));
        }
        if size > MAX_BODY {
            return Err(Fault::Protocol(format!("request {request} of {size} bytes")));
        }
        let mut body = vec![0; size];
        (&self.socket).read_exact(&mut body).map_err(failed)?;
        Ok(Some(Message { request, need_reply: flags & NEED_REPLY != 0, body, fds }))
    }

    fn receive_with_fds(&self, header: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let count = loop {
            let mut pieces = [IoSliceMut::new(header)];
            match recvmsg(&self.socket, &mut pieces, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Ok(received) => break received.bytes,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        Ok((count, fds))
    }

    /// Answers `request` with `body`.
    pub(super) fn reply(&self, request: u32, body: &[u8]) -> Result<(), Fault> {
        let mut frame = Vec::with_capacity(HEADER + body.len());
        for word in [request, VERSION | REPLY, body.len() as u32] {
            frame.extend_from_slice(&word.to_le_bytes());
        }
        frame.extend_from_slice(body);
        (&self.socket).write_all(&frame).map_err(|error| Fault::Io("answer", error))
    }
}

/// The message by which a back-end says that the configuration space changed: request 2, no body.
pub(super) fn config_changed() -> [u8; HEADER] {
    let mut frame = [0; HEADER];
    frame[0] = 2;
    frame[4] = VERSION as u8;
    frame
}

/// Reads the integers of a body, in order.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn u32(&mut self) -> Result<u32, Fault> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Fault> {
        self.take().map(u64::from_le_bytes)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (first, rest) = self
            .0
            .split_first_chunk()
            .ok_or_else(|| Fault::Protocol("a message that is too short".into()))?;
        self.0 = rest;
        Ok(*first)
    }
}
