//! The disks of a libvirt domain, read from the file that describes it.
//!
//! libvirt keeps the descriptions of its domains as files; who names a domain means one of those, who gives a
//! path means that file.

use std::fs;
use std::path::{Path, PathBuf};

use guestd_api::Failure;
use roxmltree::{Document, Node, ParsingOptions};

/// A larger file describes no domain.
const MAX_TEXT: u64 = 8 << 20;
/// Where libvirt's drivers keep domains, below a directory for configurations.
const DRIVERS: [&str; 3] = ["libvirt/qemu", "libvirt/libxl", "libvirt/lxc"];

/// A disk of a domain.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DomainDisk {
    pub(super) path: String,
    pub(super) format: Option<String>,
    /// The description marks it so.
    pub(super) read_only: bool,
    pub(super) block_size: Option<i32>,
}

/// The disks of a domain: named by the path of its description, by its name, or, if so wished, by its UUID.
pub(super) fn disks(domain: &str, allow_uuid: bool) -> Result<Vec<DomainDisk>, Failure> {
    let path = find(domain, allow_uuid)?;
    let text = read(&path).map_err(|error| Failure::io(path.to_string_lossy().as_bytes(), &error))?;
    let shown = path.display();
    let disks = parse(&text).map_err(|why| Failure::new(format!("{shown}: {why}")))?;
    if disks.is_empty() {
        return Err(Failure::new(format!("libvirt domain has no disks ({shown})")));
    }
    Ok(disks)
}

/// A domain that libvirt knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// Its name.
    pub name: String,
    /// Its UUID, if its description has one.
    pub uuid: Option<String>,
    /// The file that describes it, which stands for it wherever a domain is named.
    pub description: String,
}

/// All domains that libvirt knows, ordered by name. Files that describe none are skipped.
///
/// # Errors
/// When a directory of descriptions cannot be read.
pub fn domains() -> std::io::Result<Vec<Domain>> {
    let mut domains = Vec::new();
    for place in places().into_iter().filter(|place| place.is_dir()) {
        for entry in fs::read_dir(place)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "xml") {
                domains.extend(described(&path));
            }
        }
    }
    domains.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(domains)
}

fn described(path: &Path) -> Option<Domain> {
    let text = read(path).ok()?;
    let document = document(&text).ok()?;
    let root = Some(document.root_element()).filter(|root| root.has_tag_name("domain"))?;
    let word = |name| child(root, name).and_then(|node| node.text()).map(|text| text.trim().to_owned());
    let stem = || Some(path.file_stem()?.to_string_lossy().into_owned());
    let description = path.to_str()?.to_owned();
    Some(Domain { name: word("name").or_else(stem)?, uuid: word("uuid"), description })
}

fn find(domain: &str, allow_uuid: bool) -> Result<PathBuf, Failure> {
    let is_path = domain.contains('/') || domain.ends_with(".xml");
    if is_path && Path::new(domain).is_file() {
        return Ok(domain.into());
    }
    let places = places();
    if allow_uuid && let Some(path) = places.iter().find_map(|place| with_uuid(place, domain)) {
        return Ok(path);
    }
    let named = |place: &PathBuf| Some(place.join(format!("{domain}.xml"))).filter(|path| path.is_file());
    let found = if domain.contains('/') { None } else { places.iter().find_map(named) };
    found.ok_or_else(|| {
        let searched: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
        let searched = searched.join(" and ");
        Failure::new(format!(
            "no libvirt domain with name '{domain}': there is neither such a file nor {domain}.xml in {searched}"
        ))
    })
}

/// Where descriptions lie: of the system, and of this user.
fn places() -> Vec<PathBuf> {
    let own = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")));
    let roots = [Some(PathBuf::from("/etc")), own];
    let below = |root: PathBuf| DRIVERS.map(|driver| root.join(driver));
    let all: Vec<PathBuf> = roots.into_iter().flatten().flat_map(below).collect();
    let there: Vec<PathBuf> = all.iter().filter(|place| place.is_dir()).cloned().collect();
    if there.is_empty() { all.into_iter().take(1).collect() } else { there }
}

fn with_uuid(place: &Path, uuid: &str) -> Option<PathBuf> {
    let files = fs::read_dir(place).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    files.filter(|path| path.extension().is_some_and(|e| e == "xml")).find(|path| {
        let Ok(text) = read(path) else { return false };
        let Ok(document) = document(&text) else { return false };
        let found = child(document.root_element(), "uuid").and_then(|node| node.text());
        found.is_some_and(|found| found.trim().eq_ignore_ascii_case(uuid))
    })
}

fn read(path: &Path) -> std::io::Result<String> {
    if fs::metadata(path)?.len() > MAX_TEXT {
        return Err(std::io::Error::other("it is too large to describe a domain"));
    }
    fs::read_to_string(path)
}

fn document(text: &str) -> Result<Document<'_>, roxmltree::Error> {
    let options = ParsingOptions { nodes_limit: 1 << 20, ..ParsingOptions::default() };
    Document::parse_with_options(text, options)
}

fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|child| child.has_tag_name(name))
}

/// Reads the description. Disks without a medium are skipped; disks of other machines are refused.
fn parse(text: &str) -> Result<Vec<DomainDisk>, String> {
    let document = document(text).map_err(|error| format!("it is no description of a domain: {error}"))?;
    let root = document.root_element();
    if !root.has_tag_name("domain") {
        return Err(format!("it describes a {}, not a domain", root.tag_name().name()));
    }
    let Some(devices) = child(root, "devices") else { return Ok(Vec::new()) };
    let mut disks = Vec::new();
    for disk in devices.children().filter(|node| node.has_tag_name("disk")) {
        let Some(source) = child(disk, "source") else { continue };
        let path = match disk.attribute("type") {
            Some("file") | None => source.attribute("file"),
            Some("block") => source.attribute("dev"),
            Some(kind) => {
                return Err(format!("it has a disk of type '{kind}', which cannot be used here yet"));
            }
        };
        let Some(path) = path else { continue };
        let size = child(disk, "blockio").and_then(|node| node.attribute("logical_block_size"));
        disks.push(DomainDisk {
            path: path.to_owned(),
            format: child(disk, "driver").and_then(|node| node.attribute("type")).map(str::to_owned),
            read_only: child(disk, "readonly").is_some(),
            block_size: size.and_then(|text| text.parse().ok()),
        });
    }
    Ok(disks)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;

    #[test]
    fn disks_are_found_in_a_description() {
        let text = "<domain type='kvm'><name>web</name><devices>
            <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/a b.qcow2'/>
              <blockio logical_block_size='4096'/><target dev='vda' bus='virtio'/></disk>
            <disk type='block'><source dev='/dev/null'/><readonly/></disk>
            <disk type='file' device='cdrom'><target dev='sda'/></disk>
            <interface type='user'/></devices></domain>";
        let disks = parse(text).unwrap();
        let expected = [
            DomainDisk {
                path: "/a b.qcow2".into(),
                format: Some("qcow2".into()),
                read_only: false,
                block_size: Some(4096),
            },
            DomainDisk { path: "/dev/null".into(), format: None, read_only: true, block_size: None },
        ];
        assert_eq!(disks, expected);
        let remote =
            "<domain><devices><disk type='network'><source protocol='nbd'/></disk></devices></domain>";
        assert!(parse(remote).unwrap_err().contains("'network'"));
        assert!(parse("<network/>").is_err() && parse("<domain>").is_err() && parse("").is_err());
        assert_eq!(parse("<domain/>").unwrap(), []);
    }
}
