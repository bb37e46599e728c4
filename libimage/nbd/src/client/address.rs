//! Where a server listens, and getting there.

use std::fmt;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, VsockAddr, connect as connect_socket, socket};

use rustix::io::Errno;

use super::error::{Error, Result};
use crate::stream::Stream;

/// The place of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A host, by name or number, and a port.
    Tcp {
        /// Without brackets, also if it is an IPv6 address.
        host: String,
        /// Usually [`crate::wire::DEFAULT_PORT`].
        port: u16,
    },
    /// A socket of this machine.
    Unix(PathBuf),
    /// Another virtual machine on this one, or the host of this one.
    Vsock {
        /// Which; 2 is the host.
        cid: u32,
        /// Usually [`crate::wire::DEFAULT_PORT`].
        port: u32,
    },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Tcp { host, port } => write!(f, "{host}:{port}"),
            Target::Unix(path) => write!(f, "{}", path.display()),
            Target::Vsock { cid, port } => write!(f, "{cid}:{port}"),
        }
    }
}

/// Connects to a server; all addresses of a host are tried.
///
/// # Errors
/// When none of them answers.
pub fn connect(target: &Target) -> Result<Stream> {
    let failed = |source: io::Error| Error::Connect { to: target.to_string(), source: source.into() };
    match target {
        Target::Tcp { host, port } => tcp(target, host, *port),
        // No socket has an empty name.
        Target::Unix(path) if path.as_os_str().is_empty() => Err(failed(Errno::CONNREFUSED.into())),
        Target::Unix(path) => UnixStream::connect(path).map(Stream::socket).map_err(failed),
        Target::Vsock { cid, port } => vsock(*cid, *port).map(Stream::socket).map_err(failed),
    }
}

fn tcp(target: &Target, host: &str, port: u16) -> Result<Stream> {
    let addresses = (host, port).to_socket_addrs().map_err(|error| {
        let text = error.to_string();
        let why = text.rsplit(": ").next().unwrap_or(&text).to_owned();
        Error::Resolve { to: target.to_string(), why }
    })?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect(address) {
            Ok(stream) => return Ok(Stream::socket(stream)),
            Err(error) => last = error,
        }
    }
    Err(Error::Connect { to: target.to_string(), source: last.into() })
}

fn vsock(cid: u32, port: u32) -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::Vsock, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    connect_socket(socket.as_raw_fd(), &VsockAddr::new(cid, port))?;
    Ok(socket)
}
