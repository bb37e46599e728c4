//! The guest's file systems served to the host's kernel: the far end of a mount on the host.
//!
//! Requests of FUSE come over a port of their own and are carried out on what is mounted for the guest, by file
//! calls that never follow a name out of it: each name is one component, looked up in a directory that is open, and
//! symbolic links are not followed. The host's kernel checks permissions; files that are made belong
//! to whoever asked for them.

mod attributes;
mod control;
mod data;
mod kernel;
mod list;
mod names;
mod nodes;
mod request;
mod serve;
mod slots;
mod spelling;
mod tree;
mod xattrs;

pub(crate) use tree::Shown;

use crate::agent::Agent;
use guestd_api::{Failure, fuse};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit};
use serve::End;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use zerocopy::IntoBytes;

/// How long the end of a service may take when the machine goes off.
const PATIENCE: Duration = Duration::from_secs(30);
/// Descriptors that the agent may have: nodes are open files.
const DESCRIPTORS: u64 = 64 << 10;

/// The service, if there is one; the port stays open from the first on.
#[derive(Default)]
pub(crate) struct Service {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    port: Option<File>,
    is_running: bool,
}

impl Service {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end of a service whose host has gone, so that nothing of the guest is open any more.
    pub(crate) fn wait(&self) {
        let state = self.state();
        // Late or not, the machine goes off.
        let _ = self.ended.wait_timeout_while(state, PATIENCE, |state| state.is_running);
    }
}

/// Begins to serve what is mounted for the guest, in a thread of its own.
pub(crate) fn start(agent: &std::sync::Arc<Agent>, shown: Shown) -> Result<(), Failure> {
    let failed = |what: &'static str| move |error: io::Error| Failure::io(what, &error);
    let mut state = agent.mount_service.state();
    if state.is_running {
        return Err(Failure::new("the guest is mounted on the host already").with_errno(libc::EBUSY));
    }
    let port = match &state.port {
        Some(port) => port.try_clone().map_err(failed("the port for mounts"))?,
        None => {
            let port = crate::init::open_port(fuse::PORT).map_err(failed("the port for mounts"))?;
            state.port = Some(port.try_clone().map_err(failed("the port for mounts"))?);
            port
        }
    };
    let limit = rustix::process::getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|now| now < DESCRIPTORS) {
        let limit =
            Rlimit { current: Some(DESCRIPTORS), maximum: limit.maximum.map(|max| max.max(DESCRIPTORS)) };
        rustix::process::setrlimit(Resource::Nofile, limit)
            .map_err(|e| Failure::io("the limit of open files", &e.into()))?;
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::open(&agent.sysroot, flags, Mode::empty());
    let exchange = agent.exchange().ok_or_else(|| Failure::new("the machine has no exchange"))?;
    let tree = top.and_then(|top| tree::Tree::new(top, shown, exchange));
    let tree = tree.map_err(|e| Failure::io("/", &e.into()))?;
    let theirs = std::sync::Arc::clone(agent);
    let run = move || {
        let ended = port.try_clone().and_then(|mut writer| {
            // All files of the tree are closed before the host hears of the end.
            let end = serve::serve(tree, port)?;
            if let End::Asked(unique) = end {
                rustix::fs::sync();
                theirs.mount_service.state().is_running = false;
                writer.write_all(fuse::answer(unique, 0).as_bytes())?;
            }
            Ok(())
        });
        if let Err(error) = ended {
            let _ = writeln!(io::stderr(), "guestd: the mount on the host: {error}");
        }
        theirs.mount_service.state().is_running = false;
        theirs.mount_service.ended.notify_all();
    };
    let thread = std::thread::Builder::new().name("fuse-port".into()).stack_size(256 << 10).spawn(run);
    thread.map_err(failed("a thread for the mount"))?;
    state.is_running = true;
    Ok(())
}
