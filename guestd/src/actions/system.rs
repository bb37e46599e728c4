//! The agent itself.

use crate::modules;
use crate::worker::Worker;
use guestd_api::actions::system::Server;
use guestd_api::structs::{Utsname, Version};
use guestd_api::{Failure, GuestString};
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

    fn dmesg(&self) -> Result<GuestString, Failure> {
        self.tool("dmesg")?.run().map(GuestString::from)
    }

    fn drop_caches(&self, whattodrop: i32) -> Result<(), Failure> {
        rustix::fs::sync();
        std::fs::write("/proc/sys/vm/drop_caches", whattodrop.to_string())
            .map_err(|e| Failure::io("/proc/sys/vm/drop_caches", &e))
    }

    fn echo_daemon(&self, words: Vec<GuestString>) -> Result<GuestString, Failure> {
        Ok(words.iter().map(GuestString::as_bytes).collect::<Vec<_>>().join(&b' ').into())
    }

    fn modprobe(&self, modulename: GuestString) -> Result<(), Failure> {
        let name = modulename.to_string_lossy();
        let is_name =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        if is_name && (modules::modprobe(&self.agent, &name)? || modules::is_built_in(&self.agent, &name)?) {
            return Ok(());
        }
        let release = rustix::system::uname();
        let release = release.release().to_string_lossy();
        Err(Failure::new(format!(
            "modprobe: FATAL: Module {name} not found in directory /lib/modules/{release}"
        ))
        .with_errno(libc::ENOENT))
    }

    fn utsname(&self) -> Result<Utsname, Failure> {
        let uname = rustix::system::uname();
        Ok(Utsname {
            uts_sysname: uname.sysname().to_bytes().into(),
            uts_release: uname.release().to_bytes().into(),
            uts_version: uname.version().to_bytes().into(),
            uts_machine: uname.machine().to_bytes().into(),
        })
    }
}
