//! Files that are known to have no capabilities.
//!
//! The kernel wants to know that of a file before the first write to it, before it gives it to somebody, and before it
//! runs it, and remembers nothing. So it is remembered here: of new files, and of those that the agent was asked about.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use guestd_api::fuse::{CreateIn, EntryOut, GetxattrIn, InHeader, OUT_HEADER, OutHeader, op};
use rustix::fs::OFlags;
use rustix::io::Errno;
use zerocopy::FromBytes;

use super::takeover::forgotten;

/// The extended attribute that holds a file's capabilities.
const NAME: &[u8] = b"security.capability\0";

/// Those files.
#[derive(Default)]
pub(super) struct Bare(Mutex<State>);

#[derive(Default)]
struct State {
    nodes: HashSet<u64>,
    /// How often extended attributes were set.
    changes: u64,
}

/// What a request's answer will tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lesson {
    /// Nothing.
    Nothing,
    /// Whether a node has capabilities, as long as there were only so many changes.
    Has(u64, u64),
    /// The node of a new file.
    New,
}

impl Bare {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be learned from the answer to a request. `None` if the answer is that there are none.
    pub(super) fn look(&self, message: &[u8]) -> Option<Lesson> {
        let Ok((header, rest)) = InHeader::read_from_prefix(message) else { return Some(Lesson::Nothing) };
        match header.opcode {
            op::GETXATTR => {
                let is_it = GetxattrIn::read_from_prefix(rest).is_ok_and(|(_, name)| name == NAME);
                let state = self.state();
                match is_it {
                    true if state.nodes.contains(&header.nodeid) => None,
                    true => Some(Lesson::Has(header.nodeid, state.changes)),
                    false => Some(Lesson::Nothing),
                }
            }
            op::CREATE => {
                let made = CreateIn::read_from_prefix(rest);
                let is_new = made.is_ok_and(|(made, _)| made.flags & OFlags::EXCL.bits() != 0);
                Some(if is_new { Lesson::New } else { Lesson::Nothing })
            }
            op::TMPFILE => Some(Lesson::New),
            op::SETXATTR => {
                let mut state = self.state();
                state.changes = state.changes.wrapping_add(1);
                state.nodes.remove(&header.nodeid);
                Some(Lesson::Nothing)
            }
            op::FORGET | op::BATCH_FORGET => {
                let mut state = self.state();
                for (node, _) in forgotten(&header, rest) {
                    state.nodes.remove(&node);
                }
                Some(Lesson::Nothing)
            }
            _ => Some(Lesson::Nothing),
        }
    }

    /// Learns from an answer.
    pub(super) fn learn(&self, lesson: Lesson, answer: &[u8]) {
        let Ok((header, rest)) = OutHeader::read_from_prefix(answer) else { return };
        match lesson {
            Lesson::Has(node, changes) if header.error == Errno::NODATA.raw_os_error().saturating_neg() => {
                let mut state = self.state();
                if state.changes == changes {
                    state.nodes.insert(node);
                }
            }
            Lesson::New if header.error == 0 && header.len as usize > OUT_HEADER => {
                if let Ok((entry, _)) = EntryOut::read_from_prefix(rest) {
                    self.state().nodes.insert(entry.nodeid);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;
    use guestd_api::fuse::{self, ForgetIn};
    use zerocopy::IntoBytes;

    fn request(opcode: u32, nodeid: u64, rest: &[u8]) -> Vec<u8> {
        [InHeader { opcode, nodeid, ..InHeader::default() }.as_bytes(), rest].concat()
    }

    fn asking(node: u64, name: &[u8]) -> Vec<u8> {
        request(op::GETXATTR, node, &[GetxattrIn::default().as_bytes(), name].concat())
    }

    #[test]
    fn a_file_is_bare_until_it_gets_an_attribute() {
        let bare = Bare::default();
        let none = fuse::answer(2, Errno::NODATA.raw_os_error().saturating_neg());
        let lesson = bare.look(&asking(5, NAME)).unwrap();
        bare.learn(lesson, fuse::answer(2, -5).as_bytes());
        assert_eq!(bare.look(&asking(5, NAME)), Some(lesson));
        bare.learn(lesson, none.as_bytes());
        assert_eq!(bare.look(&asking(5, NAME)), None);
        assert_eq!(bare.look(&asking(5, b"security.selinux\0")), Some(Lesson::Nothing));
        // What was asked before a change and is answered after it says nothing.
        let lesson = bare.look(&asking(6, NAME)).unwrap();
        bare.look(&request(op::SETXATTR, 5, &[]));
        bare.learn(lesson, none.as_bytes());
        assert!(bare.look(&asking(5, NAME)).is_some() && bare.look(&asking(6, NAME)).is_some());
    }

    #[test]
    fn a_new_file_is_bare_until_it_is_forgotten() {
        let bare = Bare::default();
        let create = |flags: OFlags| {
            let made = CreateIn { flags: flags.bits(), ..CreateIn::default() };
            bare.look(&request(op::CREATE, 1, made.as_bytes()))
        };
        assert_eq!(create(OFlags::CREATE), Some(Lesson::Nothing));
        assert_eq!(create(OFlags::CREATE | OFlags::EXCL), Some(Lesson::New));
        let entry = EntryOut { nodeid: 9, ..EntryOut::default() };
        let header = OutHeader { len: 144, ..fuse::answer(2, 0) };
        bare.learn(Lesson::New, &[header.as_bytes(), entry.as_bytes()].concat());
        assert_eq!(bare.look(&asking(9, NAME)), None);
        bare.look(&request(op::FORGET, 9, ForgetIn { nlookup: 1 }.as_bytes()));
        assert!(bare.look(&asking(9, NAME)).is_some());
    }
}
