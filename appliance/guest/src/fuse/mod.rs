//! A guest mounted on a directory of the host.
//!
//! Read-only file systems that are read directly are served here (`direct`), in milliseconds; what a reader refuses
//! later is answered by an appliance that is started for it (`takeover`). For all others the kernel's requests go to the agent as they are (`relay`), so what the mount does is what the guest's own file
//! system does. When the mount is taken off, the agent writes everything before anybody is told that it is over
//! (`end`).

mod bare;
mod direct;
mod end;
mod relay;
mod slots;
mod takeover;
mod tree;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use appliance_engine::launch::Notice;
use fuse::mount;
use guestd_api::actions::debug::{InternalMountLocalOptions, Methods as _};
use guestd_api::{Error, Failure, Result};
use libimage::error::describe;

use crate::guest::Guest;
use direct::DirectMount;
use end::Herald;
use relay::Relay;
use takeover::Agent;
use tree::Tree;

pub use end::{Failed, take_off};
pub(crate) use fuse::mount::unmount_now as unmount;
pub use fuse::options::MountOptions;

/// How often a wait looks around.
const LOOK: Duration = Duration::from_millis(200);

/// Who answers the kernel.
enum Service {
    Direct(DirectMount),
    Agent(Relay),
}

impl Service {
    fn is_over(&self, patience: Duration) -> bool {
        match self {
            Service::Direct(mount) => mount.is_over(patience),
            Service::Agent(relay) => relay.is_over(patience),
        }
    }
}

/// What the agent needs to know.
fn for_agent(options: &MountOptions) -> InternalMountLocalOptions {
    let number = |number: u32| i32::try_from(number).ok();
    InternalMountLocalOptions {
        uid: options.uid.and_then(number),
        gid: options.gid.and_then(number),
        umask: number(options.umask).filter(|mask| *mask != 0),
        seconds: options.seconds.and_then(|seconds| i32::try_from(seconds).ok()),
    }
}

/// A mounted guest.
///
/// The guest must live until the mount is over, which is when somebody has taken it off and
/// [`HostMount::wait`] has returned.
pub struct HostMount {
    point: PathBuf,
    service: Service,
    options: MountOptions,
    herald: Mutex<Option<Herald>>,
}

impl HostMount {
    /// Mounts what is mounted in a guest on a directory of the host. It can be used when this returns.
    ///
    /// # Errors
    /// When the guest cannot be served, or the kernel does not mount.
    pub fn new(guest: &Guest, point: &Path, options: &MountOptions) -> Result<Self> {
        let failed = |what: &str, error: &io::Error| {
            let failure = Failure::io(point.as_os_str().as_encoded_bytes(), error);
            Error::Host(
                Failure::new(format!("{what}: {failure}")).with_errno(error.raw_os_error().unwrap_or(0)),
            )
        };
        let point = std::path::absolute(point).map_err(|e| failed("The mount point", &e))?;
        // What cannot be read after all is left to the appliance.
        let tree = guest.file_systems().and_then(|systems| Tree::new(systems).ok());
        let options = MountOptions { read_only: options.read_only || tree.is_some(), ..options.clone() };
        if tree.is_none() {
            guest.boot()?;
        }
        let kernel = mount::mount(&point, mount::Kind::Directory, &options)
            .map_err(|e| failed("It cannot be mounted", &e))?;
        let io_failed = |e: io::Error| failed("It cannot be served", &e);
        let service = match tree {
            Some(tree) => DirectMount::start(kernel, tree, options.clone())
                .map(|mount| {
                    mount.ready();
                    Service::Direct(mount)
                })
                .map_err(io_failed),
            None => guest.internal_mount_local(for_agent(&options)).and_then(|()| {
                let relay = guest.mount_port().and_then(|(port, exchange)| {
                    Relay::start(kernel, port, exchange, options.seconds.is_none())
                });
                let ready = relay.and_then(|relay| relay.ready().map(|()| Service::Agent(relay)));
                ready.map_err(io_failed)
            }),
        };
        match service.and_then(|service| Ok((service, Herald::new(&point).map_err(io_failed)?))) {
            Ok((service, herald)) => {
                mount::read_ahead(&point);
                Ok(HostMount { point, service, options, herald: Mutex::new(Some(herald)) })
            }
            Err(error) => {
                // Without that it would be there, and fail.
                let _ = mount::unmount(&point, true);
                Err(error)
            }
        }
    }

    /// Where it is.
    pub fn point(&self) -> &Path {
        &self.point
    }

    /// Waits until it was taken off and everything is written, or `stop` says so. True if it is over. Meanwhile the
    /// guest's appliance is started if the mount needs it.
    pub fn wait(&self, guest: &Guest, stop: &dyn Fn() -> bool) -> bool {
        let watch = |is_watched| {
            if let Service::Direct(mount) = &self.service {
                mount.watch(is_watched);
            }
        };
        watch(true);
        while !self.service.is_over(LOOK) {
            if stop() {
                watch(false);
                return false;
            }
            if let Service::Direct(mount) = &self.service
                && let Some(why) = mount.wants_help()
            {
                mount.help(self.agent(guest, &why));
            }
        }
        if let Some(herald) = self.herald.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            herald.close();
        }
        true
    }

    /// The agent for what is not read directly, if there may be one.
    fn agent(&self, guest: &Guest, why: &str) -> Option<Agent> {
        if guest.is_direct_only() {
            return None;
        }
        guest.tell(Notice::Detail(&format!("the mount: the appliance answers, because {why}")));
        let started = guest
            .boot()
            .and_then(|()| guest.internal_mount_local(for_agent(&self.options)))
            .map_err(|error| describe(&error))
            .and_then(|()| {
                guest.mount_port().and_then(|(port, _)| Agent::start(port)).map_err(|e| e.to_string())
            });
        if let Err(error) = &started {
            guest.tell(Notice::Fallback(&format!("the mount: no appliance answers: {error}")));
        }
        started.ok()
    }

    /// Takes it off. Where it is in use it goes out of sight, what was written so far is made durable, and it is
    /// over when nobody uses it any more.
    ///
    /// # Errors
    /// When not everything could be written, or it is not taken off.
    pub fn stop(&self) -> io::Result<()> {
        if self.service.is_over(Duration::ZERO) || mount::unmount(&self.point, false).is_ok() {
            return Ok(());
        }
        // Opened before it is out of sight; its own use ends before the wait for that of others.
        let opened = mount::open(&self.point);
        let detached = mount::unmount(&self.point, true);
        let synced = opened.and_then(mount::sync);
        detached.and(synced)
    }

    /// It is over at once, for whoever still uses it: what they have not made durable is lost to them.
    pub fn cut_off(&self) {
        if let Service::Agent(relay) = &self.service {
            relay.cut_off();
        }
    }

    /// Ends it, once it is over and the guest has ended too, and tells who waits for that: `end` is how.
    ///
    /// # Errors
    /// When the agent ended before everything was written.
    pub fn finish(self, end: std::result::Result<(), String>) -> io::Result<()> {
        let done = match self.service {
            Service::Direct(mount) => {
                mount.finish();
                Ok(())
            }
            Service::Agent(relay) => relay.finish(),
        };
        let end = match &done {
            Ok(()) => end,
            Err(error) => end.and(Err(error.to_string())),
        };
        if let Some(herald) = self.herald.lock().unwrap_or_else(PoisonError::into_inner).take() {
            herald.tell(&end);
        }
        done
    }
}
