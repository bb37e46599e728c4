//! Which distribution and version: the release files, asked in order until one is understood.
//!
//! `os-release` comes first. Where it lacks something, the others fill in or say it again, so what an earlier
//! file told stays unless a later one knows better.

use guestd_api::Result;
use guestd_api::prelude::*;

use super::text::{first_line, numbers, read_text, unquoted, variables, version_in};
use super::{System, is_file};

/// `ID=` of os-release, and the name of the distribution.
const IDS: [(&str, &str); 27] = [
    ("almalinux", "almalinux"),
    ("alpine", "alpinelinux"),
    ("altlinux", "altlinux"),
    ("arch", "archlinux"),
    ("centos", "centos"),
    ("circle", "circle"),
    ("coreos", "coreos"),
    ("debian", "debian"),
    ("fedora", "fedora"),
    ("frugalware", "frugalware"),
    ("gentoo", "gentoo"),
    ("kali", "kalilinux"),
    ("kylin", "kylin"),
    ("mageia", "mageia"),
    ("neokylin", "neokylin"),
    ("openEuler", "openeuler"),
    ("openmandriva", "openmandriva"),
    ("opensuse", "opensuse"),
    ("pardus", "pardus"),
    ("pld", "pldlinux"),
    ("rhel", "rhel"),
    ("rocky", "rocky"),
    ("sled", "sles"),
    ("sles", "sles"),
    ("sles_sap", "sles"),
    ("ubuntu", "ubuntu"),
    ("void", "voidlinux"),
];

/// Distributions without versions.
const ROLLING: [&str; 3] = ["archlinux", "gentoo", "voidlinux"];

/// Distributions whose os-release has the major version only.
const HALF: [&str; 3] = ["debian", "centos", "rocky"];

/// `DISTRIB_ID=` of lsb-release, and the name of the distribution.
const LSB_IDS: [(&str, &str); 4] =
    [("CoreOS", "coreos"), ("LinuxMint", "linuxmint"), ("Mageia", "mageia"), ("Ubuntu", "ubuntu")];

/// What a release file of its own holds.
enum Line {
    /// A line that begins with a name, a version somewhere behind the word "release".
    Released(&'static str),
    /// Any line; a version may be in it.
    Any,
    /// A line that must have a version in it, recognised like this.
    Versioned(fn(&str) -> Option<(i32, i32)>),
}

/// Files of one distribution each, in the order in which to ask them.
const FILES: [(&str, &str, Line); 32] = [
    ("/etc/openmandriva-release", "openmandriva", Line::Released("OpenMandriva")),
    ("/etc/oracle-release", "oraclelinux", Line::Released("Oracle Linux")),
    ("/etc/centos-release", "centos", Line::Released("CentOS")),
    ("/etc/rocky-release", "rocky", Line::Released("Rocky Linux")),
    ("/etc/almalinux-release", "almalinux", Line::Released("AlmaLinux")),
    ("/etc/circle-release", "circle", Line::Released("Circle Linux")),
    ("/etc/altlinux-release", "altlinux", Line::Any),
    ("/etc/redhat-release", "fedora", Line::Versioned(fedora)),
    ("/etc/redhat-release", "rhel", Line::Released("Red Hat")),
    ("/etc/redhat-release", "centos", Line::Released("CentOS")),
    ("/etc/redhat-release", "rocky", Line::Released("Rocky Linux")),
    ("/etc/redhat-release", "almalinux", Line::Released("AlmaLinux")),
    ("/etc/redhat-release", "scientificlinux", Line::Released("Scientific Linux")),
    ("/etc/redhat-release", "redhat-based", Line::Any),
    ("/etc/debian_version", "debian", Line::Any),
    ("/etc/pardus-release", "pardus", Line::Any),
    ("/etc/arch-release", "archlinux", Line::Any),
    ("/etc/gentoo-release", "gentoo", Line::Any),
    ("/etc/meego-release", "meego", Line::Any),
    ("/etc/slackware-version", "slackware", Line::Any),
    ("/etc/ttylinux-target", "ttylinux", Line::Any),
    ("/etc/SuSE-release", "suse-based", Line::Any),
    ("/etc/cirros/version", "cirros", Line::Any),
    ("/etc/br-version", "buildroot", Line::Any),
    ("/etc/alpine-release", "alpinelinux", Line::Any),
    ("/etc/frugalware-release", "frugalware", Line::Versioned(frugalware)),
    ("/etc/pld-release", "pldlinux", Line::Versioned(pld)),
    ("/etc/mandriva-release", "mandriva", Line::Any),
    ("/etc/openEuler-release", "openeuler", Line::Any),
    ("/etc/kylin-release", "kylin", Line::Any),
    ("/etc/void-release", "voidlinux", Line::Any),
    ("/etc/mageia-release", "mageia", Line::Any),
];

/// Asks the files of a Linux that is mounted.
pub(super) fn of_linux(guest: &dyn Actions, system: &mut System) -> Result<()> {
    let mut text = read_text(guest, "/etc/os-release")?;
    if text.is_empty() {
        // The first is a link to this one, which may lead out of what is mounted.
        text = read_text(guest, "/usr/lib/os-release")?;
    }
    if of_os_release(&text, system) || of_lsb_release(&read_text(guest, "/etc/lsb-release")?, system) {
        return Ok(());
    }
    for (path, distro, line) in &FILES {
        if is_file(guest, path)? && of_file(guest, path, distro, line, system)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Asks the files of a Hurd that is mounted.
pub(super) fn of_hurd(guest: &dyn Actions, system: &mut System) -> Result<()> {
    let understood = of_os_release(&read_text(guest, "/etc/os-release")?, system);
    let path = "/etc/debian_version";
    if !understood && is_file(guest, path)? {
        of_file(guest, path, "debian", &Line::Any, system)?;
    }
    Ok(())
}

/// One file that exists. Returns whether it is the last that needs to be asked.
fn of_file(
    guest: &dyn Actions,
    path: &str,
    distro: &'static str,
    kind: &Line,
    system: &mut System,
) -> Result<bool> {
    let text = read_text(guest, path)?;
    let line = first_line(&text);
    match (path, distro) {
        ("/etc/SuSE-release", _) => return Ok(of_suse(&text, system)),
        // That it is there is all that these say.
        ("/etc/arch-release", _) | (_, "redhat-based") if line.is_empty() => {
            system.distro = Some(distro.to_owned());
            return Ok(true);
        }
        // CirrOS is made with buildroot.
        ("/etc/br-version", "buildroot") if is_file(guest, "/usr/share/cirros/logo")? => {
            return Ok(of_line(line, "cirros", kind, system));
        }
        _ => {}
    }
    Ok(of_line(line, distro, kind, system))
}

/// A line that names a system, and may have a version in it.
pub(super) fn of_any_line(line: &str, distro: &'static str, system: &mut System) -> bool {
    of_line(line, distro, &Line::Any, system)
}

/// The same, with `version` to find a version in it.
pub(super) fn of_versioned_line(
    line: &str,
    distro: &'static str,
    version: fn(&str) -> Option<(i32, i32)>,
    system: &mut System,
) -> bool {
    of_line(line, distro, &Line::Versioned(version), system)
}

fn of_line(line: &str, distro: &'static str, kind: &Line, system: &mut System) -> bool {
    if line.is_empty() {
        return false;
    }
    let version = match kind {
        Line::Any => version_in(line),
        Line::Released(name) => released(line, name),
        Line::Versioned(find) => find(line),
    };
    // Whose file it is, is known even if what is in it is not understood; then others may know better.
    system.product_name = Some(line.to_owned());
    system.distro = Some(distro.to_owned());
    system.version = version.or(system.version);
    version.is_some() || matches!(kind, Line::Any)
}

fn known(ids: &[(&str, &str)], id: &str) -> Option<String> {
    ids.iter().find(|(theirs, _)| *theirs == id).map(|(_, ours)| (*ours).to_owned())
}

/// Returns whether nothing was missing in it.
pub(super) fn of_os_release(text: &str, system: &mut System) -> bool {
    for (name, value) in variables(text) {
        let value = unquoted(value);
        match name {
            "ID" => {
                let suse = || value.starts_with("opensuse-").then(|| "opensuse".to_owned());
                system.distro = known(&IDS, &value).or_else(suse).or(system.distro.take());
            }
            "PRETTY_NAME" => system.product_name = Some(value),
            "BUILD_ID" => system.build_id = Some(value),
            "VERSION_ID" => {
                system.version = neokylin(&value).or_else(|| version_in(&value)).or(system.version)
            }
            _ => {}
        }
    }
    let (Some(distro), Some(_)) = (system.distro.as_deref(), &system.product_name) else { return false };
    match system.version {
        Some((_, 0)) if HALF.contains(&distro) => false,
        Some(_) => true,
        None if ROLLING.contains(&distro) => {
            system.version = Some((0, 0));
            true
        }
        None => false,
    }
}

/// Returns whether anything was in it.
pub(super) fn of_lsb_release(text: &str, system: &mut System) -> bool {
    let mut said = false;
    for (name, value) in variables(text) {
        let value = unquoted(value);
        match name {
            "DISTRIB_ID" => {
                if let Some(distro) = known(&LSB_IDS, &value) {
                    system.distro = Some(distro);
                    said = true;
                }
            }
            "DISTRIB_RELEASE" => system.version = version_in(&value).or(system.version),
            "DISTRIB_DESCRIPTION" => {
                system.product_name = Some(value);
                said = true;
            }
            _ => {}
        }
    }
    said
}

/// `openSUSE 13.1 (x86_64)`, then `VERSION = 13.1`, then perhaps `PATCHLEVEL = 3`.
fn of_suse(text: &str, system: &mut System) -> bool {
    let mut lines = text.lines();
    let Some(name) = lines.next() else {
        system.distro = Some("suse-based".to_owned());
        return true;
    };
    let (second, third) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let begins = |names: &[&str]| names.iter().any(|begin| name.starts_with(begin));
    system.product_name = Some(name.to_owned());
    if begins(&["SUSE Linux Enterprise ", "SUSE LINUX Enterprise ", "Novell Linux Desktop "]) {
        let number = |line: &str, what: &str| numbers(line.strip_prefix(what)?).map(|(number, _)| number);
        let patch = number(third, "PATCHLEVEL = ").unwrap_or(0);
        system.distro = Some("sles".to_owned());
        system.version = number(second, "VERSION = ").map(|major| (major, patch));
    } else if begins(&["openSUSE ", "SuSE Linux ", "SUSE LINUX "]) {
        system.distro = Some("opensuse".to_owned());
        system.version = version_in(second).or(system.version);
    }
    true
}

/// `NAME ... release 7.9`, or `NAME ... release 4 (... Update 5)`.
fn released(line: &str, name: &str) -> Option<(i32, i32)> {
    let after = &line[line.find(name)? + name.len()..];
    // The last one that a number follows counts.
    let number_after = |text: &str, word: &str| {
        let mut places = text.rmatch_indices(word).map(|(at, _)| at + word.len());
        places.find_map(|at| Some((numbers(&text[at..])?, at)))
    };
    let (version, at) = number_after(after, "release ")?;
    let update = number_after(&after[at..], "Update ").map(|((update, _), _)| update);
    Some((version.0, update.or(version.1).unwrap_or(0)))
}

fn fedora(line: &str) -> Option<(i32, i32)> {
    let after = line.split("Fedora release ").nth(1)?;
    numbers(after).map(|(major, _)| (major, 0))
}

fn frugalware(line: &str) -> Option<(i32, i32)> {
    both(line.split("Frugalware ").nth(1)?)
}

fn pld(line: &str) -> Option<(i32, i32)> {
    let version = line.split(" PLD Linux").next().filter(|before| before.len() < line.len())?;
    both(version.rsplit(' ').next()?)
}

fn both(text: &str) -> Option<(i32, i32)> {
    let (major, minor) = numbers(text)?;
    Some((major, minor?))
}

/// `V7Update6`
fn neokylin(version: &str) -> Option<(i32, i32)> {
    let (major, minor) = version.strip_prefix('V')?.split_once("Update")?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn os_release_is_not_enough_where_it_lacks_something() {
        let of = |text: &str| {
            let mut system = System::default();
            let enough = of_os_release(text, &mut system);
            (system.distro.unwrap_or_default(), system.version, enough)
        };
        let ubuntu = "ID=ubuntu\nVERSION_ID=\"22.04\"\nPRETTY_NAME=U\n";
        assert_eq!(of(ubuntu), ("ubuntu".into(), Some((22, 4)), true));
        assert_eq!(of("ID=ubuntu\nVERSION_ID=22\n"), ("ubuntu".into(), Some((22, 0)), false));
        assert_eq!(of("ID=debian\nVERSION_ID=13\nPRETTY_NAME=D\n"), ("debian".into(), Some((13, 0)), false));
        assert_eq!(of("ID=arch\nPRETTY_NAME=A\n"), ("archlinux".into(), Some((0, 0)), true));
        assert_eq!(of("ID=mystery\nVERSION_ID=1\nPRETTY_NAME=M\n"), (String::new(), Some((1, 0)), false));
        let leap = "ID=\"opensuse-leap\"\nVERSION_ID=15.5\nPRETTY_NAME=L\n";
        assert_eq!(of(leap), ("opensuse".into(), Some((15, 5)), true));
    }

    #[test]
    fn versions_come_after_their_words() {
        assert_eq!(released("CentOS Linux release 7.9.2009 (Core)", "CentOS"), Some((7, 9)));
        assert_eq!(
            released("Red Hat Enterprise Linux AS release 4 (Nahant Update 5)", "Red Hat"),
            Some((4, 5))
        );
        assert_eq!(released("Red Hat Enterprise Linux ES release 3 (Taroon)", "Red Hat"), Some((3, 0)));
        assert_eq!(released("CentOS release x", "CentOS"), None);
        assert_eq!(released("release 7", "CentOS"), None);
        assert_eq!(
            (fedora("Fedora release 14 (Laughlin)"), fedora("Fedora Core release 6")),
            (Some((14, 0)), None)
        );
        assert_eq!((pld("3.0 PLD Linux (Th)"), pld("PLD Linux")), (Some((3, 0)), None));
        assert_eq!((neokylin("V7Update6"), neokylin("V7")), (Some((7, 6)), None));
        let numbers = "99999999999999999999.1";
        assert_eq!(released(&format!("CentOS release {numbers}"), "CentOS"), None);
    }

    proptest! {
        #[test]
        fn no_text_surprises(text in "(ID|VERSION_ID|DISTRIB_ID|PRETTY_NAME|VERSION|release|Update|PLD Linux|[ =\"'\\\\\n.0-9a-zé])*") {
            let mut system = System::default();
            of_os_release(&text, &mut system);
            of_lsb_release(&text, &mut system);
            of_suse(&text, &mut system);
            for (_, distro, line) in &FILES {
                of_line(first_line(&text), distro, line, &mut system);
            }
        }
    }
}
