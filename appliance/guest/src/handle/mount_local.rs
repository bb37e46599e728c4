//! The actions that mount the guest on a directory of the host.

use std::path::Path;
use std::time::Duration;

use guestd_api::actions::mount_local::{MountLocalOptions, Server, UmountLocalOptions};
use guestd_api::{Error, Failure, GuestString, Result};

use super::{Host, text};
use crate::fuse::{HostMount, MountOptions};
use crate::guest::Guest;

type Done = std::result::Result<(), Failure>;

/// Waits between tries, in seconds, where it is asked to try again.
const PAUSES: [u64; 5] = [1, 2, 4, 8, 16];

fn failure(error: Error) -> Failure {
    match error {
        Error::Action { failure, .. } | Error::Host(failure) => failure,
        other => Failure::new(other.to_string()),
    }
}

impl Server for Host<'_> {
    fn mount_local(&self, localmountpoint: GuestString, opts: MountLocalOptions) -> Done {
        if self.guest.host_mount.borrow().is_some() {
            return Err(Failure::new("filesystem is already mounted on a directory of the host"));
        }
        let mut options = MountOptions::default();
        if let Some(given) = &opts.options {
            options.add(&text(given)?).map_err(Failure::new)?;
        }
        options.read_only |= opts.readonly.unwrap_or(false);
        if let Some(seconds) = opts.cachetimeout {
            options.seconds =
                Some(u64::try_from(seconds).map_err(|_| Failure::new("cachetimeout is negative"))?);
        }
        let point = Path::new(localmountpoint.as_os_str());
        let mount = HostMount::new(self.guest, point, &options).map_err(failure)?;
        self.guest.host_mount.replace(Some(mount));
        Ok(())
    }

    fn mount_local_run(&self) -> Done {
        let Some(mount) = self.guest.host_mount.take() else {
            return Err(Failure::new("you must call guestfs_mount_local first"));
        };
        mount.wait(self.guest, &|| false);
        ended(mount)
    }

    fn umount_local(&self, opts: UmountLocalOptions) -> Done {
        let point = match &*self.guest.host_mount.borrow() {
            Some(mount) => mount.point().to_owned(),
            None => return Err(Failure::new("no filesystem is mounted")),
        };
        let pauses = PAUSES.iter().filter(|_| opts.retry.unwrap_or(false));
        for pause in pauses.map(Some).chain([None]) {
            match (crate::fuse::unmount(&point), pause) {
                (Ok(()), _) => break,
                (Err(error), None) => {
                    return Err(Failure::io(point.as_os_str().as_encoded_bytes(), &error));
                }
                (Err(_), Some(seconds)) => std::thread::sleep(Duration::from_secs(*seconds)),
            }
        }
        self.mount_local_run()
    }
}

/// The end of a mount that is over.
fn ended(mount: HostMount) -> Done {
    let point = mount.point().to_owned();
    mount.finish(Ok(())).map_err(|e| Failure::io(point.as_os_str().as_encoded_bytes(), &e))
}

impl Guest {
    /// Takes the guest off the directory of the host, if it is on one.
    pub(crate) fn end_mount(&self) -> Result<()> {
        let Some(mount) = self.host_mount.take() else { return Ok(()) };
        let stopped = mount.stop();
        mount.wait(self, &|| false);
        ended(mount).and(stopped.map_err(|e| Failure::io("the mount on the host", &e))).map_err(Error::Host)
    }
}
