//! Which distribution and version: the release files.
//!
//! `os-release` is asked first. Of distributions whose `os-release` has only half of the version, their own
//! older file is asked instead.

use guestd_api::Result;
use guestd_api::prelude::*;

use super::{is_file, read_text};

/// What release files say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Release {
    pub(super) distro: Option<String>,
    pub(super) product_name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) numbers: (i32, i32),
    pub(super) build_id: Option<String>,
}

/// `ID=` of os-release, and the name that libguestfs has for it.
const IDS: [(&str, &str); 31] = [
    ("almalinux", "almalinux"),
    ("alpine", "alpinelinux"),
    ("altlinux", "altlinux"),
    ("arch", "archlinux"),
    ("buildroot", "buildroot"),
    ("centos", "centos"),
    ("cirros", "cirros"),
    ("coreos", "coreos"),
    ("debian", "debian"),
    ("fedora", "fedora"),
    ("frugalware", "frugalware"),
    ("gentoo", "gentoo"),
    ("kali", "kalilinux"),
    ("kylin", "kylin"),
    ("linuxmint", "linuxmint"),
    ("mageia", "mageia"),
    ("neokylin", "neokylin"),
    ("ol", "oraclelinux"),
    ("openEuler", "openeuler"),
    ("openmandriva", "openmandriva"),
    ("opensuse", "opensuse"),
    ("pardus", "pardus"),
    ("pld", "pldlinux"),
    ("rhel", "rhel"),
    ("rocky", "rocky"),
    ("scientific", "scientificlinux"),
    ("sled", "sles"),
    ("sles", "sles"),
    ("slackware", "slackware"),
    ("ubuntu", "ubuntu"),
    ("void", "voidlinux"),
];

/// How the line in `redhat-release` begins, and whose it is.
const RED_HATS: [(&str, &str); 9] = [
    ("Fedora", "fedora"),
    ("CentOS", "centos"),
    ("Red Hat", "rhel"),
    ("Rocky", "rocky"),
    ("AlmaLinux", "almalinux"),
    ("Scientific Linux", "scientificlinux"),
    ("Oracle Linux", "oraclelinux"),
    ("Enterprise Linux", "oraclelinux"),
    ("Mageia", "mageia"),
];

/// Asks the files of the system that is mounted.
pub(super) fn find(guest: &dyn Actions) -> Result<Release> {
    let mut text = read_text(guest, "/etc/os-release")?;
    if text.is_empty() {
        text = read_text(guest, "/usr/lib/os-release")?;
    }
    let release = of_os_release(&text);
    match release.distro.as_deref() {
        Some("debian") => {
            let version = read_text(guest, "/etc/debian_version")?;
            Ok(of_debian_version(&version, release))
        }
        Some("centos") if release.numbers.1 == 0 => {
            let line = read_text(guest, "/etc/centos-release")?;
            Ok(of_red_hat(&line).unwrap_or(release))
        }
        Some(_) => Ok(release),
        None => older(guest, release),
    }
}

/// Systems from before there was one file for all.
fn older(guest: &dyn Actions, release: Release) -> Result<Release> {
    let found = of_lsb_release(&read_text(guest, "/etc/lsb-release")?);
    if found.distro.is_some() {
        return Ok(found);
    }
    for path in ["/etc/centos-release", "/etc/oracle-release", "/etc/redhat-release"] {
        if let Some(found) = of_red_hat(&read_text(guest, path)?) {
            return Ok(found);
        }
    }
    let line = read_text(guest, "/etc/SuSE-release")?;
    if let Some(name) = line.lines().next() {
        let distro = if line.contains("Enterprise") { "sles" } else { "opensuse" };
        let minor = variable_spaced(&line, "PATCHLEVEL").and_then(|text| text.parse().ok());
        let version = variable_spaced(&line, "VERSION");
        let mut numbers = numbers(version.as_deref().unwrap_or_default());
        numbers.1 = minor.unwrap_or(numbers.1);
        return Ok(named(distro, name, version, numbers));
    }
    for (path, distro) in [
        ("/etc/alpine-release", "alpinelinux"),
        ("/etc/arch-release", "archlinux"),
        ("/etc/gentoo-release", "gentoo"),
        ("/etc/slackware-version", "slackware"),
        ("/etc/cirros/version", "cirros"),
    ] {
        if is_file(guest, path)? {
            let text = read_text(guest, path)?;
            let line = text.lines().next().unwrap_or_default().trim();
            let name = if line.is_empty() { distro } else { line };
            return Ok(named(distro, name, None, first_numbers(line)));
        }
    }
    let version = read_text(guest, "/etc/debian_version")?;
    if version.is_empty() { Ok(release) } else { Ok(of_debian_version(&version, Release::default())) }
}

fn named(distro: &str, name: &str, version: Option<String>, numbers: (i32, i32)) -> Release {
    Release {
        distro: Some(distro.to_owned()),
        product_name: Some(name.trim().to_owned()).filter(|name| !name.is_empty()),
        version,
        numbers,
        build_id: None,
    }
}

fn of_os_release(text: &str) -> Release {
    let id = variable(text, "ID").unwrap_or_default();
    // SUSE calls its editions opensuse-leap, opensuse-tumbleweed, sles_sap.
    let family = id.split(['-', '_']).next().unwrap_or_default();
    let known =
        |word: &str| IDS.iter().find(|(theirs, _)| *theirs == word).map(|(_, ours)| (*ours).to_owned());
    let suse = || ["opensuse", "sles", "sled"].contains(&family).then(|| known(family)).flatten();
    let version = variable(text, "VERSION_ID");
    Release {
        distro: known(&id).or_else(suse),
        product_name: variable(text, "PRETTY_NAME"),
        numbers: numbers(version.as_deref().unwrap_or_default()),
        version,
        build_id: variable(text, "BUILD_ID"),
    }
}

/// Debian has the minor version here only.
fn of_debian_version(text: &str, release: Release) -> Release {
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        return release;
    }
    // Before a release it is the name of two: trixie/sid.
    let found = if line.starts_with(|c: char| c.is_ascii_digit()) { numbers(line) } else { release.numbers };
    let version = release.version.or_else(|| Some(line.to_owned()));
    Release { build_id: release.build_id, ..named("debian", line, version, found) }
}

fn of_lsb_release(text: &str) -> Release {
    let id = variable(text, "DISTRIB_ID").unwrap_or_default().to_ascii_lowercase();
    let distro =
        IDS.iter().find(|(theirs, ours)| *theirs == id || *ours == id).map(|(_, ours)| (*ours).to_owned());
    let version = variable(text, "DISTRIB_RELEASE");
    Release {
        distro,
        product_name: variable(text, "DISTRIB_DESCRIPTION"),
        numbers: numbers(version.as_deref().unwrap_or_default()),
        version,
        build_id: None,
    }
}

/// `CentOS Linux release 7.9.2009 (Core)`
fn of_red_hat(text: &str) -> Option<Release> {
    let line = text.lines().next()?.trim();
    let (_, distro) = RED_HATS.iter().find(|(begin, _)| line.starts_with(begin))?;
    let (_, after) = line.split_once("release ")?;
    let version = after.split_whitespace().next().unwrap_or_default();
    Some(named(distro, line, Some(version.to_owned()), numbers(version)))
}

/// The first two numbers of a version.
pub(super) fn numbers(version: &str) -> (i32, i32) {
    let mut parts = version.split('.').map(|part| {
        let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        part[..end].parse().unwrap_or(0)
    });
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

fn first_numbers(line: &str) -> (i32, i32) {
    line.find(|c: char| c.is_ascii_digit()).map_or((0, 0), |at| numbers(&line[at..]))
}

/// A variable of a shell-like file: `NAME="value"`.
pub(super) fn variable(text: &str, name: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))?.trim();
    let value = ['"', '\''].iter().find_map(|&q| value.strip_prefix(q)?.strip_suffix(q)).unwrap_or(value);
    (!value.is_empty()).then(|| value.to_owned())
}

/// `NAME = value`
fn variable_spaced(text: &str, name: &str) -> Option<String> {
    let find = |line: &str| Some(line.trim().strip_prefix(name)?.trim().strip_prefix('=')?.trim().to_owned());
    text.lines().find_map(find)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;

    #[test]
    fn release_files_are_read_as_the_shell_would() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID='12'\nEMPTY=\n";
        assert_eq!(variable(text, "PRETTY_NAME").as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(variable(text, "ID").as_deref(), Some("debian"));
        assert_eq!(variable(text, "VERSION_ID").as_deref(), Some("12"));
        assert_eq!(variable(text, "EMPTY"), None);
        assert_eq!(variable(text, "VERSION"), None);
    }

    #[test]
    fn distributions_are_known_by_their_files() {
        let of = |text: &str| {
            let release = of_os_release(text);
            (release.distro.unwrap_or_default(), release.numbers)
        };
        assert_eq!(of("ID=ubuntu\nVERSION_ID=\"22.04\"\n"), ("ubuntu".into(), (22, 4)));
        assert_eq!(of("ID=\"opensuse-leap\"\nVERSION_ID=\"15.5\"\n"), ("opensuse".into(), (15, 5)));
        assert_eq!(of("ID=alpine\nVERSION_ID=3.18.4\n"), ("alpinelinux".into(), (3, 18)));
        assert_eq!(of("ID=arch\n"), ("archlinux".into(), (0, 0)));
        assert_eq!(of("ID=mystery\nVERSION_ID=1\n"), (String::new(), (1, 0)));
        let debian = of_debian_version("13.2\n", of_os_release("ID=debian\nVERSION_ID=13\n"));
        assert_eq!((debian.numbers, debian.product_name.as_deref()), ((13, 2), Some("13.2")));
        let sid = of_debian_version("forky/sid\n", Release::default());
        assert_eq!((sid.numbers, sid.product_name.as_deref()), ((0, 0), Some("forky/sid")));
        let centos = of_red_hat("CentOS Linux release 7.9.2009 (Core)\n").unwrap();
        assert_eq!((centos.distro.as_deref(), centos.numbers), (Some("centos"), (7, 9)));
        assert_eq!(of_red_hat("Something else\n"), None);
    }
}
