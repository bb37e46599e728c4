//! The options of a mount, as `-o` gives them.

/// How something is mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// Nothing can be written.
    pub read_only: bool,
    /// Other users may look, as far as permissions allow.
    pub allow_other: bool,
    /// Root may, besides the user.
    pub allow_root: bool,
    /// What the kernel has read stays valid when a file is opened again.
    pub kernel_cache: bool,
    /// Programs may run with the rights of their owner.
    pub suid: bool,
    /// Device nodes lead to the devices of this host.
    pub dev: bool,
    /// No program may run.
    pub noexec: bool,
    /// What the list of mounts shows as the source.
    pub fsname: Option<String>,
    /// What the list of mounts shows after `fuse.`.
    pub subtype: Option<String>,
    /// Everything belongs to this user.
    pub uid: Option<u32>,
    /// Everything belongs to this group.
    pub gid: Option<u32>,
    /// Permissions that are not shown.
    pub umask: u32,
    /// Seconds for which the kernel remembers what it was told; for good if not said.
    pub seconds: Option<u64>,
}

/// What makes no difference here: it is always so, or it has no meaning for a mount that keeps nothing secret from
/// the kernel.
const IGNORED: [&str; 33] = [
    "default_permissions",
    "clone_fd",
    "no_rofd_flush",
    "debug",
    "auto_cache",
    "noauto_cache",
    "use_ino",
    "readdir_ino",
    "hard_remove",
    "large_read",
    "big_writes",
    "nonempty",
    "async_read",
    "sync_read",
    "atomic_o_trunc",
    "splice_read",
    "splice_write",
    "splice_move",
    "no_splice_read",
    "no_splice_write",
    "no_splice_move",
    "no_remote_lock",
    "no_remote_flock",
    "no_remote_posix_lock",
    "intr",
    "nopath",
    "noforget",
    "nosuid",
    "nodev",
    "exec",
    "async",
    "auto",
    "noauto",
];
/// The same, with a value.
const IGNORED_VALUES: [&str; 10] = [
    "max_threads",
    "max_idle_threads",
    "max_read",
    "max_write",
    "max_readahead",
    "max_background",
    "congestion_threshold",
    "intr_signal",
    "remember",
    "ac_attr_timeout",
];

impl MountOptions {
    /// Takes over one or more options, with commas between them.
    ///
    /// # Errors
    /// Text that says which option is not understood.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        text.split(',').filter(|option| !option.is_empty()).try_for_each(|option| self.add_one(option))
    }

    fn add_one(&mut self, option: &str) -> Result<(), String> {
        let (name, value) =
            option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
        let bad = || format!("The mount option '{option}' makes no sense");
        let decimal = |text: &str| text.parse::<u32>().map_err(|_| bad());
        match (name, value) {
            ("ro", None) => self.read_only = true,
            ("rw", None) => self.read_only = false,
            ("kernel_cache", None) => self.kernel_cache = true,
            ("allow_other", None) => self.allow_other = true,
            ("allow_root", None) => self.allow_root = true,
            ("suid", None) => self.suid = true,
            ("dev", None) => self.dev = true,
            ("noexec", None) => self.noexec = true,
            ("fsname", Some(name)) => self.fsname = Some(name.to_owned()),
            ("subtype", Some(name)) => self.subtype = Some(name.to_owned()),
            ("uid", Some(number)) => self.uid = Some(decimal(number)?),
            ("gid", Some(number)) => self.gid = Some(decimal(number)?),
            ("umask", Some(mask)) => self.umask = u32::from_str_radix(mask, 8).map_err(|_| bad())? & 0o777,
            // Names and attributes are one: nobody can tell which of the two was asked for again.
            ("attr_timeout" | "entry_timeout" | "negative_timeout", Some(seconds)) => {
                let seconds: f64 = seconds.parse().map_err(|_| bad())?;
                if !(0.0..=1e9).contains(&seconds) {
                    return Err(bad());
                }
                // Whole seconds; the range was checked.
                let seconds = seconds as u64;
                self.seconds = Some(self.seconds.map_or(seconds, |before| before.max(seconds)));
            }
            (name, None) if IGNORED.contains(&name) => {}
            (name, Some(_)) if IGNORED_VALUES.contains(&name) => {}
            _ => return Err(format!("There is no mount option '{option}'")),
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_over_one_by_one() {
        let mut options = MountOptions::default();
        options.add("ro,allow_other,uid=1000,umask=027,kernel_cache,max_read=4096").unwrap();
        options.add("attr_timeout=1.5,entry_timeout=0").unwrap();
        let expected = MountOptions {
            read_only: true,
            allow_other: true,
            uid: Some(1000),
            umask: 0o027,
            kernel_cache: true,
            seconds: Some(1),
            ..MountOptions::default()
        };
        assert_eq!(options, expected);
        for wrong in ["bogus", "uid=x", "umask=9", "attr_timeout=-1", "attr_timeout=nan", "ro=1"] {
            assert!(options.add(wrong).is_err(), "{wrong}");
        }
        assert_eq!(options, expected);
    }
}
