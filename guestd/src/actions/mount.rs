//! Mounting.
//!
//! Mounts are system calls here: no program is needed to mount, so the first mount of a session does not
//! wait for the tools. The mount point is resolved with the thread's root in the guest.

use crate::disks::Device;
use crate::modules;
use crate::worker::{DevOrPath, GuestPath, Mountable, Worker};
use guestd_api::actions::mount::{Mount9pOptions, RemountOptions, Server, UmountOptions};
use guestd_api::{Failure, GuestString};
use rustix::mount::{MountFlags, UnmountFlags};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Options of mount(8) that are flags of mount(2); the second says whether the flag is set or cleared.
const FLAGS: &[(&str, MountFlags, bool)] = &[
    ("ro", MountFlags::RDONLY, true),
    ("rw", MountFlags::RDONLY, false),
    ("nosuid", MountFlags::NOSUID, true),
    ("suid", MountFlags::NOSUID, false),
    ("nodev", MountFlags::NODEV, true),
    ("dev", MountFlags::NODEV, false),
    ("noexec", MountFlags::NOEXEC, true),
    ("exec", MountFlags::NOEXEC, false),
    ("sync", MountFlags::SYNCHRONOUS, true),
    ("async", MountFlags::SYNCHRONOUS, false),
    ("dirsync", MountFlags::DIRSYNC, true),
    ("noatime", MountFlags::NOATIME, true),
    ("atime", MountFlags::NOATIME, false),
    ("nodiratime", MountFlags::NODIRATIME, true),
    ("diratime", MountFlags::NODIRATIME, false),
    ("relatime", MountFlags::RELATIME, true),
    ("strictatime", MountFlags::STRICTATIME, true),
    ("lazytime", MountFlags::LAZYTIME, true),
];

/// Options that mean something to mount(8) and nothing to the kernel.
const IGNORED: &[&str] = &["defaults", "auto", "noauto", "user", "nouser", "users", "_netdev", "nofail"];

/// File systems that programs serve through FUSE where the kernel has no driver: type, driver, program.
const BY_PROGRAM: &[(&str, &str, &str)] =
    &[("ntfs", "ntfs3", "ntfs-3g"), ("exfat", "exfat", "mount.exfat-fuse")];

/// Splits options into flags and what goes to the file system.
fn parse_options(options: &str) -> (MountFlags, String) {
    let mut flags = MountFlags::empty();
    let mut data: Vec<&str> = Vec::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match FLAGS.iter().find(|(name, _, _)| *name == option) {
            Some((_, flag, set)) => flags.set(*flag, *set),
            None if IGNORED.contains(&option) || option.starts_with("x-") => {}
            None => data.push(option),
        }
    }
    (flags, data.join(","))
}

impl Worker {
    fn mount_any(
        &self,
        options: &GuestString,
        kind: &str,
        what: &Mountable,
        target: &GuestString,
    ) -> Result<(), Failure> {
        let place = self.mount_place(target)?;
        let subject = format!("{} on {target} (options: '{options}')", what.device.shown);
        let options =
            options.to_str().ok_or_else(|| Failure::new(format!("{subject}: options are not UTF-8")))?;
        let (flags, mut data) = parse_options(options);
        if let Some(volume) = &what.subvolume {
            let volume =
                volume.to_str().ok_or_else(|| Failure::new(format!("{subject}: subvolume is not UTF-8")))?;
            // A comma would end the option.
            if volume.contains(',') {
                return Err(Failure::new(format!(
                    "{subject}: a subvolume with a comma cannot be mounted by name"
                )));
            }
            data = [data.as_str(), &format!("subvol={volume}")]
                .into_iter()
                .filter(|s| !s.is_empty())
                .collect::<Vec<_>>()
                .join(",");
        }
        let kinds = match kind {
            "" => self.kinds_on(&what.device)?,
            kind => vec![kind.to_owned()],
        };
        let mut last = io::Error::from_raw_os_error(libc::EINVAL);
        for kind in &kinds {
            self.refuse_raid6(&what.device, kind)?;
            if kind == "btrfs" {
                self.want_all_devices(&what.device)?;
            }
            let by_program = BY_PROGRAM.iter().any(|(known, _, _)| known == kind);
            if !by_program && !modules::filesystem_known(&self.agent, kind)? {
                last = io::Error::from_raw_os_error(libc::ENODEV);
                continue;
            }
            match self.mount_call(&what.device, &place, kind, flags, &data) {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(explain(&subject, &kinds, &last))
    }

    fn mount_call(
        &self,
        device: &Device,
        place: &Path,
        kind: &str,
        flags: MountFlags,
        data: &str,
    ) -> io::Result<()> {
        if let Some((_, driver, program)) = BY_PROGRAM.iter().find(|(known, _, _)| *known == kind) {
            return self.mount_by_program(driver, program, device, place, flags, data);
        }
        let data = CString::new(data)?;
        rustix::mount::mount(&device.node, place, kind, flags, Some(data.as_c_str())).map_err(io::Error::from)
    }

    /// Mounts by the kernel where it has the driver, else by a program of the tools.
    fn mount_by_program(
        &self,
        driver: &str,
        program: &str,
        device: &Device,
        place: &Path,
        flags: MountFlags,
        data: &str,
    ) -> io::Result<()> {
        let other = |failure: Failure| io::Error::other(failure.to_string());
        if modules::filesystem_known(&self.agent, driver).map_err(other)? {
            let text = CString::new(data)?;
            return Ok(rustix::mount::mount(&device.node, place, driver, flags, Some(text.as_c_str()))?);
        }
        modules::filesystem_known(&self.agent, "fuse").map_err(other)?;
        let inside = place.strip_prefix(&self.agent.sysroot).map_err(io::Error::other)?;
        let place = self.agent.tools.guest_path(&self.agent.sysroot, inside);
        let mut options = data.to_owned();
        if flags.contains(MountFlags::RDONLY) {
            options = if options.is_empty() { "ro".to_owned() } else { format!("ro,{options}") };
        }
        let mut tool = self.tool(program).map_err(other)?;
        if !options.is_empty() {
            tool = tool.arg("-o").arg(options);
        }
        tool.arg(&device.node).arg(place).run().map(|_| ()).map_err(other)
    }

    /// Where a mount goes, as the agent sees it: a directory of the guest, or its root itself.
    fn mount_place(&self, target: &GuestString) -> Result<PathBuf, Failure> {
        if !target.as_bytes().starts_with(b"/") {
            return Err(Failure::new(format!("mountpoint: '{target}': path must start with a / character")));
        }
        let real = {
            let _guest = self.guest()?;
            let path = PathBuf::from(target.as_os_str());
            let real = std::fs::canonicalize(path).map_err(|e| Failure::io(target, &e))?;
            if !real.is_dir() {
                return Err(Failure::new(format!("{target}: mount point is not a directory"))
                    .with_errno(libc::ENOTDIR));
            }
            real
        };
        Ok(match real.strip_prefix("/") {
            Ok(inside) if inside.as_os_str().is_empty() => self.agent.sysroot.clone(),
            Ok(inside) => self.agent.sysroot.join(inside),
            Err(_) => self.agent.sysroot.clone(),
        })
    }

    /// What may be on a device, the most likely first.
    fn kinds_on(&self, device: &Device) -> Result<Vec<String>, Failure> {
        let file = device.open()?;
        let quick = crate::probe::filesystem(&file).map_err(|e| device.failure(e))?;
        let kind = match quick {
            Some(kind) => kind.to_owned(),
            None => self.blkid(device, "TYPE")?.to_string_lossy().into_owned(),
        };
        Ok(if kind.is_empty() { Vec::new() } else { vec![kind] })
    }

    /// Calls with a directory, as tools see it, on which a device is mounted for the time of the call.
    pub(super) fn with_mounted<T>(
        &self,
        device: &Device,
        kind: &str,
        flags: MountFlags,
        act: impl FnOnce(&Path) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.want_filesystem(kind)?;
        let name = format!("{kind}-{}", device.kernel_name()?);
        let (outer, inner) = self.agent.tools.shared_directory(&name)?;
        let mounted = rustix::mount::mount(&device.node, &outer, kind, flags, None::<&CStr>);
        let result = mounted.map_err(|e| device.failure(e)).and_then(|()| act(&inner));
        // That it was not mounted is the only way in which this fails, and then the directory can go as well.
        let _ = rustix::mount::unmount(&outer, UnmountFlags::DETACH);
        let _ = std::fs::remove_dir(&outer);
        result
    }

    /// The kernel mounts a btrfs of several devices only once it was told of all of them.
    pub(super) fn want_all_devices(&self, device: &Device) -> Result<(), Failure> {
        let count = crate::probe::btrfs_devices(&device.open()?).map_err(|e| device.failure(e))?;
        if count > 1 { self.register_btrfs_devices() } else { Ok(()) }
    }

    /// A loop device that shows a file of the guest. It is free again once neither the file that is returned nor
    /// a mount keeps it.
    fn loop_device(&self, file: &GuestPath) -> Result<(Device, File, bool), Failure> {
        modules::modprobe(&self.agent, "loop")?;
        let failed = |e: io::Error| Failure::io("/dev/loop-control", &e);
        let (backing, read_only) = match self.open_regular(file) {
            Ok(readable) => {
                // The same file, now for writing if that can be had.
                let path = format!("/proc/self/fd/{}", readable.as_raw_fd());
                match File::options().read(true).write(true).open(path) {
                    Ok(writable) => (writable, false),
                    Err(_) => (readable, true),
                }
            }
            Err(failure) => return Err(failure),
        };
        let control = File::options().read(true).write(true).open("/dev/loop-control").map_err(failed)?;
        // Another action may take the device between the question and the answer.
        for _ in 0..16 {
            let number = crate::sys::free_loop_device(&control).map_err(failed)?;
            let node = PathBuf::from(format!("/dev/loop{number}"));
            let device = Device { shown: crate::disks::node_text(&node), node };
            let open = File::options().read(true).write(!read_only).open(&device.node);
            let open = open.map_err(|e| device.failure(e))?;
            match crate::sys::set_loop_file(&open, &backing, read_only) {
                Ok(()) => return Ok((device, open, read_only)),
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                Err(error) => return Err(file.failure(error)),
            }
        }
        Err(Failure::new("no loop device is free").with_errno(libc::EBUSY))
    }

    /// A kernel that was started without its choice of RAID-6 routines crashes on the first use of one.
    pub(super) fn refuse_raid6(&self, device: &Device, kind: &str) -> Result<(), Failure> {
        if kind != "btrfs" || !skips_raid6() {
            return Ok(());
        }
        let file = device.open()?;
        if crate::probe::btrfs_has_raid56(&file).map_err(|e| device.failure(e))? {
            return Err(raid6_refused(&device.shown.to_string_lossy(), "btrfs with RAID 5 or 6"));
        }
        Ok(())
    }
}

/// True when the kernel was told to skip choosing its RAID-6 routines, to start faster.
pub(crate) fn skips_raid6() -> bool {
    std::fs::read_to_string("/proc/cmdline").is_ok_and(|line| line.contains("raid6_select_algo"))
}

/// Says why something with RAID 6 is not touched and what helps.
pub(crate) fn raid6_refused(what: &str, kind: &str) -> Failure {
    Failure::new(format!(
        "{what}: {kind} cannot be used because this appliance was started with \
         'initcall_blacklist=raid6_select_algo'; start it without that setting"
    ))
    .with_errno(libc::EOPNOTSUPP)
}

/// Directories of the host were shared this way once.
fn no_9p() -> Failure {
    Failure::new("9p support was removed; use copy-in and copy-out").with_errno(libc::ENOTSUP)
}

/// The error of a mount in the words that people search for.
fn explain(subject: &str, kinds: &[String], error: &io::Error) -> Failure {
    let why = match error.raw_os_error() {
        _ if kinds.is_empty() => "no file system was recognised on it".to_owned(),
        Some(libc::EINVAL) => {
            "wrong fs type, bad option, bad superblock, missing codepage or helper program, or other error"
                .to_owned()
        }
        Some(libc::ENODEV) => format!("unknown filesystem type '{}'", kinds.join(", ")),
        Some(libc::EBUSY) => "already mounted or mount point busy".to_owned(),
        _ => return Failure::io(subject, error),
    };
    Failure { errno: error.raw_os_error().unwrap_or(0), message: format!("{subject}: {why}").into() }
}

impl Server for Worker {
    fn mount(&self, mountable: Mountable, mountpoint: GuestString) -> Result<(), Failure> {
        self.mount_any(&GuestString::new(), "", &mountable, &mountpoint)
    }

    fn mount_ro(&self, mountable: Mountable, mountpoint: GuestString) -> Result<(), Failure> {
        self.mount_any(&"ro".into(), "", &mountable, &mountpoint)
    }

    fn mount_options(
        &self,
        options: GuestString,
        mountable: Mountable,
        mountpoint: GuestString,
    ) -> Result<(), Failure> {
        self.mount_any(&options, "", &mountable, &mountpoint)
    }

    fn mount_vfs(
        &self,
        options: GuestString,
        vfstype: GuestString,
        mountable: Mountable,
        mountpoint: GuestString,
    ) -> Result<(), Failure> {
        self.mount_any(&options, &vfstype.to_string_lossy(), &mountable, &mountpoint)
    }

    fn umount(&self, pathordevice: DevOrPath, opts: UmountOptions) -> Result<(), Failure> {
        let mounts = self.agent.guest_mounts()?;
        let (subject, found) = match &pathordevice {
            DevOrPath::Device(device) => {
                let node = device.node.as_os_str().as_encoded_bytes();
                (device.shown.clone(), mounts.iter().rev().find(|mount| mount.device == node))
            }
            DevOrPath::Path(path) => {
                let real = {
                    let _guest = self.guest()?;
                    std::fs::canonicalize(path.path()).map_err(|e| path.failure(e))?
                };
                let real = real.into_os_string().into_encoded_bytes();
                (path.as_ref().into(), mounts.iter().rev().find(|mount| mount.path == real))
            }
        };
        let Some(mount) = found else { return Err(Failure::new(format!("{subject}: not mounted"))) };
        let mut flags = UnmountFlags::empty();
        flags.set(UnmountFlags::FORCE, opts.force.unwrap_or(false));
        flags.set(UnmountFlags::DETACH, opts.lazyunmount.unwrap_or(false));
        self.unmount(&mount.path, flags).map_err(|e| Failure::io(subject, &e))
    }

    fn umount_all(&self) -> Result<(), Failure> {
        for mount in self.agent.guest_mounts()?.iter().rev() {
            self.unmount(&mount.path, UnmountFlags::empty()).map_err(|e| Failure::io(&mount.path, &e))?;
        }
        Ok(())
    }

    fn mounts(&self) -> Result<Vec<GuestString>, Failure> {
        Ok(self.agent.guest_mounts()?.into_iter().map(|mount| mount.device.into()).collect())
    }

    fn mountpoints(&self) -> Result<Vec<(GuestString, GuestString)>, Failure> {
        Ok(self
            .agent
            .guest_mounts()?
            .into_iter()
            .map(|mount| (mount.device.into(), mount.path.into()))
            .collect())
    }

    fn mkmountpoint(&self, exemptpath: GuestString) -> Result<(), Failure> {
        let path = self.exempt(&exemptpath)?;
        let _guest = self.guest()?;
        std::fs::create_dir(path).map_err(|e| Failure::io(&exemptpath, &e))
    }

    fn rmmountpoint(&self, exemptpath: GuestString) -> Result<(), Failure> {
        let path = self.exempt(&exemptpath)?;
        let _guest = self.guest()?;
        std::fs::remove_dir(path).map_err(|e| Failure::io(&exemptpath, &e))
    }

    fn mount_loop(&self, file: GuestPath, mountpoint: GuestPath) -> Result<(), Failure> {
        let (device, _open, read_only) = self.loop_device(&file)?;
        let options = GuestString::from(if read_only { "ro" } else { "" });
        let what = Mountable { device, subvolume: None };
        self.mount_any(&options, "", &what, &mountpoint.as_ref().into())
    }

    fn remount(&self, mountpoint: GuestPath, opts: RemountOptions) -> Result<(), Failure> {
        let Some(writable) = opts.rw else {
            return Err(Failure::new("parameter 'rw' must be specified").with_errno(libc::EINVAL));
        };
        let place = self.mount_place(&mountpoint.as_ref().into())?;
        let flags = if writable { MountFlags::empty() } else { MountFlags::RDONLY };
        rustix::mount::mount_remount(&place, flags, c"").map_err(|e| mountpoint.failure(e))?;
        // Programs see the same file system through a mount of its own, which has its own flag.
        let inside = place.strip_prefix(&self.agent.sysroot).unwrap_or(Path::new(""));
        if let Some(copy) = self.agent.tools.mounted_copy(inside) {
            rustix::mount::mount_remount(&copy, flags | MountFlags::BIND, c"")
                .map_err(|e| mountpoint.failure(e))?;
        }
        Ok(())
    }

    fn list_9p(&self) -> Result<Vec<GuestString>, Failure> {
        Err(no_9p())
    }

    fn mount_9p(&self, _: GuestString, _: GuestString, _: Mount9pOptions) -> Result<(), Failure> {
        Err(no_9p())
    }

    fn mountable_device(&self, mountable: Mountable) -> Result<GuestString, Failure> {
        Ok(mountable.device.shown)
    }

    fn mountable_subvolume(&self, mountable: Mountable) -> Result<GuestString, Failure> {
        mountable
            .subvolume
            .ok_or_else(|| Failure::new("not a btrfs subvolume identifier").with_errno(libc::EINVAL))
    }
}

impl Worker {
    fn unmount(&self, path: &[u8], flags: UnmountFlags) -> io::Result<()> {
        let inside = PathBuf::from(GuestString::from(path).as_os_str());
        let place = match inside.strip_prefix("/") {
            Ok(rest) if !rest.as_os_str().is_empty() => self.agent.sysroot.join(rest),
            _ => self.agent.sysroot.clone(),
        };
        rustix::mount::unmount(place, flags).map_err(io::Error::from)
    }

    /// A path that need not lie on anything mounted.
    fn exempt(&self, path: &GuestString) -> Result<PathBuf, Failure> {
        if path.as_bytes().starts_with(b"/") {
            Ok(PathBuf::from(path.as_os_str()))
        } else {
            Err(Failure::new(format!("{path}: path must start with a / character")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_flags_and_data() {
        let (flags, data) = parse_options("ro,noatime,defaults,data=ordered,,x-systemd.automount,barrier=0");
        assert_eq!(
            (flags, data.as_str()),
            (MountFlags::RDONLY | MountFlags::NOATIME, "data=ordered,barrier=0")
        );
        assert_eq!(parse_options("ro,rw").0, MountFlags::empty());
    }
}
