//! The locks that the qcow2 code takes: the standard library's, or, in schedule tests, ones that try orders.
//!
//! With the feature `schedule` they belong to shuttle, which runs a test's threads one at a time and chooses at
//! each lock who goes on; nothing but tests switches it on. What is never held while another thread may run
//! (counters of the caches, the memory storage) needs no choice and stays with the standard library.

#[cfg(feature = "schedule")]
use shuttle::sync as of;
#[cfg(not(feature = "schedule"))]
use std::sync as of;

pub(crate) use of::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
pub(crate) use of::{Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
