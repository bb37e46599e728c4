//! Logical volumes.
//!
//! There is no udev in the appliance, so LVM makes its device nodes itself and looks at every disk.

use crate::disks::{Device, node_text};
use crate::run::Program;
use crate::worker::Worker;
use guestd_api::actions::lvm::Server;
use guestd_api::{Failure, GuestString};

/// LVM's settings for a machine without udev whose root cannot be written.
const CONFIG: &str = "activation { udev_sync=0 udev_rules=0 verify_udev_operations=1 monitoring=0 } \
     devices { use_devicesfile=0 obtain_device_list_from_udev=0 external_device_info_source=\"none\" } \
     backup { backup=0 archive=0 } global { locking_dir=\"/run/lvm-lock\" event_activation=0 }";

impl Worker {
    fn lvm(&self, command: &str) -> Result<Program<'_>, Failure> {
        crate::modules::modprobe(&self.agent, "dm_mod")?;
        Ok(self.tool("lvm")?.arg(command).arg("--config").arg(CONFIG))
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
}

fn megabytes(mbytes: i32) -> Result<String, Failure> {
    if mbytes > 0 {
        Ok(format!("{mbytes}m"))
    } else {
        Err(Failure::new("mbytes: the size must be larger than zero"))
    }
}

impl Server for Worker {
    fn pvcreate(&self, device: Device) -> Result<(), Failure> {
        self.lvm("pvcreate")?.args(["--force", "--yes"]).arg(&device.node).run().map(|_| ())
    }

    fn pvremove(&self, device: Device) -> Result<(), Failure> {
        self.lvm("pvremove")?.args(["--force", "--force", "--yes"]).arg(&device.node).run().map(|_| ())
    }

    fn pvs(&self) -> Result<Vec<GuestString>, Failure> {
        let mut names =
            super::trimmed_lines(&self.lvm("pvs")?.args(["-o", "pv_name", "--noheadings"]).run()?);
        // Members of a group that are missing are listed under a name that is no device.
        names.retain(|name| name.as_bytes().starts_with(b"/dev/"));
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
        let mut names =
            super::trimmed_lines(&self.lvm("vgs")?.args(["-o", "vg_name", "--noheadings"]).run()?);
        names.sort_unstable();
        Ok(names)
    }

    fn vg_activate_all(&self, activate: bool) -> Result<(), Failure> {
        if activate {
            self.refuse_raid6_volumes()?;
        }
        self.lvm("vgchange")?.args(["-a", if activate { "y" } else { "n" }]).run().map(|_| ())
    }

    fn lvcreate(&self, logvol: GuestString, volgroup: GuestString, mbytes: i32) -> Result<(), Failure> {
        let size = megabytes(mbytes)?;
        let program = self.lvm("lvcreate")?.args(["--yes", "-L", &size, "-n"]);
        program.arg(logvol.as_os_str()).arg("--").arg(volgroup.as_os_str()).run().map(|_| ())
    }

    fn lvcreate_free(&self, logvol: GuestString, volgroup: GuestString, percent: i32) -> Result<(), Failure> {
        if !(1..=100).contains(&percent) {
            return Err(Failure::new(format!("percentage must be [1..100] (was {percent})")));
        }
        let program = self.lvm("lvcreate")?.args(["--yes", "-l", &format!("{percent}%FREE"), "-n"]);
        program.arg(logvol.as_os_str()).arg("--").arg(volgroup.as_os_str()).run().map(|_| ())
    }

    fn lvremove(&self, device: Device) -> Result<(), Failure> {
        self.lvm("lvremove")?.args(["-f", "--"]).arg(&device.node).run().map(|_| ())
    }

    fn lvresize(&self, device: Device, mbytes: i32) -> Result<(), Failure> {
        let size = megabytes(mbytes)?;
        self.lvm("lvresize")?
            .args(["--force", "--yes", "-L", &size, "--"])
            .arg(&device.node)
            .run()
            .map(|_| ())
    }

    fn lvs(&self) -> Result<Vec<GuestString>, Failure> {
        // Without udev nobody switches volumes on when their disks appear.
        self.refuse_raid6_volumes()?;
        // A group of which disks are missing fails here and has its other volumes listed all the same.
        self.lvm("vgchange")?.args(["-a", "y"]).finish()?;
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
        let path = |name: GuestString| node_text(&std::path::Path::new("/dev").join(name.as_os_str()));
        let mut paths: Vec<GuestString> = names.into_iter().map(path).collect();
        paths.sort_unstable();
        Ok(paths)
    }
}
