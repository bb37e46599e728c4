//! What the kernel's nbd driver can be told by netlink: `include/uapi/linux/nbd-netlink.h`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use super::attributes::Attributes;
use super::generic::{Events, Family};

const NAME: &str = "nbd";
const VERSION: u8 = 1;
const GROUP: &str = "nbd_mc_group";

mod command {
    pub(super) const CONNECT: u8 = 1;
    pub(super) const DISCONNECT: u8 = 2;
    pub(super) const RECONFIGURE: u8 = 3;
    pub(super) const LINK_DEAD: u8 = 4;
}

mod attribute {
    pub(super) const INDEX: u16 = 1;
    pub(super) const SIZE: u16 = 2;
    pub(super) const BLOCK_SIZE: u16 = 3;
    pub(super) const TIMEOUT: u16 = 4;
    pub(super) const SERVER_FLAGS: u16 = 5;
    pub(super) const CLIENT_FLAGS: u16 = 6;
    pub(super) const SOCKETS: u16 = 7;
    pub(super) const DEAD_TIMEOUT: u16 = 8;
    pub(super) const BACKEND: u16 = 10;
    /// Of a list of sockets.
    pub(super) const ITEM: u16 = 1;
    /// Of a socket.
    pub(super) const FD: u16 = 1;
}

/// The device is disconnected when nobody has it open any more.
const DISCONNECT_ON_CLOSE: u64 = 2;

/// What a device shall be.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    /// Its number; a free one if not given.
    pub(super) index: Option<u32>,
    /// Bytes.
    pub(super) size: u64,
    /// Bytes of a sector.
    pub(super) block_size: u32,
    /// The transmission flags of the export.
    pub(super) flags: u16,
    /// Seconds after which a request without an answer breaks its connection; 0 for never.
    pub(super) timeout: u64,
    /// Seconds that requests wait for a new connection when all are broken.
    pub(super) dead_timeout: u64,
    /// What it is, for people.
    pub(super) backend: String,
}

/// The driver.
pub(super) struct Driver(Family);

impl Driver {
    /// Finds it; none if it is not there, or cannot be told anything from here.
    ///
    /// # Errors
    /// When the kernel does not speak netlink at all.
    pub(super) fn find() -> io::Result<Option<Self>> {
        Ok(Family::find(NAME, VERSION)?.map(Driver))
    }

    /// Connects a device, and returns its number.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn connect(&mut self, wanted: &Wanted, sockets: &[BorrowedFd<'_>]) -> io::Result<u32> {
        let mut attributes =
            wanted.index.iter().fold(Attributes::default(), |all, index| all.u32(attribute::INDEX, *index));
        attributes = attributes
            .u64(attribute::SIZE, wanted.size)
            .u64(attribute::BLOCK_SIZE, u64::from(wanted.block_size))
            .u64(attribute::SERVER_FLAGS, u64::from(wanted.flags))
            .text(attribute::BACKEND, &wanted.backend)
            .list(attribute::SOCKETS, list(sockets));
        if wanted.timeout != 0 {
            attributes = attributes.u64(attribute::TIMEOUT, wanted.timeout);
        }
        if wanted.dead_timeout != 0 {
            attributes = attributes.u64(attribute::DEAD_TIMEOUT, wanted.dead_timeout);
        }
        let answers = self.0.ask(command::CONNECT, &attributes)?;
        let index = answers.iter().find_map(|answer| answer.attributes().u32(attribute::INDEX));
        index.or(wanted.index).ok_or_else(|| io::Error::other("the kernel does not say which device it took"))
    }

    /// Gives a device new connections in place of broken ones.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn reconnect(
        &mut self,
        index: u32,
        backend: &str,
        sockets: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let attributes = Attributes::default()
            .u32(attribute::INDEX, index)
            .text(attribute::BACKEND, backend)
            .list(attribute::SOCKETS, list(sockets));
        self.0.ask(command::RECONFIGURE, &attributes).map(drop)
    }

    /// From now on a device is disconnected when it is closed and nobody else has it open.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn disconnect_on_close(&mut self, index: u32, backend: &str) -> io::Result<()> {
        let attributes = Attributes::default()
            .u32(attribute::INDEX, index)
            .text(attribute::BACKEND, backend)
            .u64(attribute::CLIENT_FLAGS, DISCONNECT_ON_CLOSE);
        self.0.ask(command::RECONFIGURE, &attributes).map(drop)
    }

    /// Disconnects a device.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn disconnect(&mut self, index: u32) -> io::Result<()> {
        self.0.ask(command::DISCONNECT, &Attributes::default().u32(attribute::INDEX, index)).map(drop)
    }

    /// Listens for connections that break.
    ///
    /// # Errors
    /// When the kernel tells nobody.
    pub(super) fn breaks(&self) -> io::Result<Breaks> {
        self.0.listen(GROUP).map(Breaks)
    }
}

fn list(sockets: &[BorrowedFd<'_>]) -> Attributes {
    sockets.iter().fold(Attributes::default(), |all, socket| {
        // Descriptors are never negative.
        let number = u32::try_from(socket.as_raw_fd()).unwrap_or(u32::MAX);
        all.list(attribute::ITEM, Attributes::default().u32(attribute::FD, number))
    })
}

/// News of connections that break.
pub(super) struct Breaks(Events);

impl Breaks {
    /// How many connections of a device broke within some time.
    ///
    /// # Errors
    /// When the kernel does not speak any more.
    pub(super) fn of(&self, index: Option<u32>, patience: Duration) -> io::Result<usize> {
        let told = self.0.wait(patience)?;
        let is_it = |command, told: Option<u32>| command == command::LINK_DEAD && told == index;
        Ok(told.iter().filter(|told| is_it(told.command, told.attributes().u32(attribute::INDEX))).count())
    }
}
