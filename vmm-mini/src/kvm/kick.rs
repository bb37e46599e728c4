//! Pulling a vCPU thread out of the guest.
//!
//! A kick sets the vCPU's `immediate_exit` flag and sends its thread a signal. If the thread is in the guest,
//! the signal brings it out; if it is about to enter, KVM sees the flag and does not. The thread clears the
//! flag before it looks at why it was kicked, so that no kick is lost.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};

use kvm_ioctls::VcpuFd;
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler};

use crate::error::{Error, Result};

fn kick_signal() -> i32 {
    SIGRTMIN() + 3
}

extern "C" fn on_kick(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

/// Installs the signal's handler, which does nothing: interrupting the system call is the effect.
///
/// # Errors
/// When the signal cannot be handled.
pub fn install_handler() -> Result<()> {
    static ONCE: Once = Once::new();
    let mut result = Ok(());
    ONCE.call_once(|| {
        result = register_signal_handler(kick_signal(), on_kick)
            .map_err(|error| io::Error::from_raw_os_error(error.errno()))
            .map_err(Error::system("handle the vCPU signal"));
    });
    result
}

struct Target {
    thread: libc::pthread_t,
    immediate_exit: NonNull<AtomicU8>,
}

// SAFETY: the pointer is to a byte of a shared mapping that is only accessed atomically, and it is removed
// (`Guard`) before the mapping goes away; the thread id is used only while that thread lives, for the same
// reason.
unsafe impl Send for Target {}

/// A handle by which others kick a vCPU.
#[derive(Clone, Default)]
pub struct Kick(Arc<Mutex<Option<Target>>>);

impl Kick {
    /// Pulls the vCPU out of the guest, or keeps it from entering once. Nothing happens when its thread has
    /// not begun or is over.
    pub fn kick(&self) {
        if let Some(target) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            // SAFETY: the target is present, so the mapping exists (see `Target`).
            unsafe { target.immediate_exit.as_ref() }.store(1, Ordering::SeqCst);
            // SAFETY: the target is present, so its thread is alive.
            unsafe { libc::pthread_kill(target.thread, kick_signal()) };
        }
    }
}

/// A vCPU that can be kicked, owned by its thread.
pub struct Kickable {
    fd: VcpuFd,
    kick: Kick,
}

impl Kickable {
    /// Binds `kick` to this thread and vCPU.
    #[must_use]
    pub fn new(mut fd: VcpuFd, kick: Kick) -> Kickable {
        let byte = std::ptr::from_mut(&mut fd.get_kvm_run().immediate_exit).cast::<AtomicU8>();
        // SAFETY: pthread_self has no preconditions.
        let thread = unsafe { libc::pthread_self() };
        let target = NonNull::new(byte).map(|immediate_exit| Target { thread, immediate_exit });
        *kick.0.lock().unwrap_or_else(PoisonError::into_inner) = target;
        Kickable { fd, kick }
    }

    /// The vCPU.
    pub fn fd(&mut self) -> &mut VcpuFd {
        &mut self.fd
    }

    /// Takes notice of a kick.
    pub fn clear(&self) {
        if let Some(target) = &*self.kick.0.lock().unwrap_or_else(PoisonError::into_inner) {
            // SAFETY: the target is present, so the mapping exists (see `Target`).
            unsafe { target.immediate_exit.as_ref() }.store(0, Ordering::SeqCst);
        }
    }
}

impl Drop for Kickable {
    fn drop(&mut self) {
        *self.kick.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
