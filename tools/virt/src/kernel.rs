//! The kernels of a guest: which is the newest, and which initial RAM disk belongs to it.

use std::cmp::Ordering;

use guestd_api::prelude::*;
use guestd_api::{Error, Result};

const KERNELS: [&str; 3] = ["vmlinuz-", "vmlinux-", "kernel-"];
const RAM_DISKS: [(&str, &str); 4] =
    [("initrd.img-", ""), ("initramfs-", ".img"), ("initrd-", ""), ("initrd-", ".img")];

/// A kernel and its initial RAM disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The path of the kernel.
    pub kernel: String,
    /// The path of the RAM disk.
    pub ram_disk: Option<String>,
}

/// The kernel with the highest version in `/boot` of a guest that is mounted.
///
/// # Errors
/// When the guest does not answer.
pub fn newest(guest: &dyn Actions) -> Result<Option<Kernel>> {
    let names = match guest.ls("/boot") {
        Ok(names) => names,
        Err(Error::Action { .. }) => return Ok(None),
        Err(other) => return Err(other),
    };
    let names: Vec<String> = names.iter().filter_map(|name| name.to_str().map(str::to_owned)).collect();
    Ok(newest_of(&names))
}

fn newest_of(names: &[String]) -> Option<Kernel> {
    let version = |name: &String| {
        let version = KERNELS.iter().find_map(|begin| name.strip_prefix(begin))?;
        (!version.contains("rescue")).then(|| (version.to_owned(), name.clone()))
    };
    let (version, kernel) =
        names.iter().filter_map(version).max_by(|(one, _), (other, _)| compare_versions(one, other))?;
    let mut its_names = RAM_DISKS.iter().map(|(begin, end)| format!("{begin}{version}{end}"));
    let ram_disk = its_names.find(|name| names.contains(name));
    let path = |name: String| format!("/boot/{name}");
    Some(Kernel { kernel: path(kernel), ram_disk: ram_disk.map(path) })
}

/// The name of a copy: without its directory and, if so wished, without its version.
pub fn local_name(path: &str, unversioned: bool) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let short = name.split('-').next().unwrap_or(name);
    if unversioned { short } else { name }.to_owned()
}

/// Numbers by their value, letters by the alphabet; a tilde sorts before everything, even the end.
fn compare_versions(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one, other);
    loop {
        let (letters, after) = one.split_at(one.find(|c: char| c.is_ascii_digit()).unwrap_or(one.len()));
        let (theirs, rest) = other.split_at(other.find(|c: char| c.is_ascii_digit()).unwrap_or(other.len()));
        let order = compare_letters(letters, theirs);
        if order != Ordering::Equal {
            return order;
        }
        let number = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let ((mine, after), (theirs, rest)) = (after.split_at(number(after)), rest.split_at(number(rest)));
        let (mine, theirs) = (mine.trim_start_matches('0'), theirs.trim_start_matches('0'));
        let order = mine.len().cmp(&theirs.len()).then_with(|| mine.cmp(theirs));
        if order != Ordering::Equal || (after.is_empty() && rest.is_empty()) {
            return order;
        }
        (one, other) = (after, rest);
    }
}

fn compare_letters(one: &str, other: &str) -> Ordering {
    let weight = |c: Option<char>| match c {
        Some('~') => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i64::from(u32::from(letter)),
        Some(other) => i64::from(u32::from(other)) + 256,
    };
    let (mut one, mut other) = (one.chars(), other.chars());
    loop {
        let (mine, theirs) = (one.next(), other.next());
        let order = weight(mine).cmp(&weight(theirs));
        if order != Ordering::Equal || mine.is_none() {
            return order;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_the_one_with_the_highest_number() {
        let names = [
            "vmlinuz-6.12.9-amd64",
            "vmlinuz-6.12.10-amd64",
            "vmlinuz-0-rescue-abc",
            "vmlinuz-5.10.0-1-amd64",
            "initrd.img-6.12.10-amd64",
            "initrd.img-6.12.9-amd64",
            "vmlinuz",
        ];
        let found = newest_of(&names.map(str::to_owned)).unwrap();
        assert_eq!(found.kernel, "/boot/vmlinuz-6.12.10-amd64");
        assert_eq!(found.ram_disk.as_deref(), Some("/boot/initrd.img-6.12.10-amd64"));
        assert_eq!(newest_of(&["vmlinuz".to_owned()]), None);
        let fedora = ["vmlinuz-6.1.2-3.fc40.x86_64", "initramfs-6.1.2-3.fc40.x86_64.img"].map(str::to_owned);
        assert!(newest_of(&fedora).unwrap().ram_disk.is_some());
    }

    #[test]
    fn versions_are_ordered() {
        let sorted = ["5.10.0-1", "6.1~rc1", "6.1", "6.1-2", "6.1.1", "6.02.0", "6.12.9", "6.12.10"];
        for pair in sorted.windows(2) {
            assert_eq!(compare_versions(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare_versions(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(compare_versions("6.1", "6.1"), Ordering::Equal);
    }

    #[test]
    fn copies_have_the_names_that_were_asked_for() {
        assert_eq!(local_name("/boot/vmlinuz-6.1-2", false), "vmlinuz-6.1-2");
        assert_eq!(local_name("/boot/initrd.img-6.1-2", true), "initrd.img");
    }
}
