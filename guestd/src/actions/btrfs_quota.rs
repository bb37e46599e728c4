//! Quotas of btrfs: how much the data of subvolumes may take.

use super::regular::{about, shown};
use crate::worker::{GuestPath, MountableOrPath, Worker};
use guestd_api::actions::btrfs_quota::Server;
use guestd_api::structs::Btrfsqgroup;
use guestd_api::{Failure, GuestString};
use rustix::mount::MountFlags;

/// `0/256    16384    4096` lines under two lines of headings.
fn quota_groups(text: &[u8]) -> Vec<Btrfsqgroup> {
    let text = String::from_utf8_lossy(text);
    let group = |line: &str| {
        let mut words = line.split_whitespace();
        let id = words.next().filter(|id| id.contains('/'))?;
        Some(Btrfsqgroup {
            btrfsqgroup_id: id.into(),
            btrfsqgroup_rfer: words.next()?.parse().ok()?,
            btrfsqgroup_excl: words.next()?.parse().ok()?,
        })
    };
    text.lines().filter_map(group).collect()
}

impl Worker {
    fn quota(&self, fs: &MountableOrPath, words: &[&str]) -> Result<(), Failure> {
        self.on_btrfs(fs, MountFlags::empty(), |place| {
            self.tool("btrfs")?.arg("quota").args(words).arg(place).run().map(|_| ())
        })
    }

    fn qgroup(&self, words: &[&str], texts: &[&GuestString], path: &GuestPath) -> Result<(), Failure> {
        let place = self.outside_plain(path)?;
        let program = self.tool("btrfs")?.arg("qgroup").args(words).arg("--");
        let program = program.args(texts.iter().map(|text| text.as_os_str())).arg(place);
        program.run().map(|_| ()).map_err(about(shown(path)))
    }
}

impl Server for Worker {
    fn btrfs_quota_enable(&self, fs: MountableOrPath, enable: bool) -> Result<(), Failure> {
        self.quota(&fs, if enable { &["enable"] } else { &["disable"] })
    }

    fn btrfs_quota_rescan(&self, fs: MountableOrPath) -> Result<(), Failure> {
        self.quota(&fs, &["rescan"])
    }

    fn btrfs_qgroup_limit(&self, subvolume: GuestPath, size: i64) -> Result<(), Failure> {
        if size < 0 {
            return Err(Failure::new("size is negative"));
        }
        self.qgroup(&["limit"], &[&size.to_string().into()], &subvolume)
    }

    fn btrfs_qgroup_create(&self, qgroupid: GuestString, subvolume: GuestPath) -> Result<(), Failure> {
        self.qgroup(&["create"], &[&qgroupid], &subvolume)
    }

    fn btrfs_qgroup_destroy(&self, qgroupid: GuestString, subvolume: GuestPath) -> Result<(), Failure> {
        self.qgroup(&["destroy"], &[&qgroupid], &subvolume)
    }

    fn btrfs_qgroup_show(&self, path: GuestPath) -> Result<Vec<Btrfsqgroup>, Failure> {
        let place = self.outside_directory(&path)?;
        let text = self.tool("btrfs")?.args(["qgroup", "show", "--raw"]).arg(place).run();
        text.map(|text| quota_groups(&text)).map_err(about(shown(&path)))
    }

    fn btrfs_qgroup_assign(
        &self,
        src: GuestString,
        dst: GuestString,
        path: GuestPath,
    ) -> Result<(), Failure> {
        self.qgroup(&["assign"], &[&src, &dst], &path)
    }

    fn btrfs_qgroup_remove(
        &self,
        src: GuestString,
        dst: GuestString,
        path: GuestPath,
    ) -> Result<(), Failure> {
        self.qgroup(&["remove"], &[&src, &dst], &path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_no_groups() {
        let text = b"qgroupid         rfer         excl \n--------         ----         ---- \n0/5             16384        4096 \n1/100 0 0 <0 member qgroups>\n";
        let groups = quota_groups(text);
        let shown: Vec<_> = groups
            .iter()
            .map(|g| (g.btrfsqgroup_id.to_string(), g.btrfsqgroup_rfer, g.btrfsqgroup_excl))
            .collect();
        assert_eq!(shown, [("0/5".to_owned(), 16384, 4096), ("1/100".to_owned(), 0, 0)]);
    }
}
