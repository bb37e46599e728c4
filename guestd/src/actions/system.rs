//! The agent itself.

use crate::worker::Worker;
use guestd_api::Failure;
use guestd_api::actions::system::Server;
use guestd_api::structs::Version;
use std::time::{Duration, Instant};

impl Server for Worker {
    fn ping_daemon(&self) -> Result<(), Failure> {
        Ok(())
    }

    fn version(&self) -> Result<Version, Failure> {
        let number = |text: &str| text.parse().unwrap_or_default();
        Ok(Version {
            major: number(env!("CARGO_PKG_VERSION_MAJOR")),
            minor: number(env!("CARGO_PKG_VERSION_MINOR")),
            release: number(env!("CARGO_PKG_VERSION_PATCH")),
            extra: env!("CARGO_PKG_VERSION_PRE").into(),
        })
    }

    fn sync(&self) -> Result<(), Failure> {
        rustix::fs::sync();
        // Disks that have no file system mounted keep what was written to them in the kernel's cache too.
        for disk in self.agent.disks.list() {
            let device = disk.device();
            let node = std::fs::File::open(&device.node).map_err(|e| device.failure(e))?;
            node.sync_all().map_err(|e| device.failure(e))?;
        }
        Ok(())
    }

    fn sleep(&self, secs: i32) -> Result<(), Failure> {
        let seconds =
            u64::try_from(secs).map_err(|_| Failure::new("secs: a number of seconds cannot be negative"))?;
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(seconds) {
            self.task.check()?;
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}
