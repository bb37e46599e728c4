//! Logical volumes.
//!
//! There is no udev in the appliance, so LVM makes its device nodes itself and looks at every disk.

use super::lvm_report::{self, Report};
use crate::disks::{Device, node_text};
use crate::run::{Done, Program};
use crate::worker::{Mountable, Worker};
use guestd_api::actions::lvm::Server;
use guestd_api::structs::{LvmLv, LvmPv, LvmVg};
use guestd_api::{Failure, GuestString, Worker as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

/// LVM's settings for a machine without udev whose root cannot be written.
const CONFIG: &str = "activation { udev_sync=0 udev_rules=0 verify_udev_operations=1 monitoring=0 } \
     backup { backup=1 backup_dir=\"/run/lvm-backup\" archive=0 } global { locking_dir=\"/run/lvm-lock\" event_activation=0 }";
/// Its settings about devices, which a filter is added to.
const DEVICES: &str = "use_devicesfile=0 obtain_device_list_from_udev=0 external_device_info_source=\"none\"";

/// The program that LVM runs for a target which the kernel does not have yet. There is none in the appliance, and
/// LVM says so.
const MISSED: &[u8] = b"modprobe";
/// The modules with the targets of all kinds of volumes.
const TARGETS: &[&str] = &[
    "dm_snapshot",
    "dm_thin_pool",
    "dm_mirror",
    "dm_raid",
    "dm_cache",
    "dm_cache_smq",
    "dm_writecache",
    "dm_integrity",
    "dm_zero",
];

impl Worker {
    fn lvm(&self, command: &str) -> Result<Program<'_>, Failure> {
        crate::modules::modprobe(&self.agent, "dm_mod")?;
        let filter = self.agent.volumes.lvm_filter.lock().unwrap_or_else(PoisonError::into_inner);
        let filter = match &*filter {
            None => String::new(),
            Some(patterns) => {
                let patterns: String = patterns.iter().map(|pattern| format!("\"a|{pattern}|\", ")).collect();
                format!(" filter=[ {patterns}\"r|.*|\" ]")
            }
        };
        let config = format!("{CONFIG} devices {{ {DEVICES}{filter} }}");
        Ok(self.tool("lvm")?.arg(command).arg("--config").arg(config))
    }

    /// Refuses to go on if there is a volume with RAID 6 and the kernel skipped choosing its routines:
    /// switching it on would crash it.
    fn refuse_raid6_volumes(&self) -> Result<(), Failure> {
        if super::mount::skips_raid6() {
            let report =
                self.lvm("lvs")?.args(["-a", "-o", "segtype,vg_name,lv_name", "--noheadings"]).run()?;
            if let Some(line) =
                super::trimmed_lines(&report).iter().find(|line| line.as_bytes().starts_with(b"raid6"))
            {
                let volume = line.to_string_lossy().split_whitespace().skip(1).collect::<Vec<_>>().join("/");
                return Err(super::mount::raid6_refused(&volume, "a logical volume with RAID 6"));
            }
        }
        Ok(())
    }

    /// Switches all logical volumes on, as far as that is possible: a group of which disks are missing has its
    /// other volumes all the same.
    pub(crate) fn activate_all(&self) -> Result<(), Failure> {
        self.refuse_raid6_volumes()?;
        self.activate(&[]).map(|_| ())
    }

    /// Switches the logical volumes of some groups on, or of all. Most are plain, so what the kernel needs for others is loaded when LVM has
    /// missed it.
    fn activate(&self, groups: &[GuestString]) -> Result<Done, Failure> {
        let names = || groups.iter().map(GuestString::as_os_str);
        let run = || self.lvm("vgchange")?.args(["-a", "y", "--"]).args(names()).finish();
        let done = run()?;
        if !done.errors.as_bytes().windows(MISSED.len()).any(|part| part == MISSED) {
            return Ok(done);
        }
        for module in TARGETS {
            // A kernel that has one built in has no such module.
            let _ = crate::modules::modprobe(&self.agent, module);
        }
        run()
    }

    fn set_lvm_filter(&self, filter: Option<Vec<String>>) -> Result<(), Failure> {
        // Whatever is on disks that are hidden from now on could not be switched off later.
        self.bring_up_volumes()?;
        self.lvm("vgchange")?.args(["-a", "n"]).run_for("vgchange -an")?;
        *self.agent.volumes.lvm_filter.lock().unwrap_or_else(PoisonError::into_inner) = filter;
        self.refuse_raid6_volumes()?;
        self.activate(&[])?.success().map_err(|failure| failure.about("vgchange -ay"))
    }

    /// The nodes of the logical volumes, as /dev/VG/LV.
    fn volumes(&self) -> Result<Vec<PathBuf>, Failure> {
        self.bring_up_volumes()?;
        let options = [
            "-o",
            "vg_name,lv_name",
            "-S",
            "lv_role=public && lv_skip_activation!=yes",
            "--noheadings",
            "--separator",
            "/",
        ];
        let names = super::trimmed_lines(&self.lvm("lvs")?.args(options).run()?);
        let mut paths: Vec<PathBuf> =
            names.into_iter().map(|name| Path::new("/dev").join(name.as_os_str())).collect();
        paths.sort_unstable();
        Ok(paths)
    }

    /// The usual name of a device's logical volume, if it is one.
    pub(super) fn volume_of(&self, node: &Path) -> Result<Option<PathBuf>, Failure> {
        let number = |node: &Path| Some(std::fs::metadata(node).ok()?.rdev());
        let wanted = number(node);
        Ok(self.volumes()?.into_iter().find(|volume| wanted.is_some() && number(volume) == wanted))
    }

    /// One column of a report about something, one value per line.
    fn column(
        &self,
        report: &str,
        column: &str,
        subject: &GuestString,
        node: Option<&Device>,
    ) -> Result<Vec<GuestString>, Failure> {
        self.bring_up_volumes()?;
        let program = self.lvm(report)?.args(["--unbuffered", "--noheadings", "-o", column, "--"]);
        let program = match node {
            Some(device) => program.arg(&device.node),
            None => program.arg(subject.as_os_str()),
        };
        Ok(super::trimmed_lines(&program.run_for(subject)?))
    }

    fn one(
        &self,
        report: &str,
        column: &str,
        subject: &GuestString,
        node: Option<&Device>,
    ) -> Result<GuestString, Failure> {
        Ok(self.column(report, column, subject, node)?.into_iter().next().unwrap_or_default())
    }

    /// A report with all columns that its struct has.
    fn report(&self, command: &str, columns: &[&str]) -> Result<Report, Failure> {
        self.bring_up_volumes()?;
        let options =
            ["--unbuffered", "--noheadings", "--nosuffix", "--units", "b", "--separator", "\t", "-o"];
        Ok(Report::new(self.lvm(command)?.args(options).arg(columns.join(",")).run()?))
    }
}

/// A percentage of the free space, as an argument.
fn percentage(percent: i32) -> Result<String, Failure> {
    if (0..=100).contains(&percent) {
        Ok(format!("{percent}%FREE"))
    } else {
        Err(Failure::new(format!("percentage must be [0..100] (was {percent})")))
    }
}

/// The pattern by which LVM knows a device: a disk stands for its partitions as well.
fn pattern(device: &Device) -> Result<String, Failure> {
    let name = node_text(&device.node).to_string_lossy().into_owned();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-' | b'.');
    if !name.bytes().all(plain) {
        return Err(Failure::new(format!("{}: LVM cannot be told of a device of this name", device.shown)));
    }
    let name = name.replace('.', "\\\\.");
    let whole = device.whole()?.is_none() && !device.kernel_name()?.starts_with("dm-");
    Ok(if whole { format!("^{name}(p?[0-9]+)?$") } else { format!("^{name}$") })
}

impl Server for Worker {
    fn pvcreate(&self, device: Device) -> Result<(), Failure> {
        self.lvm("pvcreate")?.args(["--force", "--yes"]).arg(&device.node).run().map(|_| ())
    }

    fn pvremove(&self, device: Device) -> Result<(), Failure> {
        self.lvm("pvremove")?.args(["--force", "--force"]).arg(&device.node).run().map(|_| ())
    }

    fn pvs(&self) -> Result<Vec<GuestString>, Failure> {
        self.bring_up_volumes()?;
        let mut names =
            super::trimmed_lines(&self.lvm("pvs")?.args(["-o", "pv_name", "--noheadings"]).run()?);
        // Members of a group that are missing are listed under a name that is no device.
        names.retain(|name| name.as_bytes().starts_with(b"/dev/"));
        // LVM knows a disk by any of its names.
        let mut names: Vec<GuestString> = names.iter().map(|name| self.agent.disks.shown(name)).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn vgcreate(&self, volgroup: GuestString, physvols: Vec<Device>) -> Result<(), Failure> {
        let nodes = physvols.iter().map(|device| &device.node);
        self.lvm("vgcreate")?.arg("--").arg(volgroup.as_os_str()).args(nodes).run().map(|_| ())
    }

    fn vgremove(&self, vgname: GuestString) -> Result<(), Failure> {
        self.lvm("vgremove")?.args(["-f", "--"]).arg(vgname.as_os_str()).run().map(|_| ())
    }

    fn vgs(&self) -> Result<Vec<GuestString>, Failure> {
        self.bring_up_volumes()?;
        let mut names =
            super::trimmed_lines(&self.lvm("vgs")?.args(["-o", "vg_name", "--noheadings"]).run()?);
        names.sort_unstable();
        Ok(names)
    }

    fn vg_activate_all(&self, activate: bool) -> Result<(), Failure> {
        self.vg_activate(activate, Vec::new())
    }

    fn lvcreate(&self, logvol: GuestString, volgroup: GuestString, mbytes: i32) -> Result<(), Failure> {
        let program = self.lvm("lvcreate")?.args(["--yes", "-L", &mbytes.to_string(), "-n"]);
        program.arg(logvol.as_os_str()).arg("--").arg(volgroup.as_os_str()).run().map(|_| ())
    }

    fn lvcreate_free(&self, logvol: GuestString, volgroup: GuestString, percent: i32) -> Result<(), Failure> {
        let program = self.lvm("lvcreate")?.args(["--yes", "-l", &percentage(percent)?, "-n"]);
        program.arg(logvol.as_os_str()).arg("--").arg(volgroup.as_os_str()).run().map(|_| ())
    }

    fn lvremove(&self, device: GuestString) -> Result<(), Failure> {
        self.bring_up_volumes()?;
        if !Path::new(device.as_os_str()).is_dir() {
            self.device("device", device.clone())?;
        }
        self.lvm("lvremove")?.args(["-f", "--"]).arg(device.as_os_str()).run().map(|_| ())
    }

    fn lvresize(&self, device: Device, mbytes: i32) -> Result<(), Failure> {
        let program = self.lvm("lvresize")?.args(["--force", "--yes", "-L", &mbytes.to_string(), "--"]);
        program.arg(device.shown.as_os_str()).run().map(|_| ())
    }

    fn lvresize_free(&self, lv: Device, percent: i32) -> Result<(), Failure> {
        let share = format!("+{}", percentage(percent)?);
        let program = self.lvm("lvresize")?.args(["--force", "--yes", "-l", &share, "--"]);
        let done = program.arg(lv.shown.as_os_str()).finish()?;
        // No space is free: then it has all there is.
        if done.errors.to_string_lossy().contains("matches existing size") { Ok(()) } else { done.success() }
    }

    fn lvs(&self) -> Result<Vec<GuestString>, Failure> {
        Ok(crate::volumes::names(self.volumes()?))
    }

    fn pvs_full(&self) -> Result<Vec<LvmPv>, Failure> {
        let report = self.report("pvs", lvm_report::PV)?;
        let mut volumes = report.physical_volumes()?;
        // Members of a group that are missing are listed under a name that is no device.
        volumes.retain(|volume| volume.pv_name.as_bytes().starts_with(b"/dev/"));
        for volume in &mut volumes {
            volume.pv_name = self.agent.disks.shown(&volume.pv_name);
        }
        Ok(volumes)
    }

    fn vgs_full(&self) -> Result<Vec<LvmVg>, Failure> {
        self.report("vgs", lvm_report::VG)?.volume_groups()
    }

    fn lvs_full(&self) -> Result<Vec<LvmLv>, Failure> {
        self.report("lvs", lvm_report::LV)?.logical_volumes()
    }

    fn pvuuid(&self, device: Device) -> Result<GuestString, Failure> {
        self.one("pvs", "pv_uuid", &device.shown, Some(&device))
    }

    fn vguuid(&self, vgname: GuestString) -> Result<GuestString, Failure> {
        self.one("vgs", "vg_uuid", &vgname, None)
    }

    fn lvuuid(&self, device: Device) -> Result<GuestString, Failure> {
        self.one("lvs", "lv_uuid", &device.shown, None)
    }

    fn vgpvuuids(&self, vgname: GuestString) -> Result<Vec<GuestString>, Failure> {
        self.column("vgs", "pv_uuid", &vgname, None)
    }

    fn vglvuuids(&self, vgname: GuestString) -> Result<Vec<GuestString>, Failure> {
        self.column("vgs", "lv_uuid", &vgname, None)
    }

    fn vgmeta(&self, vgname: GuestString) -> Result<Vec<u8>, Failure> {
        self.bring_up_volumes()?;
        let scratch = self.scratch("vgmeta")?;
        let program = self.lvm("vgcfgbackup")?.arg("-f").arg(scratch.inner("meta")).arg("--");
        program.arg(vgname.as_os_str()).run_for("vgcfgbackup")?;
        let text = std::fs::read(scratch.outer("meta")).map_err(|e| Failure::io("vgcfgbackup", &e))?;
        Ok(self.agent.disks.shown_text(&text))
    }

    fn vg_activate(&self, activate: bool, volgroups: Vec<GuestString>) -> Result<(), Failure> {
        // What is switched off now must not be switched on by the next action.
        self.bring_up_volumes()?;
        if activate {
            self.refuse_raid6_volumes()?;
            return self.activate(&volgroups)?.success().map_err(|failure| failure.about("vgchange"));
        }
        let program = self.lvm("vgchange")?.args(["-a", "n", "--"]);
        program.args(volgroups.iter().map(GuestString::as_os_str)).run_for("vgchange").map(|_| ())
    }

    fn lvm_scan(&self, activate: bool) -> Result<(), Failure> {
        self.bring_up_volumes()?;
        if activate { self.activate_all() } else { Ok(()) }
    }

    fn vgscan(&self) -> Result<(), Failure> {
        self.bring_up_volumes()?;
        self.lvm("vgscan")?.run().map(|_| ())
    }

    fn lvm_set_filter(&self, devices: Vec<Device>) -> Result<(), Failure> {
        let patterns = devices.iter().map(pattern).collect::<Result<_, _>>()?;
        self.set_lvm_filter(Some(patterns))
    }

    fn lvm_clear_filter(&self) -> Result<(), Failure> {
        self.set_lvm_filter(None)
    }

    fn lvm_canonical_lv_name(&self, lvname: GuestString) -> Result<GuestString, Failure> {
        self.bring_up_volumes()?;
        let device = self.agent.disks.find(&lvname).map_err(|failure| failure.about("stat"))?;
        match self.volume_of(&device.node)? {
            Some(volume) => Ok(node_text(&volume)),
            None => Err(Failure::new(format!("{lvname}: not a logical volume")).with_errno(libc::EINVAL)),
        }
    }

    fn is_lv(&self, mountable: Mountable) -> Result<bool, Failure> {
        Ok(self.volume_of(&mountable.device.node)?.is_some())
    }

    fn lvm_remove_all(&self) -> Result<(), Failure> {
        for volume in self.volumes()? {
            self.lvm("lvremove")?.args(["-f", "--"]).arg(volume).run()?;
        }
        for group in self.vgs()? {
            self.vgremove(group)?;
        }
        for name in self.pvs()? {
            self.pvremove(self.agent.disks.find(&name)?)?;
        }
        Ok(())
    }

    fn lvrename(&self, logvol: GuestString, newlogvol: GuestString) -> Result<(), Failure> {
        self.bring_up_volumes()?;
        let program = self.lvm("lvrename")?.arg("--").arg(logvol.as_os_str()).arg(newlogvol.as_os_str());
        program.run_for(format!("{logvol} -> {newlogvol}")).map(|_| ())
    }

    fn vgrename(&self, volgroup: GuestString, newvolgroup: GuestString) -> Result<(), Failure> {
        self.bring_up_volumes()?;
        let program = self.lvm("vgrename")?.arg("--").arg(volgroup.as_os_str()).arg(newvolgroup.as_os_str());
        program.run_for(format!("{volgroup} -> {newvolgroup}")).map(|_| ())
    }

    fn pvresize(&self, device: Device) -> Result<(), Failure> {
        self.lvm("pvresize")?.arg(&device.node).run_for(&device.shown).map(|_| ())
    }

    fn pvresize_size(&self, device: Device, size: i64) -> Result<(), Failure> {
        let size = format!("{size}b");
        let program = self.lvm("pvresize")?.args(["--yes", "--setphysicalvolumesize", &size]);
        program.arg(&device.node).run_for(&device.shown).map(|_| ())
    }

    fn pvchange_uuid(&self, device: Device) -> Result<(), Failure> {
        self.bring_up_volumes()?;
        self.lvm("pvchange")?.args(["-u", "--"]).arg(&device.node).run_for(&device.shown).map(|_| ())
    }

    fn pvchange_uuid_all(&self) -> Result<(), Failure> {
        self.bring_up_volumes()?;
        self.lvm("pvchange")?.args(["-u", "-a"]).run().map(|_| ())
    }

    fn vgchange_uuid(&self, vg: GuestString) -> Result<(), Failure> {
        self.bring_up_volumes()?;
        self.lvm("vgchange")?.args(["-u", "--"]).arg(vg.as_os_str()).run_for(&vg).map(|_| ())
    }

    fn vgchange_uuid_all(&self) -> Result<(), Failure> {
        self.bring_up_volumes()?;
        self.lvm("vgchange")?.arg("-u").run().map(|_| ())
    }
}
