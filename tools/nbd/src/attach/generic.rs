//! Generic netlink: messages to a part of the kernel that is found by its name.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, netlink, recv, sendto, socket_with,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::attributes::{Attributes, Reader};

/// In front of every message.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    length: u32,
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
    /// What is asked for.
    command: u8,
    version: u8,
    reserved: u16,
}

/// Bytes of the header without the command.
const PLAIN_HEADER: usize = 16;
/// A message that is answered with an error, or with none.
const ERROR: u16 = 2;
/// It is a request, and an acknowledgement is wanted.
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
/// The family that knows the others, what is asked of it, and what it says.
const CONTROL: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
const GROUPS: u16 = 7;
const GROUP_NAME: u16 = 1;
const GROUP_ID: u16 = 2;
/// Longest message that is read.
const MAX_MESSAGE: usize = 64 << 10;
/// Messages that are read in answer to one request.
const MAX_ANSWERS: usize = 10_000;

/// A part of the kernel, and a connection to it.
pub(super) struct Family {
    socket: OwnedFd,
    kind: u16,
    version: u8,
    groups: Vec<(String, u32)>,
    sequence: u32,
}

/// A message: its command and its attributes.
pub(super) struct Message {
    pub(super) command: u8,
    contents: Vec<u8>,
}

impl Message {
    pub(super) fn attributes(&self) -> Reader<'_> {
        Reader(&self.contents)
    }
}

fn open(groups: u32) -> io::Result<OwnedFd> {
    let kind = SocketType::RAW;
    let socket = socket_with(AddressFamily::NETLINK, kind, SocketFlags::CLOEXEC, Some(netlink::GENERIC))?;
    bind(&socket, &netlink::SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

impl Family {
    /// The family called `name`; none if the kernel does not have it, or hides it here.
    ///
    /// # Errors
    /// When the kernel does not speak at all.
    pub(super) fn find(name: &str, version: u8) -> io::Result<Option<Self>> {
        let mut control =
            Family { socket: open(0)?, kind: CONTROL, version: 2, groups: Vec::new(), sequence: 0 };
        let answers = match control.ask(GET_FAMILY, &Attributes::default().text(FAMILY_NAME, name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            answers => answers?,
        };
        let Some(answer) = answers.first() else { return Ok(None) };
        let kind =
            answer.attributes().find(FAMILY_ID).and_then(|id| Some(u16::from_ne_bytes(id.try_into().ok()?)));
        let group = |(_, group)| {
            let group = Reader(group);
            Some((group.text(GROUP_NAME)?.to_owned(), group.u32(GROUP_ID)?))
        };
        let groups = answer.attributes().list(GROUPS).filter_map(group).collect();
        Ok(kind.map(|kind| Family { kind, version, groups, ..control }))
    }

    /// Asks for something, and returns what is answered.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn ask(&mut self, command: u8, attributes: &Attributes) -> io::Result<Vec<Message>> {
        self.sequence = self.sequence.wrapping_add(1);
        let attributes = attributes.as_bytes();
        let header = Header {
            length: u32::try_from(size_of::<Header>() + attributes.len()).map_err(io::Error::other)?,
            kind: self.kind,
            flags: REQUEST | ACKNOWLEDGE,
            sequence: self.sequence,
            port: 0,
            command,
            version: self.version,
            reserved: 0,
        };
        let message = [header.as_bytes(), attributes].concat();
        sendto(&self.socket, &message, SendFlags::empty(), &netlink::SocketAddrNetlink::new(0, 0))?;
        let mut answers = Vec::new();
        for _ in 0..MAX_ANSWERS {
            for (header, contents) in parse(&receive(&self.socket)?) {
                if header.sequence != self.sequence {
                    continue;
                }
                match (header.kind, contents) {
                    (ERROR, Err(0)) => return Ok(answers),
                    (ERROR, Err(number)) => return Err(io::Error::from_raw_os_error(number)),
                    (_, Ok(message)) => answers.push(message),
                    _ => {}
                }
            }
        }
        Err(io::Error::other("the kernel's answer does not end"))
    }

    /// Listens to what the family tells everybody in a group.
    ///
    /// # Errors
    /// When there is no such group, or nobody may listen.
    pub(super) fn listen(&self, group: &str) -> io::Result<Events> {
        let id = self.groups.iter().find(|(name, _)| name == group).map(|(_, id)| *id);
        // A socket joins the first 32 groups by its address.
        let bit = id.and_then(|id| 1u32.checked_shl(id.checked_sub(1)?));
        let bit = bit.ok_or_else(|| io::Error::other("the kernel tells nobody when a connection breaks"))?;
        Ok(Events { socket: open(bit)?, kind: self.kind })
    }
}

/// What a family tells everybody.
pub(super) struct Events {
    socket: OwnedFd,
    kind: u16,
}

impl Events {
    /// The messages that come within some time; perhaps none.
    ///
    /// # Errors
    /// When the kernel does not speak any more.
    pub(super) fn wait(&self, patience: Duration) -> io::Result<Vec<Message>> {
        let time = Timespec::try_from(patience).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&time)) {
            Ok(0) | Err(Errno::INTR) => return Ok(Vec::new()),
            polled => polled?,
        };
        let bytes = match receive(&self.socket) {
            // More was told than there is room for: whoever waits has to look for themselves.
            Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => return Ok(Vec::new()),
            bytes => bytes?,
        };
        let ours = parse(&bytes).into_iter().filter(|(header, _)| header.kind == self.kind);
        Ok(ours.filter_map(|(_, message)| message.ok()).collect())
    }
}

fn receive(socket: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; MAX_MESSAGE];
    loop {
        match recv(socket, &mut *buffer, RecvFlags::empty()) {
            Err(Errno::INTR) => {}
            received => {
                let (count, _) = received?;
                buffer.truncate(count);
                return Ok(buffer);
            }
        }
    }
}

/// The messages of a packet: what each says, or the number of an error.
fn parse(mut packet: &[u8]) -> Vec<(Header, Result<Message, i32>)> {
    let mut messages = Vec::new();
    while let Ok((header, _)) = Header::read_from_prefix(packet) {
        let Some(body) = packet.get(PLAIN_HEADER..header.length as usize) else { break };
        let number = body.get(..4).and_then(|number| number.try_into().ok()).map_or(0, i32::from_ne_bytes);
        let message = match header.kind {
            ERROR => Err(number.saturating_neg()),
            _ => {
                Ok(Message { command: header.command, contents: body.get(4..).unwrap_or_default().to_vec() })
            }
        };
        messages.push((header, message));
        packet = packet.get((header.length as usize).next_multiple_of(4)..).unwrap_or_default();
    }
    messages
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_finds_families_by_their_names() {
        let mut control = Family::find("nlctrl", 2).unwrap().unwrap();
        assert_eq!(control.kind, CONTROL);
        assert!(control.groups.iter().any(|(name, _)| name == "notify"), "{:?}", control.groups);
        let own = control.ask(GET_FAMILY, &Attributes::default().text(FAMILY_NAME, "nlctrl")).unwrap();
        assert_eq!(own[0].attributes().text(FAMILY_NAME), Some("nlctrl"));
        assert!(Family::find("no such family", 1).unwrap().is_none());
        let unknown = control.ask(200, &Attributes::default()).err().unwrap();
        assert_eq!(unknown.kind(), io::ErrorKind::Unsupported);
    }

    #[test]
    fn packets_that_lie_about_their_length_end_it() {
        let header = |length: u32, kind: u16| Header {
            length,
            kind,
            flags: 0,
            sequence: 1,
            port: 0,
            command: 0,
            version: 0,
            reserved: 0,
        };
        for length in [0, 15, 21, u32::MAX] {
            assert!(parse(header(length, 30).as_bytes()).is_empty(), "{length}");
        }
        assert_eq!(parse(header(16, ERROR).as_bytes())[0].1.as_ref().err(), Some(&0));
        assert_eq!(parse(&[header(20, 30).as_bytes(), &[1, 2]].concat()).len(), 1);
    }
}
