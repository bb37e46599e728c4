//! Dynamic disks of Windows, by ldmtool, which answers in JSON.

use crate::disks::Device;
use crate::worker::Worker;
use guestd_api::actions::ldm::Server;
use guestd_api::{Failure, GuestString};
use serde_json::Value;
use std::ffi::OsStr;

impl Worker {
    /// What ldmtool answers to a command.
    pub(crate) fn ldmtool(
        &self,
        words: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<Value, Failure> {
        if self.agent.tools.find("ldmtool")?.is_none() {
            return Err(Failure::new("The appliance has no program 'ldmtool' (package ldmtool)")
                .with_errno(libc::ENOTSUP));
        }
        crate::modules::modprobe(&self.agent, "dm_mod")?;
        for module in ["dm_mirror", "dm_raid"] {
            // Where the kernel has them.
            let _ = crate::modules::modprobe(&self.agent, module);
        }
        let text = self.tool("ldmtool")?.env("DM_DISABLE_UDEV", "1").args(words).run()?;
        serde_json::from_slice(&text).map_err(|error| {
            Failure::new(format!("ldmtool answers in a way that is not understood: {error}"))
        })
    }

    fn about_group(&self, group: &GuestString) -> Result<Value, Failure> {
        self.ldmtool([OsStr::new("show"), OsStr::new("diskgroup"), group.as_os_str()])
    }

    fn about_volume(&self, group: &GuestString, volume: &GuestString) -> Result<Value, Failure> {
        self.ldmtool([OsStr::new("show"), OsStr::new("volume"), group.as_os_str(), volume.as_os_str()])
    }

    /// The names of partitions, which ldmtool gives without their disks, as devices.
    fn partition_nodes(
        &self,
        group: &GuestString,
        names: &[GuestString],
    ) -> Result<Vec<GuestString>, Failure> {
        let device = |name: &GuestString| {
            let words = [OsStr::new("show"), OsStr::new("partition"), group.as_os_str(), name.as_os_str()];
            text(&self.ldmtool(words)?, "device")
        };
        names.iter().map(device).collect()
    }

    /// Mapped devices of dynamic disks, whose names start so.
    fn ldm_devices(&self, start: &str) -> Result<Vec<GuestString>, Failure> {
        self.bring_up_volumes()?;
        let mut names = Vec::new();
        for entry in std::fs::read_dir("/dev/mapper").into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(start.as_bytes()) {
                names.push(crate::disks::node_text(&entry.path()));
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

fn missing(field: &str) -> Failure {
    Failure::new(format!("ldmtool does not say '{field}'"))
}

/// A field that is text.
fn text(object: &Value, field: &str) -> Result<GuestString, Failure> {
    object.get(field).and_then(Value::as_str).map(GuestString::from).ok_or_else(|| missing(field))
}

/// A list of texts.
fn texts(list: &Value, field: &str) -> Result<Vec<GuestString>, Failure> {
    let list = list.as_array().ok_or_else(|| missing(field))?;
    list.iter().map(|text| text.as_str().map(GuestString::from).ok_or_else(|| missing(field))).collect()
}

impl Server for Worker {
    fn ldmtool_create_all(&self) -> Result<(), Failure> {
        self.ldmtool(["create", "all"]).map(|_| ())
    }

    fn ldmtool_remove_all(&self) -> Result<(), Failure> {
        // What is switched off now must not be switched on by the next action.
        self.bring_up_volumes()?;
        self.ldmtool(["remove", "all"]).map(|_| ())
    }

    fn ldmtool_scan(&self) -> Result<Vec<GuestString>, Failure> {
        texts(&self.ldmtool(["scan"])?, "groups")
    }

    fn ldmtool_scan_devices(&self, devices: Vec<Device>) -> Result<Vec<GuestString>, Failure> {
        let nodes = devices.iter().map(|device| device.node.as_os_str());
        texts(&self.ldmtool([OsStr::new("scan")].into_iter().chain(nodes))?, "groups")
    }

    fn ldmtool_diskgroup_name(&self, diskgroup: GuestString) -> Result<GuestString, Failure> {
        text(&self.about_group(&diskgroup)?, "name")
    }

    fn ldmtool_diskgroup_volumes(&self, diskgroup: GuestString) -> Result<Vec<GuestString>, Failure> {
        texts(self.about_group(&diskgroup)?.get("volumes").unwrap_or(&Value::Null), "volumes")
    }

    fn ldmtool_diskgroup_disks(&self, diskgroup: GuestString) -> Result<Vec<GuestString>, Failure> {
        let names = texts(self.about_group(&diskgroup)?.get("disks").unwrap_or(&Value::Null), "disks")?;
        let device = |name: &GuestString| {
            let words = [OsStr::new("show"), OsStr::new("disk"), diskgroup.as_os_str(), name.as_os_str()];
            self.ldmtool(words).map(|disk| text(&disk, "device").ok())
        };
        // One that is missing has no device.
        let devices: Vec<_> = names.iter().map(device).collect::<Result<_, _>>()?;
        Ok(devices.into_iter().flatten().collect())
    }

    fn ldmtool_volume_type(
        &self,
        diskgroup: GuestString,
        volume: GuestString,
    ) -> Result<GuestString, Failure> {
        text(&self.about_volume(&diskgroup, &volume)?, "type")
    }

    fn ldmtool_volume_hint(
        &self,
        diskgroup: GuestString,
        volume: GuestString,
    ) -> Result<GuestString, Failure> {
        Ok(text(&self.about_volume(&diskgroup, &volume)?, "hint").unwrap_or_default())
    }

    fn ldmtool_volume_partitions(
        &self,
        diskgroup: GuestString,
        volume: GuestString,
    ) -> Result<Vec<GuestString>, Failure> {
        let names = texts(
            self.about_volume(&diskgroup, &volume)?.get("partitions").unwrap_or(&Value::Null),
            "partitions",
        )?;
        self.partition_nodes(&diskgroup, &names)
    }

    fn list_ldm_volumes(&self) -> Result<Vec<GuestString>, Failure> {
        self.ldm_devices("ldm_vol_")
    }

    fn list_ldm_partitions(&self) -> Result<Vec<GuestString>, Failure> {
        self.ldm_devices("ldm_part_")
    }
}
