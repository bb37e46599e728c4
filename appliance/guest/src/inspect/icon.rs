//! The picture that stands for an operating system, where distributions have put one.
//!
//! Only a PNG of a sensible size is returned: its header is checked, and nothing else of it is looked into.

use guestd_api::prelude::*;
use guestd_api::{Error, Result};

use super::{System, is_file};

/// The icon that any administrator may have chosen.
const FAVICON: &str = "/etc/favicon.png";
/// Smaller or larger ones are not pictures of this kind, in pixels.
const SIDES: std::ops::RangeInclusive<u32> = 16..=1024;

/// The icon of a system that is mounted, as PNG; empty if there is none. A favicon is asked for first, but never if
/// the quality matters.
///
/// # Errors
/// When the guest does not answer any more.
pub fn icon(guest: &dyn Actions, system: &System, favicon: bool, high_quality: bool) -> Result<Vec<u8>> {
    let favicon = (favicon && !high_quality).then_some((FAVICON, None));
    let own = of_distribution(system, high_quality);
    for (path, most) in favicon.into_iter().chain(own.iter().map(|&(path, most)| (path, Some(most)))) {
        match png(guest, path, most) {
            Ok(Some(bytes)) => return Ok(bytes),
            Ok(None) | Err(Error::Action { .. }) => {}
            Err(other) => return Err(other),
        }
    }
    Ok(Vec::new())
}

/// Where a distribution has it, and how large the file may be.
fn of_distribution(system: &System, high_quality: bool) -> &'static [(&'static str, i64)] {
    if !matches!(system.kind, "linux" | "hurd") {
        return &[];
    }
    match system.distro.as_deref().unwrap_or_default() {
        "fedora" => &[("/usr/share/icons/hicolor/96x96/apps/fedora-logo-icon.png", 4 * 96 * 96)],
        "rhel" | "redhat-based" | "centos" | "rocky" | "almalinux" | "scientificlinux" | "oraclelinux" => {
            match system.numbers().0 {
                ..7 => &[("/usr/share/pixmaps/redhat/shadowman-transparent.png", 100 << 10)],
                _ => &[("/usr/share/pixmaps/fedora-logo-sprite.png", 100 << 10)],
            }
        }
        "debian" => &[("/usr/share/pixmaps/debian-logo.png", 2 << 10)],
        "ubuntu" if !high_quality => &[
            ("/usr/share/icons/gnome/24x24/places/ubuntu-logo.png", 2 << 10),
            ("/usr/share/help/C/ubuntu-help/figures/ubuntu-logo.png", 2 << 10),
        ],
        "mageia" => &[("/usr/share/icons/mageia.png", 2 << 10)],
        "suse-based" | "opensuse" | "sles" => {
            &[("/usr/share/icons/hicolor/24x24/apps/distributor.png", 2 << 10)]
        }
        "voidlinux" => &[("/usr/share/void-artwork/void-logo.png", 20 << 10)],
        "altlinux" => &[("/usr/share/icons/hicolor/48x48/apps/altlinux.png", 20 << 10)],
        _ => &[],
    }
}

fn png(guest: &dyn Actions, path: &str, most: Option<i64>) -> Result<Option<Vec<u8>>> {
    if !is_file(guest, path)? {
        return Ok(None);
    }
    let Some((width, height)) = sides(&guest.pread(path, 24, 0)?) else { return Ok(None) };
    // A pixel has four bytes before it is packed.
    let most = most.unwrap_or_else(|| 4 * i64::from(width) * i64::from(height));
    if guest.filesize(path)? > most {
        return Ok(None);
    }
    guest.read_file(path).map(Some)
}

/// Width and height of a PNG that begins like this.
fn sides(head: &[u8]) -> Option<(u32, u32)> {
    let rest = head.strip_prefix(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR")?;
    let number = |at: usize| Some(u32::from_be_bytes(rest.get(at..at + 4)?.try_into().ok()?));
    let (width, height) = (number(0)?, number(4)?);
    (SIDES.contains(&width) && SIDES.contains(&height)).then_some((width, height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pictures_of_a_sensible_size_count() {
        let png = |width: u32, height: u32| {
            let head = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR";
            [&head[..], &width.to_be_bytes(), &height.to_be_bytes()].concat()
        };
        assert_eq!(sides(&png(32, 48)), Some((32, 48)));
        assert_eq!(
            (sides(&png(8, 48)), sides(&png(48, 2000)), sides(&png(48, 48)[..20])),
            (None, None, None)
        );
        assert_eq!(sides(b"GIF89a"), None);
    }
}
