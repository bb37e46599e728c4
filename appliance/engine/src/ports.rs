//! The host's ends of a machine's ports, and the guest's ends for whoever serves the device.

use std::io;
use std::os::unix::net::UnixStream;

use vmm_mini::virtio::console::NamedPort;

use crate::backend::{MOUNT_PORT, RPC_PORT};

/// The host's ends; each can be taken once.
#[derive(Debug)]
pub(crate) struct Ports {
    rpc: Option<UnixStream>,
    mount: Option<UnixStream>,
}

/// The other ends, each with its port's name.
pub(crate) type GuestEnds = [(&'static str, UnixStream); 2];

impl Ports {
    /// Both ends of all ports.
    pub(crate) fn new() -> io::Result<(Ports, GuestEnds)> {
        let (rpc, rpc_there) = UnixStream::pair()?;
        let (mount, mount_there) = UnixStream::pair()?;
        let ports = Ports { rpc: Some(rpc), mount: Some(mount) };
        Ok((ports, [(RPC_PORT, rpc_there), (MOUNT_PORT, mount_there)]))
    }

    /// More descriptors for the host's ends, to end them from elsewhere.
    pub(crate) fn try_clone(&self) -> io::Result<Vec<UnixStream>> {
        [&self.rpc, &self.mount].into_iter().flatten().map(UnixStream::try_clone).collect()
    }

    pub(crate) fn rpc(&mut self) -> io::Result<UnixStream> {
        self.rpc.take().ok_or_else(taken)
    }

    pub(crate) fn mount(&mut self) -> io::Result<UnixStream> {
        self.mount.take().ok_or_else(taken)
    }
}

/// The guest's ends as ports of our own device.
pub(crate) fn named(ends: GuestEnds) -> Vec<NamedPort> {
    let port = |(name, stream): (&str, _)| NamedPort { name: name.to_owned(), stream, hang_up: true };
    ends.into_iter().map(port).collect()
}

fn taken() -> io::Error {
    io::Error::other("The channel to the guest has been taken already")
}
