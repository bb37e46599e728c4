//! The names that libosinfo has for operating systems, as far as they follow a rule.

use super::System;

/// A guess; nothing if there is no rule.
pub(super) fn guess(system: &System) -> Option<String> {
    let (major, minor) = system.numbers();
    let distro = system.distro.as_deref();
    match (system.kind, distro) {
        ("linux", Some(distro)) => linux(distro, major, minor),
        ("freebsd" | "netbsd" | "openbsd", Some(distro)) => Some(format!("{distro}{major}.{minor}")),
        ("dos", Some("msdos")) => Some("msdos6.22".to_owned()),
        ("windows", _) => windows(system),
        _ => None,
    }
}

fn linux(distro: &str, major: i32, minor: i32) -> Option<String> {
    match distro {
        "centos" | "circle" | "rocky" | "almalinux" if major >= 8 => return Some(format!("{distro}{major}")),
        "centos" if major == 7 => return Some("centos7.0".to_owned()),
        "debian" if major >= 4 => return Some(format!("debian{major}")),
        "fedora" | "mageia" => return Some(format!("{distro}{major}")),
        "sles" if minor == 0 => return Some(format!("sles{major}")),
        "sles" => return Some(format!("sles{major}sp{minor}")),
        "ubuntu" => return Some(format!("ubuntu{major}.{minor:02}")),
        "archlinux" | "gentoo" | "voidlinux" => return Some(distro.to_owned()),
        "altlinux" if major >= 8 => return Some(format!("alt{major}.{minor}")),
        _ => {}
    }
    (major > 0 || minor > 0).then(|| format!("{distro}{major}.{minor}"))
}

fn windows(system: &System) -> Option<String> {
    let name = system.product_name.as_deref().unwrap_or_default();
    let server = system.variant.as_deref().is_some_and(|variant| variant.contains("Server"));
    let build = system.build_id.as_deref().and_then(|build| build.parse().ok()).unwrap_or(0);
    let guess = match (system.numbers(), server) {
        ((5, 1), _) => "winxp",
        ((5, 2), _) if name.contains("XP") => "winxp",
        ((5, 2), _) if name.contains("R2") => "win2k3r2",
        ((5, 2), _) => "win2k3",
        ((6, 0), false) => "winvista",
        ((6, 0), true) => "win2k8",
        ((6, 1), false) => "win7",
        ((6, 1), true) => "win2k8r2",
        ((6, 2), false) => "win8",
        ((6, 2), true) => "win2k12",
        ((6, 3), false) => "win8.1",
        ((6, 3), true) => "win2k12r2",
        ((10, 0), true) if name.contains("2025") => "win2k25",
        ((10, 0), true) if name.contains("2022") => "win2k22",
        ((10, 0), true) if name.contains("2019") => "win2k19",
        ((10, 0), true) => "win2k16",
        ((10, 0), false) if build >= 22000 => "win11",
        ((10, 0), false) => "win10",
        _ => return None,
    };
    Some(guess.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_rules() {
        let guess = |distro: &str, version| {
            let (distro, version) = (Some(distro.to_owned()), Some(version));
            super::guess(&System { kind: "linux", distro, version, ..System::default() })
        };
        assert_eq!(guess("ubuntu", (22, 4)).as_deref(), Some("ubuntu22.04"));
        assert_eq!(guess("debian", (13, 2)).as_deref(), Some("debian13"));
        assert_eq!(guess("rhel", (8, 4)).as_deref(), Some("rhel8.4"));
        assert_eq!(guess("altlinux", (10, 1)).as_deref(), Some("alt10.1"));
        assert_eq!(guess("cirros", (0, 0)), None);
        let windows = |version, variant: &str, build: &str, name: &str| {
            super::guess(&System {
                kind: "windows",
                distro: Some("windows".to_owned()),
                product_name: Some(name.to_owned()),
                variant: Some(variant.to_owned()),
                build_id: Some(build.to_owned()),
                version: Some(version),
                ..System::default()
            })
        };
        assert_eq!(windows((10, 0), "Client", "22621", "Windows 10 Pro").as_deref(), Some("win11"));
        assert_eq!(windows((10, 0), "Server", "17763", "Windows Server 2019").as_deref(), Some("win2k19"));
        assert_eq!(windows((6, 1), "Client", "7601", "Windows 7").as_deref(), Some("win7"));
        assert_eq!(windows((7, 1), "Client", "7601", "").as_deref(), None);
    }
}
