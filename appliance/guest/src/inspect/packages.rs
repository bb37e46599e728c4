//! How distributions package software.

/// The format of a distribution's packages.
pub(super) fn format(distro: &str) -> Option<&'static str> {
    Some(match distro {
        "fedora" | "meego" | "redhat-based" | "centos" | "rhel" | "rocky" | "almalinux" | "mageia"
        | "mandriva" | "suse-based" | "opensuse" | "sles" | "scientificlinux" | "oraclelinux"
        | "altlinux" | "pldlinux" | "openmandriva" | "kylin" | "neokylin" | "openeuler" => "rpm",
        "debian" | "ubuntu" | "linuxmint" | "kalilinux" => "deb",
        "archlinux" => "pacman",
        "gentoo" => "ebuild",
        "pardus" => "pisi",
        "netbsd" | "openbsd" => "pkgsrc",
        "alpinelinux" => "apk",
        "voidlinux" => "xbps",
        _ => return None,
    })
}

/// The program that manages them.
pub(super) fn management(distro: &str, major: i32) -> Option<&'static str> {
    Some(match distro {
        "fedora" if major >= 22 => "dnf",
        "fedora" | "meego" | "kylin" | "neokylin" => "yum",
        "redhat-based" | "centos" | "rhel" | "scientificlinux" | "oraclelinux" | "rocky" | "almalinux"
        | "openeuler" => match major {
            8.. => "dnf",
            5..8 => "yum",
            // Not known which: the old one would be wrong more often.
            0 => "yum",
            _ => "up2date",
        },
        "debian" | "ubuntu" | "linuxmint" | "kalilinux" | "altlinux" => "apt",
        "archlinux" => "pacman",
        "gentoo" => "portage",
        "pardus" => "pisi",
        "mandriva" | "mageia" => "urpmi",
        "openmandriva" => "dnf",
        "suse-based" | "opensuse" | "sles" => "zypper",
        "alpinelinux" => "apk",
        "voidlinux" => "xbps",
        "netbsd" | "openbsd" => "pkgsrc",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_share_their_tools() {
        assert_eq!((format("rocky"), management("rocky", 9)), (Some("rpm"), Some("dnf")));
        assert_eq!((management("fedora", 21), management("fedora", 22)), (Some("yum"), Some("dnf")));
        assert_eq!((management("rhel", 7), management("rhel", 4)), (Some("yum"), Some("up2date")));
        assert_eq!((format("cirros"), management("cirros", 0)), (None, None));
    }
}
