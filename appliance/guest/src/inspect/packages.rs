//! How distributions package software.

/// The format of a distribution's packages.
pub(super) fn format(distro: &str) -> Option<&'static str> {
    Some(match distro {
        "fedora" | "meego" | "redhat-based" | "centos" | "rhel" | "rocky" | "almalinux" | "circle"
        | "mageia" | "mandriva" | "suse-based" | "opensuse" | "sles" | "scientificlinux" | "oraclelinux"
        | "altlinux" | "openmandriva" | "neokylin" | "openeuler" => "rpm",
        "debian" | "ubuntu" | "linuxmint" | "kalilinux" | "kylin" => "deb",
        "archlinux" => "pacman",
        "gentoo" => "ebuild",
        "pardus" => "pisi",
        "alpinelinux" => "apk",
        "voidlinux" => "xbps",
        _ => return None,
    })
}

/// The program that manages them.
pub(super) fn management(distro: &str, major: i32, has_dnf: bool) -> Option<&'static str> {
    Some(match distro {
        "fedora" if major >= 22 && has_dnf => "dnf",
        "fedora" if major >= 1 => "yum",
        "meego" => "yum",
        "neokylin" | "openmandriva" | "openeuler" => "dnf",
        "redhat-based" | "centos" | "rhel" | "scientificlinux" | "oraclelinux" | "rocky" | "almalinux"
        | "circle" => match major {
            8.. => "dnf",
            5..8 => "yum",
            2..5 => "up2date",
            _ => return None,
        },
        "debian" | "ubuntu" | "linuxmint" | "kalilinux" | "altlinux" | "kylin" => "apt",
        "archlinux" => "pacman",
        "gentoo" => "portage",
        "pardus" => "pisi",
        "mandriva" | "mageia" => "urpmi",
        "suse-based" | "opensuse" | "sles" => "zypper",
        "alpinelinux" => "apk",
        "voidlinux" => "xbps",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_share_their_tools() {
        let of = |distro, major| management(distro, major, true);
        assert_eq!((format("rocky"), of("rocky", 9)), (Some("rpm"), Some("dnf")));
        assert_eq!((of("fedora", 21), of("fedora", 22)), (Some("yum"), Some("dnf")));
        assert_eq!((management("fedora", 22, false), of("fedora", 0)), (Some("yum"), None));
        assert_eq!((of("rhel", 7), of("rhel", 4), of("rhel", 0)), (Some("yum"), Some("up2date"), None));
        assert_eq!((format("cirros"), of("cirros", 0)), (None, None));
    }
}
