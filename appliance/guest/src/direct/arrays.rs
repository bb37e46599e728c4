//! Arrays of software RAID under the names that they get where nobody remembers others: `/dev/md127`.

use std::sync::Arc;

use guestd_api::actions::md;
use guestd_api::{GuestString, Value};
use libimage::Block;
use libimage::volume::md::{Array, arrays};

use super::device::Device;
use super::devices::Devices;
use super::sums::hex;
use super::{Served, aside, names};

/// The kernel's number of the driver.
const MAJOR: u32 = 9;
/// The name of a host that has none, as where arrays are looked at.
const NO_HOST: &str = "(none)";
/// What mdadm makes of it in identifiers of the format 0.90.
const NO_HOST_HASH: [u8; 8] = [0x3d, 0x18, 0x6b, 0x3c, 0x53, 0x95, 0x8f, 0x34];
/// Arrays are numbered downwards from here.
const LAST: u32 = 127;

/// The arrays on the disks.
#[derive(Default)]
pub(super) struct Arrays(Vec<Named>);

/// An array that would run.
struct Named {
    minor: u32,
    /// Its name below `/dev/md`.
    called: String,
    array: Array,
    block: Arc<dyn Block>,
    /// Names of the members, by place.
    members: Vec<Option<String>>,
}

impl Named {
    fn name(&self) -> String {
        format!("/dev/md{}", self.minor)
    }
}

impl Arrays {
    /// Looks for arrays on `devices`. Steps aside where one is not read here, or nobody can say how it would be called.
    pub(super) fn read(devices: &[Device]) -> Served<Arrays> {
        let mut members = Vec::new();
        let mut devices: Vec<_> = devices.iter().collect();
        // Programs look at the devices from the last to the first.
        devices.sort_by_key(|device| std::cmp::Reverse(device.number));
        for device in devices {
            if device.raid()?.is_some() {
                members.push((&device.name, device.block()?));
            }
        }
        if members.is_empty() {
            return Ok(Arrays::default());
        }
        let blocks: Vec<_> = members.iter().map(|(_, block)| Arc::clone(block)).collect();
        let mut found = arrays(&blocks).or_else(|e| aside(e.to_string()))?;
        // Those of one format come together.
        let formats: Vec<_> = found.iter().map(|array| array.about.version).collect();
        found.sort_by_key(|array| formats.iter().position(|format| *format == array.about.version));
        let mut named: Vec<Named> = Vec::new();
        let mut free = (0..=LAST).rev();
        for array in found {
            let Some(called) = called(&array) else {
                return aside("what an array is called is not known here");
            };
            let minor = match own_number(&array, &called) {
                Some(number) => number,
                None => free.next().unwrap_or_default(),
            };
            if named.iter().any(|other| other.minor == minor || other.called == called) {
                return aside("two arrays have one name");
            }
            let block = array.open().or_else(|e| aside(e.to_string()))?;
            let has_table = libimage::volume::partitions(&block).or_else(|e| aside(e.to_string()))?;
            if has_table.is_some_and(|table| !table.partitions.is_empty()) {
                return aside("an array has partitions");
            }
            let name = |index: &usize| members.get(*index).map(|(name, _)| (*name).clone());
            let members = array.members.iter().map(|index| index.as_ref().and_then(name)).collect();
            named.push(Named { minor, called, array, block, members });
        }
        named.sort_by_key(Named::name);
        Ok(Arrays(named))
    }

    /// All of them, as devices.
    pub(super) fn devices(&self) -> Vec<Device> {
        self.0
            .iter()
            .map(|one| Device::array(one.name(), (MAJOR, one.minor), Arc::clone(&one.block)))
            .collect()
    }
}

/// The name below `/dev/md` that an array gets on a host without a name.
fn called(array: &Array) -> Option<String> {
    if let Some(number) = array.about.minor {
        // That of another host is set apart.
        return Some(if is_own(array) { number.to_string() } else { format!("{number}_0") });
    }
    let name = &array.about.name;
    match name.split_once(':') {
        Some((_, "")) => None,
        Some((_, own)) if is_own(array) => Some(own.to_owned()),
        // That of another host keeps its name in full.
        Some(_) => Some(name.clone()),
        None => None,
    }
}

/// Whether an array was made by a host without a name.
fn is_own(array: &Array) -> bool {
    match array.about.minor {
        Some(_) => array.about.id.ends_with(&NO_HOST_HASH),
        None => array.about.name.split_once(':').is_some_and(|(host, _)| host == NO_HOST),
    }
}

/// The number that an array has for its name's sake.
fn own_number(array: &Array, called: &str) -> Option<u32> {
    let is_number = is_own(array) && called.bytes().all(|byte| byte.is_ascii_digit());
    called.parse().ok().filter(|number| is_number && *number <= LAST)
}

/// Answers a call about arrays.
pub(super) fn answer(devices: &Devices, call: &md::Call) -> Served<Value> {
    use md::Call;
    match call {
        Call::list_md_devices {} => {
            // Whatever is not known here might be a part of one.
            devices.filesystems()?;
            Ok(names(devices.arrays()?.0.iter().map(Named::name)))
        }
        Call::md_detail { md } => {
            let name = devices.find(md)?.name;
            match devices.arrays()?.0.iter().find(|one| one.name() == name) {
                Some(one) => detail(one).map(Value::Hash),
                None => aside(format!("{name} is no array")),
            }
        }
        _ => aside("mdadm answers it"),
    }
}

/// What mdadm says of an array.
fn detail(one: &Named) -> Served<Vec<(GuestString, GuestString)>> {
    let about = &one.array.about;
    let level = match about.level {
        -1 => "linear".to_owned(),
        level => format!("raid{level}"),
    };
    let mut pairs = vec![
        ("level".to_owned(), level),
        ("devices".to_owned(), about.places.to_string()),
        ("metadata".to_owned(), about.version.as_str().to_owned()),
    ];
    if !one.array.others.is_empty() {
        return aside("it has members that are not in use");
    }
    pairs.push(("uuid".to_owned(), about.id.chunks(4).map(hex).collect::<Vec<_>>().join(":")));
    pairs.push(("devname".to_owned(), one.called.clone()));
    if !about.name.is_empty() {
        pairs.push(("name".to_owned(), about.name.clone()));
    }
    for (place, member) in one.members.iter().enumerate() {
        let Some(member) = member else { continue };
        let key = member.trim_start_matches("/dev/").replace('/', "_");
        pairs.push((format!("device_dev_{key}_role"), place.to_string()));
        pairs.push((format!("device_dev_{key}_dev"), member.clone()));
    }
    Ok(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
}
