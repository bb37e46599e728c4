//! What the direct readers refuse in the middle of a mount is asked of the agent of an appliance.
//!
//! Only what is refused: a file system of which one file cannot be read directly is still read directly elsewhere. What
//! the agent answers belongs to nodes of its own, whose numbers are marked. A node that was found directly is found
//! once more by the agent, by its path.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use guestd_api::fuse::{
    BatchForgetIn, Dirent, EntryOut, ForgetIn, ForgetOne, IN_HEADER, InHeader, InitIn, IoctlIn, MAJOR,
    MAX_MESSAGE, MAX_WRITE, MINOR, OUT_HEADER, OutHeader, ROOT, op,
};
use rustix::io::Errno;
use zerocopy::{FromBytes, IntoBytes};

/// In the number of a node: it is the agent's.
const MARK: u64 = 1 << 62;

/// Whether a node is the agent's.
pub(super) fn is_marked(node: u64) -> bool {
    node & MARK != 0
}

/// The agent of an appliance that was started for what is refused.
pub(super) struct Agent {
    line: Mutex<Line>,
    /// Nodes that were found directly, with the agent's.
    known: Mutex<HashMap<u64, u64>>,
}

/// One request at a time: these are few.
struct Line {
    port: UnixStream,
    unique: u64,
}

impl Agent {
    /// Agrees with the agent on what both do.
    ///
    /// # Errors
    /// When it does not answer, or not as it should.
    pub(super) fn start(port: UnixStream) -> io::Result<Self> {
        let line = Mutex::new(Line { port, unique: 0 });
        let agent = Agent { line, known: Mutex::default() };
        let offer = InitIn { major: MAJOR, minor: MINOR, max_readahead: MAX_WRITE, ..InitIn::default() };
        agent.call(InHeader { opcode: op::INIT, ..InHeader::default() }, offer.as_bytes())?;
        Ok(agent)
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u64, u64>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries a request of the kernel's out; `path` leads to its node, if it was found directly. What the answer
    /// contains goes to `answer`.
    pub(super) fn serve(
        &self,
        header: &InHeader,
        rest: &[u8],
        path: impl FnOnce() -> Result<Vec<Vec<u8>>, Errno>,
        answer: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        let nodeid = if is_marked(header.nodeid) { header.nodeid & !MARK } else { self.find(header, path)? };
        let start = answer.len();
        answer.extend_from_slice(&self.call(InHeader { nodeid, ..*header }, rest)?);
        let contents = answer.get_mut(start..).unwrap_or_default();
        match header.opcode {
            op::LOOKUP => mark(contents),
            op::READDIRPLUS => mark_all(contents),
            _ => {}
        }
        Ok(())
    }

    /// The agent's node for one that was found directly.
    fn find(
        &self,
        header: &InHeader,
        path: impl FnOnce() -> Result<Vec<Vec<u8>>, Errno>,
    ) -> Result<u64, Errno> {
        if header.nodeid == ROOT {
            return Ok(ROOT);
        }
        if let Some(node) = self.known().get(&header.nodeid) {
            return Ok(*node);
        }
        let mut node = ROOT;
        for mut name in path()? {
            name.push(0);
            let lookup = InHeader { opcode: op::LOOKUP, nodeid: node, ..*header };
            let found = self.call(lookup, &name)?;
            let (entry, _) = EntryOut::read_from_prefix(&found).map_err(|_| Errno::IO)?;
            // Those in between are asked for once each time, and forgotten with the appliance.
            node = entry.nodeid;
            if node == 0 {
                return Err(Errno::STALE);
            }
        }
        self.known().insert(header.nodeid, node);
        Ok(node)
    }

    /// The kernel has forgotten nodes, as FORGET or BATCH_FORGET says.
    pub(super) fn forget(&self, node: u64, times: u64) {
        let told = if is_marked(node) {
            Some((node & !MARK, times))
        } else {
            self.known().remove(&node).map(|node| (node, 1))
        };
        let Some((nodeid, nlookup)) = told else { return };
        let header = InHeader { opcode: op::FORGET, nodeid, ..InHeader::default() };
        // An agent that is gone has forgotten everything.
        let _ = self.line().send(header, ForgetIn { nlookup }.as_bytes());
    }

    /// Sends a request and waits for what its answer contains.
    fn call(&self, header: InHeader, body: &[u8]) -> Result<Vec<u8>, Errno> {
        let mut line = self.line();
        line.send(header, body).and_then(|()| line.receive()).map_err(|_| {
            // Half a message was left there, or nobody is: nothing can be asked any more.
            let _ = line.port.shutdown(std::net::Shutdown::Both);
            Errno::IO
        })?
    }
}

impl Line {
    fn send(&mut self, mut header: InHeader, body: &[u8]) -> io::Result<()> {
        self.unique = self.unique.wrapping_add(2);
        header.unique = self.unique;
        let length = IN_HEADER.saturating_add(body.len());
        header.len = u32::try_from(length).map_err(io::Error::other)?;
        self.port.write_all(&[header.as_bytes(), body].concat())
    }

    /// The outer error is that of the line, the inner the answer's.
    fn receive(&mut self) -> io::Result<Result<Vec<u8>, Errno>> {
        let mut head = [0; OUT_HEADER];
        self.port.read_exact(&mut head)?;
        let header: OutHeader = zerocopy::transmute!(head);
        let length = (header.len as usize).checked_sub(OUT_HEADER);
        let length = length.filter(|length| *length <= MAX_MESSAGE && header.unique == self.unique);
        let mut rest = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
        self.port.read_exact(&mut rest)?;
        Ok(match header.error {
            0 => Ok(rest),
            error => Err(Errno::from_raw_os_error(error.saturating_neg().clamp(1, 4095))),
        })
    }
}

/// What FORGET and BATCH_FORGET say, as nodes and how often each.
pub(super) fn forgotten(header: &InHeader, rest: &[u8]) -> Vec<(u64, u64)> {
    if header.opcode == op::FORGET {
        let one = ForgetIn::read_from_prefix(rest).map(|(one, _)| (header.nodeid, one.nlookup));
        return one.into_iter().collect();
    }
    let Ok((BatchForgetIn { count, .. }, mut rest)) = BatchForgetIn::read_from_prefix(rest) else {
        return Vec::new();
    };
    let each = (0..count).map_while(|_| {
        let (one, after) = ForgetOne::read_from_prefix(rest).ok()?;
        rest = after;
        Some((one.nodeid, one.nlookup))
    });
    each.collect()
}

/// Whether a call of a file's own only asks for its flags or its version, or for those of its project.
pub(super) fn asks_for_flags(rest: &[u8]) -> bool {
    const READING: [u32; 3] = [0x8008_6601, 0x8008_7601, 0x801c_581f];
    IoctlIn::read_from_prefix(rest).is_ok_and(|(wanted, _)| READING.contains(&wanted.cmd))
}

/// Marks the node of an entry, if it has one.
fn mark(entry: &mut [u8]) {
    let is_whole = entry.len() >= size_of::<EntryOut>();
    // It comes first.
    if let Some(node) = entry.first_chunk_mut::<8>().filter(|node| is_whole && **node != [0; 8]) {
        *node = (u64::from_ne_bytes(*node) | MARK).to_ne_bytes();
    }
}

/// Marks the nodes of a listing.
fn mark_all(listing: &mut [u8]) {
    const HEAD: usize = size_of::<EntryOut>() + size_of::<Dirent>();
    let mut at = 0_usize;
    while let Some(part) = listing.get_mut(at..).filter(|part| part.len() >= HEAD) {
        mark(part);
        let Ok((dirent, _)) = Dirent::read_from_prefix(part.get(size_of::<EntryOut>()..).unwrap_or_default())
        else {
            return;
        };
        at = at.saturating_add(HEAD.saturating_add(dirent.namelen as usize).next_multiple_of(8));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;
    use guestd_api::fuse::{self, push_dirent};

    /// An agent that knows three names below each other, and answers a read with its node's number.
    fn agent(mut port: UnixStream) {
        loop {
            let mut head = [0; IN_HEADER];
            if port.read_exact(&mut head).is_err() {
                return;
            }
            let header: InHeader = zerocopy::transmute!(head);
            let mut rest = vec![0; header.len as usize - IN_HEADER];
            port.read_exact(&mut rest).unwrap();
            let contents = match (header.opcode, header.nodeid, &rest[..]) {
                (op::FORGET, ..) => continue,
                (op::LOOKUP, node, b"a\0" | b"b\0" | b"c\0") => {
                    EntryOut { nodeid: node * 10, ..EntryOut::default() }.as_bytes().to_vec()
                }
                (op::LOOKUP, ..) => {
                    port.write_all(fuse::answer(header.unique, -2).as_bytes()).unwrap();
                    continue;
                }
                (op::READLINK, node, _) => node.to_string().into_bytes(),
                (op::STATFS, ..) => return,
                _ => Vec::new(),
            };
            let len = (OUT_HEADER + contents.len()) as u32;
            let answer = OutHeader { len, ..fuse::answer(header.unique, 0) };
            port.write_all(&[answer.as_bytes(), &contents].concat()).unwrap();
        }
    }

    #[test]
    fn nodes_are_found_by_their_paths_and_the_agent_s_are_marked() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let thread = std::thread::spawn(move || agent(theirs));
        let agent = Agent::start(ours).unwrap();
        let ask = |opcode: u32, nodeid: u64, rest: &[u8], path: &[&str]| {
            let header = InHeader { opcode, nodeid, ..InHeader::default() };
            let mut answer = vec![7];
            let path = || Ok(path.iter().map(|name| name.as_bytes().to_vec()).collect());
            agent.serve(&header, rest, path, &mut answer).map(|()| answer.split_off(1))
        };
        assert_eq!(ask(op::READLINK, 5, b"", &["a", "b"]).unwrap(), b"100");
        // From here on it is known.
        assert_eq!(ask(op::READLINK, 5, b"", &["x"]).unwrap(), b"100");
        assert_eq!(ask(op::READLINK, 6, b"", &["x"]), Err(Errno::NOENT));
        let (entry, _) = EntryOut::read_from_prefix(&ask(op::LOOKUP, 5, b"c\0", &[]).unwrap()).unwrap();
        assert_eq!((entry.nodeid & !MARK, is_marked(entry.nodeid)), (1000, true));
        assert_eq!(ask(op::READLINK, entry.nodeid, b"", &["x"]).unwrap(), b"1000");
        agent.forget(5, 3);
        assert_eq!(ask(op::READLINK, 5, b"", &["c"]).unwrap(), b"10");
        // It is gone.
        assert_eq!(ask(op::STATFS, 5, b"", &[]), Err(Errno::IO));
        assert_eq!(ask(op::READLINK, 5, b"", &[]), Err(Errno::IO));
        thread.join().unwrap();
    }

    #[test]
    fn all_nodes_of_a_listing_are_marked() {
        let mut list = Vec::new();
        let entry = EntryOut { nodeid: 3, ..EntryOut::default() };
        for (entry, name) in [(EntryOut::default(), &b"."[..]), (entry, b"name"), (entry, b"a-longer-name")] {
            assert!(push_dirent(&mut list, 4096, Some(&entry), Dirent::default(), name));
        }
        let plain = list.clone();
        mark_all(&mut list);
        assert_eq!(list.iter().zip(&plain).filter(|(a, b)| a != b).count(), 2);
        list.truncate(list.len() - 20);
        mark_all(&mut list);
        mark_all(&mut []);
    }
}
