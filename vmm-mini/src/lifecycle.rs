//! Whether a machine runs, and how it ended.
//!
//! vCPU threads wait here while the machine is held and leave when it has ended. Whoever ends a machine, a
//! device, a vCPU or the owner, does it by [`Lifecycle::finish`]; the first one counts.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::kvm::kick::Kick;

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exit {
    /// The guest switched the power off.
    PowerOff,
    /// The guest reset the machine.
    Reset,
    /// The guest's kernel panicked; with its reason where it was printed.
    Panic(Option<String>),
    /// The processor shut down after faults it could not deliver (a "triple fault"), which is also how some
    /// kernels reset.
    TripleFault,
    /// The owner stopped the machine.
    Stopped,
    /// KVM could not go on; what it said.
    Failed(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum State {
    /// vCPUs wait.
    #[default]
    Held,
    Running,
    Ended(Exit),
}

#[derive(Default)]
struct Inner {
    state: State,
    vcpus: Vec<Kick>,
}

/// The state that everybody in a machine watches.
#[derive(Default)]
pub struct Lifecycle {
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Lifecycle {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a vCPU known, so that it can be pulled out of the guest.
    pub fn join(&self, vcpu: Kick) {
        self.inner().vcpus.push(vcpu);
    }

    /// Lets held vCPUs run.
    pub fn release(&self) {
        let mut inner = self.inner();
        if inner.state == State::Held {
            inner.state = State::Running;
            self.changed.notify_all();
        }
    }

    /// Ends the machine; only the first call counts.
    pub fn finish(&self, exit: Exit) {
        let mut inner = self.inner();
        if !matches!(inner.state, State::Ended(_)) {
            inner.state = State::Ended(exit);
            self.changed.notify_all();
            inner.vcpus.iter().for_each(Kick::kick);
        }
    }

    /// Called by a vCPU between two visits to the guest: waits while the machine is held, and says whether
    /// to go on.
    #[must_use]
    pub fn may_run(&self) -> bool {
        let mut inner = self.inner();
        while inner.state == State::Held {
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        inner.state == State::Running
    }

    /// How the machine ended, if it has.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        match &self.inner().state {
            State::Ended(exit) => Some(exit.clone()),
            State::Held | State::Running => None,
        }
    }

    /// Waits until the machine has ended, at most until `deadline`.
    #[must_use]
    pub fn wait(&self, deadline: Option<Instant>) -> Option<Exit> {
        let mut inner = self.inner();
        loop {
            if let State::Ended(exit) = &inner.state {
                return Some(exit.clone());
            }
            let left = deadline.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return None;
            }
            // Long waits are cut: some clocks cannot count to the maximum.
            let (next, _) = self
                .changed
                .wait_timeout(inner, left.min(Duration::from_secs(3600)))
                .unwrap_or_else(PoisonError::into_inner);
            inner = next;
        }
    }
}
