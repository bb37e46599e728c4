//! Reports of LVM as tables: a line for each volume, columns between tabs.
//!
//! The columns are asked for in the order of the struct's fields. A line that does not have them all, or a
//! number that is none, is an error with that line in it.

use guestd_api::structs::{LvmLv, LvmPv, LvmVg};
use guestd_api::{Failure, GuestString};

/// The columns of [`LvmPv`].
pub(super) const PV: &[&str] = &[
    "pv_name",
    "pv_uuid",
    "pv_fmt",
    "pv_size",
    "dev_size",
    "pv_free",
    "pv_used",
    "pv_attr",
    "pv_pe_count",
    "pv_pe_alloc_count",
    "pv_tags",
    "pe_start",
    "pv_mda_count",
    "pv_mda_free",
];

/// The columns of [`LvmVg`].
pub(super) const VG: &[&str] = &[
    "vg_name",
    "vg_uuid",
    "vg_fmt",
    "vg_attr",
    "vg_size",
    "vg_free",
    "vg_sysid",
    "vg_extent_size",
    "vg_extent_count",
    "vg_free_count",
    "max_lv",
    "max_pv",
    "pv_count",
    "lv_count",
    "snap_count",
    "vg_seqno",
    "vg_tags",
    "vg_mda_count",
    "vg_mda_free",
];

/// The columns of [`LvmLv`].
pub(super) const LV: &[&str] = &[
    "lv_name",
    "lv_uuid",
    "lv_attr",
    "lv_major",
    "lv_minor",
    "lv_kernel_major",
    "lv_kernel_minor",
    "lv_size",
    "seg_count",
    "origin",
    "snap_percent",
    "copy_percent",
    "move_pv",
    "lv_tags",
    "mirror_log",
    "modules",
];

/// What a report printed.
pub(super) struct Report(Vec<u8>);

impl Report {
    pub(super) fn new(text: Vec<u8>) -> Self {
        Report(text)
    }

    fn rows<T>(&self, parse: impl Fn(&mut Row<'_>) -> Option<T>) -> Result<Vec<T>, Failure> {
        let row = |line: &GuestString| {
            let mut row = Row(line.as_bytes().split(is_tab as fn(&u8) -> bool));
            let parsed = parse(&mut row).filter(|_| row.0.next().is_none());
            parsed
                .ok_or_else(|| Failure::new(format!("LVM reports in a way that is not understood: '{line}'")))
        };
        super::lines(&self.0)
            .iter()
            .filter(|line| !line.as_bytes().trim_ascii().is_empty())
            .map(row)
            .collect()
    }

    pub(super) fn physical_volumes(&self) -> Result<Vec<LvmPv>, Failure> {
        self.rows(|row| {
            Some(LvmPv {
                pv_name: row.text()?,
                pv_uuid: row.uuid()?,
                pv_fmt: row.text()?,
                pv_size: row.number()?,
                dev_size: row.number()?,
                pv_free: row.number()?,
                pv_used: row.number()?,
                pv_attr: row.text()?,
                pv_pe_count: row.number()?,
                pv_pe_alloc_count: row.number()?,
                pv_tags: row.text()?,
                pe_start: row.number()?,
                pv_mda_count: row.number()?,
                pv_mda_free: row.number()?,
            })
        })
    }

    pub(super) fn volume_groups(&self) -> Result<Vec<LvmVg>, Failure> {
        self.rows(|row| {
            Some(LvmVg {
                vg_name: row.text()?,
                vg_uuid: row.uuid()?,
                vg_fmt: row.text()?,
                vg_attr: row.text()?,
                vg_size: row.number()?,
                vg_free: row.number()?,
                vg_sysid: row.text()?,
                vg_extent_size: row.number()?,
                vg_extent_count: row.number()?,
                vg_free_count: row.number()?,
                max_lv: row.number()?,
                max_pv: row.number()?,
                pv_count: row.number()?,
                lv_count: row.number()?,
                snap_count: row.number()?,
                vg_seqno: row.number()?,
                vg_tags: row.text()?,
                vg_mda_count: row.number()?,
                vg_mda_free: row.number()?,
            })
        })
    }

    pub(super) fn logical_volumes(&self) -> Result<Vec<LvmLv>, Failure> {
        self.rows(|row| {
            Some(LvmLv {
                lv_name: row.text()?,
                lv_uuid: row.uuid()?,
                lv_attr: row.text()?,
                lv_major: row.number()?,
                lv_minor: row.number()?,
                lv_kernel_major: row.number()?,
                lv_kernel_minor: row.number()?,
                lv_size: row.number()?,
                seg_count: row.number()?,
                origin: row.text()?,
                snap_percent: row.percent()?,
                copy_percent: row.percent()?,
                move_pv: row.text()?,
                lv_tags: row.text()?,
                mirror_log: row.text()?,
                modules: row.text()?,
            })
        })
    }
}

fn is_tab(byte: &u8) -> bool {
    *byte == b'\t'
}

/// The columns of one line that are still to be read.
struct Row<'r>(std::slice::Split<'r, u8, fn(&u8) -> bool>);

impl Row<'_> {
    fn text(&mut self) -> Option<GuestString> {
        self.0.next().map(|column| column.trim_ascii().into())
    }

    /// Without its hyphens.
    fn uuid(&mut self) -> Option<GuestString> {
        let text = self.text()?;
        Some(text.as_bytes().iter().copied().filter(|byte| *byte != b'-').collect::<Vec<u8>>().into())
    }

    fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        self.text()?.to_str()?.parse().ok()
    }

    /// A percentage that is empty where it makes no sense.
    fn percent(&mut self) -> Option<Option<f32>> {
        match self.text()?.to_str()? {
            "" => Some(None),
            text => text.parse().ok().map(Some),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read_or_refused() {
        let line = b"  LV\tab-cd\t-wi-a-----\t-1\t-1\t253\t0\t41943040\t1\t\t\t12.50\t\t\t\t\n";
        let volumes = Report::new(line.to_vec()).logical_volumes().unwrap();
        let volume = volumes.first().unwrap();
        assert_eq!((volume.lv_name.clone(), volume.lv_uuid.clone()), ("LV".into(), "abcd".into()));
        assert_eq!((volume.lv_major, volume.snap_percent, volume.copy_percent), (-1, None, Some(12.5)));
        for bad in [&b"  LV\tx\n"[..], &[&line[..line.len() - 1], b"\tmore\n"].concat(), b"\xff\n"] {
            assert!(Report::new(bad.to_vec()).logical_volumes().is_err());
        }
    }
}
