//! Software RAID, made and run by mdadm.

use crate::disks::Device;
use crate::volumes;
use crate::worker::Worker;
use guestd_api::actions::md::{MdCreateOptions, Server};
use guestd_api::structs::Mdstat;
use guestd_api::{Failure, GuestString};

/// The levels that an array can be made with.
const LEVELS: &[&str] = &[
    "linear", "raid0", "0", "stripe", "raid1", "1", "mirror", "raid4", "4", "raid5", "5", "raid6", "6",
    "raid10", "10",
];

/// What mdadm is told besides the name, in order.
#[derive(Debug)]
struct Plan {
    level: String,
    devices: i32,
    spare: i32,
    chunk_kib: Option<i64>,
    missing: u64,
}

impl Plan {
    fn new(devices: usize, opts: &MdCreateOptions) -> Result<Self, Failure> {
        let level = opts.level.clone().unwrap_or_else(|| "raid1".into());
        let level = LEVELS
            .iter()
            .find(|known| level == **known)
            .ok_or_else(|| Failure::new(format!("unknown level parameter: {level}")))?;
        let missing = opts.missingbitmap.unwrap_or(0).cast_unsigned();
        let (given, gaps) = (devices, missing.count_ones());
        let members = i64::try_from(given).unwrap_or(i64::MAX).saturating_add(i64::from(gaps));
        let devices = match opts.nrdevices {
            Some(number @ ..2) => return Err(Failure::new(format!("nrdevices is less than 2: {number}"))),
            Some(number) => number,
            None => i32::try_from(members).map_err(|_| Failure::new("too many devices"))?,
        };
        let spare = opts.spare.unwrap_or(0);
        if spare < 0 {
            return Err(Failure::new("spare is negative"));
        }
        if members != i64::from(devices).saturating_add(i64::from(spare)) {
            return Err(Failure::new(format!(
                "devices ({given}) + bits set in missingbitmap ({gaps}) is not equal to \
                 nrdevices ({devices}) + spare ({spare})"
            )));
        }
        let chunk_kib = match opts.chunk {
            Some(chunk) if chunk <= 0 || chunk % 1024 != 0 => {
                return Err(Failure::new("chunk size must be a multiple of 1024 bytes"));
            }
            chunk => chunk.map(|chunk| chunk / 1024),
        };
        Ok(Plan { level: (*level).to_owned(), devices, spare, chunk_kib, missing })
    }

    /// The members in their places: `None` where one is missing.
    fn places<'d>(&self, devices: &'d [Device]) -> Vec<Option<&'d Device>> {
        let mut left = devices.iter();
        let total = devices.len().saturating_add(self.missing.count_ones() as usize);
        (0..total)
            .map(|place| {
                let is_missing = u32::try_from(place).ok().and_then(|bit| self.missing.checked_shr(bit));
                if is_missing.is_some_and(|bits| bits & 1 == 1) { None } else { left.next() }
            })
            .collect()
    }
}

/// One member in a line of `/proc/mdstat`: `sdb1[2](F)`.
fn member(word: &str) -> Option<Mdstat> {
    let (name, rest) = word.split_once('[')?;
    let (index, flags) = rest.split_once(']')?;
    let flags: String = flags.chars().filter(char::is_ascii_alphabetic).collect();
    Some(Mdstat {
        mdstat_device: format!("/dev/{name}").into(),
        mdstat_index: index.parse().ok()?,
        mdstat_flags: flags.into(),
    })
}

/// The members of an array in `/proc/mdstat`.
fn members(table: &str, name: &str) -> Option<Vec<Mdstat>> {
    let line = table.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" : "))?;
    Some(line.split_whitespace().filter_map(member).collect())
}

impl Worker {
    /// A key of mdadm's with the user's name of a member in it: `MD_DEVICE_dev_vda1_ROLE`.
    fn detail_key(&self, key: &str) -> String {
        let key = key.strip_prefix("MD_").unwrap_or(key);
        let key = match key.strip_prefix("DEVICE_dev_").and_then(|rest| rest.rsplit_once('_')) {
            Some((name, what)) => {
                let shown =
                    self.agent.disks.shown(&format!("/dev/{name}").into()).to_string_lossy().into_owned();
                format!("device_dev_{}_{what}", shown.strip_prefix("/dev/").unwrap_or(name))
            }
            None => key.to_owned(),
        };
        key.to_ascii_lowercase()
    }
}

impl Server for Worker {
    fn md_create(
        &self,
        name: GuestString,
        devices: Vec<Device>,
        opts: MdCreateOptions,
    ) -> Result<(), Failure> {
        let plan = Plan::new(devices.len(), &opts)?;
        if matches!(plan.level.as_str(), "raid6" | "6") && super::skips_raid6() {
            return Err(super::raid6_refused(&name.to_string_lossy(), "software RAID of level 6"));
        }
        if name.is_empty() || name.as_bytes().starts_with(b"-") {
            return Err(Failure::new(format!("'{name}': not a name for an array")));
        }
        self.bring_up_volumes()?;
        crate::modules::modprobe(&self.agent, "md_mod")?;
        let mut program = self.tool("mdadm")?.args(["--create", "--run"]).arg(name.as_os_str());
        program = program.args(["--level", &plan.level, "--raid-devices", &plan.devices.to_string()]);
        if plan.spare > 0 {
            program = program.args(["--spare-devices", &plan.spare.to_string()]);
        }
        if let Some(chunk) = plan.chunk_kib {
            program = program.args(["--chunk", &chunk.to_string()]);
        }
        for place in plan.places(&devices) {
            program = match place {
                Some(device) => program.arg(&device.node),
                None => program.arg("missing"),
            };
        }
        program.run_for(format!("mdadm: {name}")).map(|_| ())
    }

    fn list_md_devices(&self) -> Result<Vec<GuestString>, Failure> {
        self.bring_up_volumes()?;
        Ok(if self.agent.directory_is_guest { Vec::new() } else { volumes::names(volumes::arrays()) })
    }

    fn md_detail(&self, md: Device) -> Result<Vec<(GuestString, GuestString)>, Failure> {
        let done = self.tool("mdadm")?.args(["-D", "--export"]).arg(&md.node).finish()?;
        done.success_of("mdadm")?;
        let pair = |line: GuestString| {
            let text = line.to_string_lossy().into_owned();
            let (key, value) = text.split_once('=')?;
            Some((self.detail_key(key).into(), self.agent.disks.shown(&value.into())))
        };
        Ok(super::trimmed_lines(&done.stdout).into_iter().filter_map(pair).collect())
    }

    fn md_stat(&self, md: Device) -> Result<Vec<Mdstat>, Failure> {
        let name = md.kernel_name()?;
        let table = std::fs::read_to_string("/proc/mdstat").unwrap_or_default();
        let mut list = members(&table, &name).ok_or_else(|| {
            let shown = md.shown.to_string_lossy().into_owned();
            Failure::new(format!("{}: MD device not found", shown.strip_prefix("/dev/").unwrap_or(&shown)))
        })?;
        for member in &mut list {
            member.mdstat_device = self.agent.disks.shown(&member.mdstat_device);
        }
        Ok(list)
    }

    fn md_stop(&self, md: Device) -> Result<(), Failure> {
        // What is switched off now must not be switched on by the next action.
        self.bring_up_volumes()?;
        self.tool("mdadm")?.arg("--stop").arg(&md.node).run()?;
        // Names that lead nowhere now, which udev would remove.
        for entry in std::fs::read_dir("/dev/md").into_iter().flatten().flatten() {
            if !entry.path().exists() {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn plans_add_up() {
        let plan = |devices, opts| Plan::new(devices, &opts).map_err(|failure| failure.message.to_string());
        let opts = MdCreateOptions::default;
        assert_eq!(plan(2, opts()).unwrap().devices, 2);
        let gaps = plan(2, opts().missingbitmap(0b101).level("raid5").chunk(65536)).unwrap();
        assert_eq!((gaps.devices, gaps.chunk_kib), (4, Some(64)));
        let device = |name: &str| Device { shown: name.into(), node: name.into() };
        let devices = [device("a"), device("b")];
        let places: Vec<bool> = gaps.places(&devices).iter().map(Option::is_some).collect();
        assert_eq!(places, [false, true, false, true]);
        assert_eq!(plan(3, opts().nrdevices(2).spare(1)).unwrap().spare, 1);
        for (devices, bad) in [
            (2, opts().nrdevices(2).spare(1)),
            (1, opts().level("foo")),
            (2, opts().chunk(100)),
            (2, opts().spare(-1)),
            (2, opts().missingbitmap(i64::MIN).nrdevices(2)),
        ] {
            plan(devices, bad).unwrap_err();
        }
    }

    #[test]
    fn the_kernels_table() {
        let table = "Personalities : [raid1]\nmd127 : active raid1 sdb[1](F) sda1[0]\n      1 blocks\n\nmd1 : active\n";
        let found = members(table, "md127").unwrap();
        let short: Vec<_> = found
            .iter()
            .map(|m| (m.mdstat_device.to_string(), m.mdstat_index, m.mdstat_flags.to_string()))
            .collect();
        assert_eq!(short, [("/dev/sdb".into(), 1, "F".into()), ("/dev/sda1".into(), 0, String::new())]);
        assert_eq!((members(table, "md12"), members(table, "md1").map(|m| m.len())), (None, Some(0)));
    }
}
