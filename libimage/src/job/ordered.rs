//! Work that is done in parallel and handed over in order.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use crate::error::{Error, Result};

/// Pieces that may be finished but not yet handed over, for each worker.
const AHEAD: u64 = 4;

struct State<T> {
    next: u64,
    handed_over: u64,
    done: BTreeMap<u64, T>,
    failure: Option<Error>,
}

/// Calls `make` for all numbers below `count` from `workers` threads, and `take` with the results in the order
/// of their numbers, from this thread. Memory is bounded: nobody runs far ahead.
///
/// # Errors
/// The first error of either; what was not yet begun is left out then.
pub fn ordered<T: Send>(
    count: u64,
    workers: usize,
    make: impl Fn(u64) -> Result<T> + Sync,
    mut take: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    let workers = (workers.max(1) as u64).min(count.max(1));
    let state = Mutex::new(State { next: 0, handed_over: 0, done: BTreeMap::new(), failure: None });
    let changed = Condvar::new();
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || {
        loop {
            let number = {
                let mut state = lock();
                while state.failure.is_none()
                    && state.next < count
                    && state.next >= state.handed_over + AHEAD * workers
                {
                    state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                if state.failure.is_some() || state.next >= count {
                    return;
                }
                state.next += 1;
                state.next - 1
            };
            let made = make(number);
            let mut state = lock();
            match made {
                Ok(made) => drop(state.done.insert(number, made)),
                Err(error) => drop(state.failure.get_or_insert(error)),
            }
            changed.notify_all();
        }
    };
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
        for number in 0..count {
            let made = {
                let mut state = lock();
                loop {
                    if state.failure.is_some() {
                        return;
                    }
                    if let Some(made) = state.done.remove(&number) {
                        break made;
                    }
                    state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            };
            let taken = take(made);
            let mut state = lock();
            state.handed_over = number + 1;
            if let Err(error) = taken {
                state.failure = Some(error);
            }
            changed.notify_all();
        }
    });
    match state.into_inner().unwrap_or_else(PoisonError::into_inner).failure {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_errors_end_it() {
        let mut seen = Vec::new();
        let done = ordered(
            1000,
            3,
            |n| Ok(n * 2),
            |n| {
                seen.push(n);
                Ok(())
            },
        );
        assert!(done.is_ok() && seen == (0..1000).map(|n| n * 2).collect::<Vec<_>>());
        let failed = ordered(1000, 3, |n| if n == 500 { Err(Error::Cancelled) } else { Ok(n) }, |_| Ok(()));
        assert!(failed.is_err());
        let refused = ordered(1000, 3, Ok, |n| if n == 5 { Err(Error::Cancelled) } else { Ok(()) });
        assert!(refused.is_err());
        assert!(ordered(0, 3, Ok, |_| Ok(())).is_ok());
    }
}
