//! One processor of the host for a machine that hands control back and forth between its processes.
//!
//! A system call in User-Mode Linux is a change between two processes. When they run on one processor that
//! takes microseconds; on two, each change wakes the other processor first, which is several times slower.
//! So such a machine stays where it starts, and machines that run at the same time keep out of each other's
//! way as long as there are enough processors.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A processor, kept from other machines of ours until this is dropped.
#[derive(Debug)]
pub(crate) struct Processor {
    number: usize,
    /// A name that only one process can have at a time, and that goes with it.
    _claim: Option<UnixListener>,
}

impl Processor {
    /// One of those that this thread may use; one that no other machine has, if there is such.
    pub(crate) fn claim() -> Option<Processor> {
        let mine = sched_getaffinity(None).ok()?;
        let all: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&number| mine.is_set(number)).collect();
        let start = std::process::id() as usize % all.len().max(1);
        let (before, after) = all.split_at_checked(start)?;
        let free = after.iter().chain(before).find_map(|&number| {
            let name = format!("diskwright/processor/{number}");
            let address = SocketAddr::from_abstract_name(name).ok()?;
            Some(Processor { number, _claim: Some(UnixListener::bind_addr(&address).ok()?) })
        });
        free.or_else(|| Some(Processor { number: *after.first()?, _claim: None }))
    }

    /// Does `work` on this processor, which processes that it starts then stay on.
    pub(crate) fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        let Ok(before) = sched_getaffinity(None) else { return work() };
        let mut only = CpuSet::new();
        only.set(self.number);
        // Where that is forbidden the machine is slower and nothing else.
        let _ = sched_setaffinity(None, &only);
        let done = work();
        let _ = sched_setaffinity(None, &before);
        done
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn work_runs_on_the_claimed_processor_and_no_longer() {
        let before = sched_getaffinity(None).unwrap();
        let processor = Processor::claim().unwrap();
        let inside = processor.run(|| sched_getaffinity(None).unwrap());
        assert!(inside.count() == 1 && inside.is_set(processor.number));
        assert_eq!(sched_getaffinity(None).unwrap(), before);
    }

    #[test]
    fn machines_get_different_processors_while_there_are_some() {
        let count = sched_getaffinity(None).unwrap().count() as usize;
        let claims: Vec<Processor> = (0..count).map(|_| Processor::claim().unwrap()).collect();
        let mut numbers: Vec<usize> =
            claims.iter().filter(|claim| claim._claim.is_some()).map(|claim| claim.number).collect();
        let claimed = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), claimed);
        assert!(Processor::claim().is_some(), "more machines than processors still get one");
    }
}
