//! What is particular to XFS.

use super::options::Options;
use super::regular::{about, shown};
use crate::disks::Device;
use crate::worker::{DevOrPath, GuestPath, Worker};
use guestd_api::actions::xfs::{Server, XfsAdminOptions, XfsGrowfsOptions, XfsRepairOptions};
use guestd_api::structs::Xfsinfo;
use guestd_api::{Failure, GuestString};

/// What xfs_info prints: sections (`data`, `log`, ...) with fields. A section may start with a text of its own, such
/// as the device; that has an empty name here.
#[derive(Debug, PartialEq)]
struct Geometry(Vec<(String, String, String)>);

impl Geometry {
    fn parse(text: &str) -> Self {
        let mut fields = Vec::new();
        let mut section = String::new();
        for line in text.lines() {
            let Some((head, rest)) = line.split_once('=') else { continue };
            let new = !head.trim().is_empty();
            if new {
                section = head.trim().to_owned();
            }
            let mut rest = rest;
            if new && !rest.starts_with(' ') {
                // Columns are at least two blanks apart, or the text fills its own.
                let words: Vec<&str> =
                    rest.split_whitespace().take_while(|word| !word.contains('=')).collect();
                fields.push((section.clone(), String::new(), words.join(" ")));
                rest = words.last().and_then(|word| rest.split_once(word)).map_or(rest, |(_, after)| after);
            }
            fields.extend(pairs(rest).into_iter().map(|(name, value)| (section.clone(), name, value)));
        }
        Geometry(fields)
    }

    fn text(&self, section: &str, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(s, n, _)| s == section && n == name);
        found.map(|(_, _, value)| value.as_str())
    }

    /// A number without its unit.
    fn number<T: std::str::FromStr>(&self, section: &str, name: &str) -> Option<T> {
        self.text(section, name)?.split(' ').next()?.parse().ok()
    }
}

/// `agcount=4, agsize=6392 blks` as names and values; the unit belongs to the value.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for word in text.split_whitespace() {
        match word.split_once('=') {
            Some((name, value)) => {
                pairs.push((name.to_owned(), value.trim_end_matches(',').to_owned()));
            }
            None => {
                if let Some((_, value)) = pairs.last_mut() {
                    value.push(' ');
                    value.push_str(word.trim_end_matches(','));
                }
            }
        }
    }
    pairs
}

impl Worker {
    fn xfs_geometry(&self, place: &DevOrPath) -> Result<Geometry, Failure> {
        let program = self.tool("xfs_info")?;
        let program = match place {
            DevOrPath::Device(device) => program.arg(&device.node),
            DevOrPath::Path(path) => program.arg(self.outside_plain(path)?),
        };
        let text = program.run()?;
        Ok(Geometry::parse(&String::from_utf8_lossy(&text)))
    }

    /// The device or place as the user knows it.
    fn xfs_shown(&self, text: &str) -> GuestString {
        let text =
            crate::run::without_sysroot(text.as_bytes(), &self.agent.tools.sysroot_text(&self.agent.sysroot));
        self.agent.disks.shown(&text.into())
    }

    /// An XFS cannot shrink: its size in bytes.
    pub(super) fn xfs_size(&self, device: &Device) -> Result<i64, Failure> {
        let geometry = self.xfs_geometry(&DevOrPath::Device(device.clone()))?;
        let blocks = geometry.number::<i64>("data", "blocks");
        let bytes = blocks.zip(geometry.number("data", "bsize")).and_then(|(n, size)| n.checked_mul(size));
        bytes.ok_or_else(|| Failure::new(format!("{}: xfs_info does not tell the size", device.shown)))
    }

    /// A device named in an option.
    fn option_device(
        &self,
        name: &'static str,
        given: Option<GuestString>,
    ) -> Result<Option<Device>, Failure> {
        given.map(|text| guestd_api::Worker::device(self, name, text)).transpose()
    }
}

impl Server for Worker {
    fn xfs_admin(&self, device: Device, opts: XfsAdminOptions) -> Result<(), Failure> {
        let mut words = Options::default();
        words.switch(opts.extunwritten, "-e");
        words.switch(opts.imgfile, "-f");
        words.switch(opts.v2log, "-j");
        words.switch(opts.projid32bit, "-p");
        words.either(opts.lazycounter, "-c", "1", "0");
        match &opts.label {
            // The program's way to say that there is to be none.
            Some(label) if label.is_empty() => words.add(["-L", "--"]),
            label => words.text(label.as_ref(), "-L"),
        }
        words.text(opts.uuid.as_ref(), "-U");
        self.tool("xfs_admin")?.args(words).arg(&device.node).run().map(|_| ()).map_err(about(&device.shown))
    }

    fn xfs_growfs(&self, path: GuestPath, opts: XfsGrowfsOptions) -> Result<(), Failure> {
        let mut words = Options::default();
        words.switch(opts.datasec, "-d");
        words.switch(opts.logsec, "-l");
        words.switch(opts.rtsec, "-r");
        words.number("datasize", opts.datasize, "-D", "")?;
        words.number("logsize", opts.logsize, "-L", "")?;
        words.number("rtsize", opts.rtsize, "-R", "")?;
        words.number("rtextsize", opts.rtextsize, "-e", "")?;
        words.number("maxpct", opts.maxpct.map(i64::from), "-m", "")?;
        let place = self.outside_directory(&path)?;
        self.tool("xfs_growfs")?.args(words).arg(place).run().map(|_| ()).map_err(about(shown(&path)))
    }

    fn xfs_info(&self, pathordevice: DevOrPath) -> Result<Xfsinfo, Failure> {
        let geometry = self.xfs_geometry(&pathordevice)?;
        // What is not told has all bits set.
        let number = |section: &str, name: &str| geometry.number(section, name).unwrap_or(u32::MAX);
        let large = |section: &str, name: &str| geometry.number(section, name).unwrap_or(u64::MAX);
        let text = |section: &str| GuestString::from(geometry.text(section, "").unwrap_or_default());
        let version =
            geometry.text("naming", "").and_then(|text| text.strip_prefix("version ")?.parse().ok());
        Ok(Xfsinfo {
            xfs_mntpoint: self.xfs_shown(geometry.text("meta-data", "").unwrap_or_default()),
            xfs_inodesize: number("meta-data", "isize"),
            xfs_agcount: number("meta-data", "agcount"),
            xfs_agsize: number("meta-data", "agsize"),
            xfs_sectsize: number("meta-data", "sectsz"),
            xfs_attr: number("meta-data", "attr"),
            xfs_blocksize: number("data", "bsize"),
            xfs_datablocks: large("data", "blocks"),
            xfs_imaxpct: number("data", "imaxpct"),
            xfs_sunit: number("data", "sunit"),
            xfs_swidth: number("data", "swidth"),
            xfs_dirversion: version.unwrap_or(u32::MAX),
            xfs_dirblocksize: number("naming", "bsize"),
            xfs_cimode: number("naming", "ascii-ci"),
            xfs_logname: text("log"),
            xfs_logblocksize: number("log", "bsize"),
            xfs_logblocks: number("log", "blocks"),
            xfs_logversion: number("log", "version"),
            xfs_logsectsize: number("log", "sectsz"),
            xfs_logsunit: number("log", "sunit"),
            xfs_lazycount: number("log", "lazy-count"),
            xfs_rtname: text("realtime"),
            xfs_rtextsize: number("realtime", "extsz"),
            xfs_rtblocks: large("realtime", "blocks"),
            xfs_rtextents: large("realtime", "rtextents"),
        })
    }

    fn xfs_info2(&self, pathordevice: DevOrPath) -> Result<Vec<(GuestString, GuestString)>, Failure> {
        let geometry = self.xfs_geometry(&pathordevice)?;
        let pair = |(section, name, value): (String, String, String)| {
            if name.is_empty() {
                (section.into(), self.xfs_shown(&value))
            } else {
                (format!("{section}.{name}").into(), value.into())
            }
        };
        Ok(geometry.0.into_iter().map(pair).collect())
    }

    fn xfs_repair(&self, device: DevOrPath, opts: XfsRepairOptions) -> Result<i32, Failure> {
        let mut words = Options::default();
        words.switch(opts.forcelogzero, "-L");
        words.switch(opts.nomodify, "-n");
        words.switch(opts.noprefetch, "-P");
        if opts.forcegeometry == Some(true) {
            words.add(["-o", "force_geometry"]);
        }
        words.number("maxmem", opts.maxmem, "-m", "")?;
        words.number("ihashsize", opts.ihashsize, "-o", "ihash=")?;
        words.number("bhashsize", opts.bhashsize, "-o", "bhash=")?;
        words.number("agstride", opts.agstride, "-o", "ag_stride=")?;
        for (option, name, given) in [("-l", "logdev", opts.logdev), ("-r", "rtdev", opts.rtdev)] {
            if let Some(other) = self.option_device(name, given)? {
                words.add([option.into(), other.node.into_os_string()]);
            }
        }
        let program = self.tool("xfs_repair")?.args(words);
        let (program, subject) = match &device {
            DevOrPath::Device(device) => (program.arg(&device.node), device.shown.clone()),
            DevOrPath::Path(path) => (program.arg("-f").arg(self.outside_regular(path)?), shown(path)),
        };
        let done = program.finish()?;
        done.status.code().ok_or_else(|| about(subject)(done.failure()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
meta-data=/dev/sda1              isize=512    agcount=4, agsize=4096 blks
         =                       sectsz=512   attr=2, projid32bit=1
         =                       reflink=1    bigtime=1 inobtcount=1 nrext64=0
data     =                       bsize=4096   blocks=16384, imaxpct=25
         =                       sunit=0      swidth=0 blks
naming   =version 2              bsize=4096   ascii-ci=0, ftype=1
log      =internal log           bsize=4096   blocks=1368, version=2
         =                       sectsz=512   sunit=0 blks, lazy-count=1
realtime =none                   extsz=4096   blocks=0, rtextents=0
";

    #[test]
    fn geometry_is_found_by_section_and_name() {
        let geometry = Geometry::parse(TEXT);
        assert_eq!(geometry.text("meta-data", ""), Some("/dev/sda1"));
        assert_eq!(geometry.text("meta-data", "agsize"), Some("4096 blks"));
        assert_eq!(geometry.text("meta-data", "attr"), Some("2"));
        assert_eq!(geometry.number::<u32>("log", "blocks"), Some(1368));
        assert_eq!(geometry.text("log", ""), Some("internal log"));
        assert_eq!(geometry.text("naming", ""), Some("version 2"));
        assert_eq!(geometry.number::<u32>("log", "sunit"), Some(0));
        assert_eq!(geometry.text("data", ""), None);
        assert_eq!(geometry.text("realtime", ""), Some("none"));
    }
}
