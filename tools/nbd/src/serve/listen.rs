//! Where clients come from: sockets that listen, and those that somebody else has opened.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use nbd_protocol::client::Target;
use nbd_protocol::uri;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use tempfile::TempDir;

/// Connections that wait until they are accepted.
const BACKLOG: i32 = 128;

/// How a machine calls itself.
const LOCAL_CID: u32 = 1;

/// The first descriptor that systemd passes.
const FIRST_PASSED: i32 = 3;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A TCP port on all addresses of a name.
    Tcp {
        /// A name or an address.
        host: String,
        /// A number or the name of a service.
        port: String,
    },
    /// A socket in the file system.
    Unix(PathBuf),
    /// A port for virtual machines.
    Vsock {
        /// Who may come: any if not given.
        cid: u32,
        /// The port.
        port: u32,
    },
    /// A socket that only this user finds, for a command that is told of it.
    Private,
    /// What systemd has opened.
    Passed(usize),
}

/// Sockets on which clients arrive, and what has to be removed when it is over.
pub(super) struct Listener {
    pub(super) sockets: Vec<OwnedFd>,
    /// Where clients find it, unless only whoever has opened it knows.
    pub(super) target: Option<Target>,
    path: Option<Owned>,
    /// Goes with it.
    directory: Option<TempDir>,
}

/// A socket file of ours; another server may have put its own in the same place since.
struct Owned {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Some(Owned { path, identity }) = &self.path else { return };
        if identity_of(path).as_ref() == Some(identity) {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn identity_of(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::symlink_metadata(path).ok()?;
    metadata.file_type().is_socket().then(|| (metadata.dev(), metadata.ino()))
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.target.as_ref();
        f.write_str(&target.map(|target| uri::format(target, "", false)).unwrap_or_default())
    }
}

/// How many sockets systemd has passed to this process, if any.
///
/// # Errors
/// When the environment contradicts itself.
pub(super) fn passed() -> Result<Option<usize>> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Ok(None);
    }
    match number("LISTEN_FDS") {
        None => Ok(None),
        Some(1) => Ok(Some(1)),
        Some(_) => bail!("qemu-nbd does not support socket activation with LISTEN_FDS > 1"),
    }
}

impl Place {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub(super) fn listen(&self) -> Result<Listener> {
        match self {
            Place::Tcp { host, port } => tcp(host, port),
            Place::Unix(path) => unix(path),
            Place::Private => {
                let directory = tempfile::Builder::new().prefix("nbd-").tempdir()?;
                let mut listener = unix(&directory.path().join("socket"))?;
                listener.directory = Some(directory);
                Ok(listener)
            }
            Place::Vsock { cid, port } => {
                let could_not = |error| {
                    anyhow!("Failed to bind vsock socket to port {port}: {}", libimage::error::plain(&error))
                };
                let socket = vsock(*cid, *port).map_err(could_not)?;
                let target = Some(Target::Vsock { cid: LOCAL_CID, port: *port });
                Ok(Listener { sockets: vec![socket], target, path: None, directory: None })
            }
            Place::Passed(count) => {
                let mut sockets = Vec::new();
                for index in 0..*count {
                    let number = FIRST_PASSED + i32::try_from(index).unwrap_or(0);
                    sockets.push(crate::descriptor::inherited(number)?);
                }
                Ok(Listener { sockets, target: None, path: None, directory: None })
            }
        }
    }
}

fn vsock(cid: u32, port: u32) -> std::io::Result<OwnedFd> {
    use nix::sys::socket;
    let (family, kind) = (socket::AddressFamily::Vsock, socket::SockType::Stream);
    let made = socket::socket(family, kind, socket::SockFlag::SOCK_CLOEXEC, None)?;
    socket::bind(made.as_raw_fd(), &socket::VsockAddr::new(cid, port))?;
    rustix::net::listen(&made, BACKLOG)?;
    Ok(made)
}

fn plain(error: Errno) -> String {
    libimage::error::plain(&std::io::Error::from(error))
}

/// The TCP port that `port` stands for.
///
/// # Errors
/// When it is no number: names of services are not looked up.
pub(super) fn port_number(host: &str, port: &str) -> Result<u16> {
    match port.parse::<u32>() {
        // As the system's own resolver has it: the lower half counts.
        Ok(number) => Ok((number & 0xffff) as u16),
        Err(_) => {
            bail!("address resolution failed for {host}:{port}: Servname not supported for ai_socktype")
        }
    }
}

/// The addresses that `host` and `port` stand for.
fn resolve(host: &str, port: &str) -> Result<Vec<SocketAddr>> {
    let found = (host, port_number(host, port)?).to_socket_addrs();
    let found: Vec<SocketAddr> = found
        .map_err(|_| anyhow!("address resolution failed for {host}:{port}: Name or service not known"))?
        .collect();
    Ok(found)
}

fn tcp(host: &str, port: &str) -> Result<Listener> {
    let everywhere = host.is_empty() || host == "*";
    let addresses = match everywhere {
        true => resolve("0.0.0.0", port)?,
        false => resolve(host, port)?,
    };
    let mut sockets = Vec::new();
    let mut shown = None;
    let mut failure = None;
    for mut address in addresses {
        // A port that the system chooses is the same for all addresses.
        if let Some(SocketAddr::V4(_) | SocketAddr::V6(_)) = shown
            && address.port() == 0
        {
            address.set_port(shown.map_or(0, |first: SocketAddr| first.port()));
        }
        match tcp_socket(&address) {
            Ok(socket) => {
                let bound = rustix::net::getsockname(&socket).ok();
                let bound = bound.and_then(|any| SocketAddr::try_from(any).ok()).unwrap_or(address);
                shown.get_or_insert(bound);
                sockets.push(socket);
            }
            Err(error) => failure = Some(error),
        }
    }
    let Some(bound) = shown else {
        let what = match failure {
            Some(Errno::ADDRINUSE) | None => "find an available port",
            Some(_) => "bind socket",
        };
        let why = failure.map_or("no address".to_owned(), plain);
        bail!("Failed to {what}: {why}");
    };
    let target = Target::Tcp { host: bound.ip().to_string(), port: bound.port() };
    Ok(Listener { sockets, target: Some(target), path: None, directory: None })
}

fn tcp_socket(address: &SocketAddr) -> rustix::io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        // Both families are listed where both are wanted.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn unix(path: &Path) -> Result<Listener> {
    let shown = path.display();
    // The kernel wants room for a zero behind it.
    if path.as_os_str().len() >= 108 {
        bail!("UNIX socket path '{shown}' is too long\nPath must be less than 108 bytes");
    }
    let could_not = |error: Errno| anyhow!("Failed to bind socket to {shown}: {}", plain(error));
    let address = rustix::net::SocketAddrUnix::new(path).map_err(could_not)?;
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(could_not)?;
    if identity_of(path).is_some() && !is_served(path) {
        // What a server left behind that did not end in order.
        let _ = std::fs::remove_file(path);
    }
    rustix::net::bind(&socket, &address).map_err(could_not)?;
    let owned = identity_of(path).map(|identity| Owned { path: path.to_owned(), identity });
    rustix::net::listen(socket.as_fd(), BACKLOG).map_err(could_not)?;
    Ok(Listener {
        sockets: vec![socket],
        target: Some(Target::Unix(path.to_owned())),
        path: owned,
        directory: None,
    })
}

/// Somebody answers at this socket.
fn is_served(path: &Path) -> bool {
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::ConnectionRefused,
    }
}
