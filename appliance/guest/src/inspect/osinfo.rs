//! The names that libosinfo has for operating systems, as far as they follow a rule.

use super::System;

/// A guess; nothing if there is no rule.
pub(super) fn guess(system: &System) -> Option<String> {
    let (major, minor) = system.numbers;
    let distro = system.distro.as_deref()?;
    match (system.kind, distro) {
        ("windows", _) => return windows(system),
        (_, "archlinux" | "gentoo" | "voidlinux" | "altlinux") => return Some(distro.to_owned()),
        (_, "centos") => {
            return Some(match major {
                8.. => format!("centos{major}"),
                7 => "centos7.0".to_owned(),
                _ => format!("centos{major}.{minor}"),
            });
        }
        (_, "rocky" | "almalinux" | "fedora" | "mageia") => return Some(format!("{distro}{major}")),
        (_, "debian") if major >= 4 => return Some(format!("debian{major}")),
        (_, "sles") if minor == 0 => return Some(format!("sles{major}")),
        (_, "sles") => return Some(format!("sles{major}sp{minor}")),
        (_, "ubuntu") => return Some(format!("ubuntu{major}.{minor:02}")),
        _ => {}
    }
    (major > 0 || minor > 0).then(|| format!("{distro}{major}.{minor}"))
}

fn windows(system: &System) -> Option<String> {
    let name = system.product_name.as_deref().unwrap_or_default();
    let server = system.variant.as_deref() == Some("Server") || name.contains("Server");
    let build = system.build_id.as_deref().and_then(|build| build.parse().ok()).unwrap_or(0);
    let guess = match (system.numbers, server) {
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
        ((10, _), false) if build >= 22000 => "win11",
        ((10, _), false) => "win10",
        ((10, _), true) if build >= 26100 => "win2k25",
        ((10, _), true) if build >= 20348 => "win2k22",
        ((10, _), true) if build >= 17763 => "win2k19",
        ((10, _), true) => "win2k16",
        _ => return None,
    };
    Some(guess.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_rules() {
        let guess = |distro: &str, numbers| {
            let distro = Some(distro.to_owned());
            super::guess(&System { kind: "linux", distro, numbers, ..System::default() })
        };
        assert_eq!(guess("ubuntu", (22, 4)).as_deref(), Some("ubuntu22.04"));
        assert_eq!(guess("debian", (13, 2)).as_deref(), Some("debian13"));
        assert_eq!(guess("rhel", (8, 4)).as_deref(), Some("rhel8.4"));
        assert_eq!(guess("cirros", (0, 0)), None);
        let windows = |numbers, variant: &str, build: &str| {
            super::guess(&System {
                kind: "windows",
                distro: Some("windows".to_owned()),
                variant: Some(variant.to_owned()),
                build_id: Some(build.to_owned()),
                numbers,
                ..System::default()
            })
        };
        assert_eq!(windows((10, 0), "Client", "22621").as_deref(), Some("win11"));
        assert_eq!(windows((10, 0), "Server", "17763").as_deref(), Some("win2k19"));
    }
}
