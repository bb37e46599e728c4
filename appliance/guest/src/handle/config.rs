//! What can be set about a guest before its launch.
//!
//! The values are those that were set, also where nothing here depends on them; the environment changes them
//! as it does for libguestfs.

use std::env;
use std::path::Path;

use appliance_engine::launch::Choice;
use guestd_api::Failure;

use crate::guest::Settings;

/// Least memory in MiB that can be asked for by name.
const MIN_MEMORY: i32 = 256;
const MAX_CPUS: i32 = 255;

/// The settings of a guest.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) memsize: i32,
    pub(crate) smp: i32,
    pub(crate) network: bool,
    pub(crate) autosync: bool,
    pub(crate) verbose: bool,
    pub(crate) trace: bool,
    pub(crate) path: Option<String>,
    pub(crate) append: Option<String>,
    pub(crate) hv: Option<String>,
    backend: String,
    /// What the program's own option asked for.
    chosen: Choice,
    pub(crate) backend_settings: Vec<String>,
    pub(crate) program: String,
    pub(crate) identifier: String,
    pub(crate) pgroup: bool,
    pub(crate) recovery_proc: bool,
    pub(crate) selinux: bool,
    pub(crate) direct: bool,
    tmpdir: Option<String>,
    cachedir: Option<String>,
    pub(crate) hypervisor_words: Vec<(String, Option<String>)>,
}

impl Config {
    pub(crate) fn new(settings: &Settings) -> Self {
        Config {
            memsize: settings.memory_mib.try_into().unwrap_or(i32::MAX),
            smp: settings.cpus.into(),
            network: false,
            autosync: true,
            verbose: settings.verbose,
            trace: false,
            path: None,
            append: None,
            hv: None,
            backend: "direct".to_owned(),
            chosen: settings.backend,
            backend_settings: Vec::new(),
            program: settings.program.clone(),
            identifier: String::new(),
            pgroup: false,
            recovery_proc: true,
            selinux: false,
            direct: false,
            tmpdir: None,
            cachedir: None,
            hypervisor_words: Vec::new(),
        }
    }

    pub(crate) fn set_memsize(&mut self, mebibytes: i32) -> Result<(), Failure> {
        if mebibytes < MIN_MEMORY {
            let text = format!("too small value for memsize (must be at least {MIN_MEMORY})");
            return Err(Failure::new(text));
        }
        self.memsize = mebibytes;
        Ok(())
    }

    pub(crate) fn set_smp(&mut self, cpus: i32) -> Result<(), Failure> {
        match cpus {
            1..=MAX_CPUS => self.smp = cpus,
            ..1 => return Err(Failure::new(format!("invalid smp parameter: {cpus}"))),
            _ => return Err(Failure::new(format!("unsupported number of smp vcpus: {cpus}"))),
        }
        Ok(())
    }

    pub(crate) fn set_backend(&mut self, name: &str) -> Result<(), Failure> {
        // "appliance" is what "direct" was called once.
        let name = if name == "appliance" { "direct" } else { name };
        let is_known = matches!(name, "direct" | "libvirt" | "unix")
            || name.starts_with("libvirt:")
            || name.parse::<Choice>().is_ok();
        if !is_known {
            return Err(Failure::new(format!("invalid backend: {name}")));
        }
        self.backend = name.to_owned();
        Ok(())
    }

    pub(crate) fn backend(&self) -> &str {
        &self.backend
    }

    /// What runs the appliance: the program's own option goes first.
    pub(crate) fn choice(&self) -> Choice {
        if self.chosen != Choice::Auto {
            return self.chosen;
        }
        // Settings that keep others away from a KVM that does not work are not needed: that is tried out.
        let forced = self.setting("force_kvm").is_some_and(|value| is_true(value) == Some(true));
        if forced { Choice::Kvm } else { self.backend.parse().unwrap_or_default() }
    }

    /// Words for the kernel's command line.
    pub(crate) fn kernel_words(&self) -> impl Iterator<Item = String> {
        self.append.iter().flat_map(|text| text.split_whitespace()).map(str::to_owned)
    }

    /// The value of a setting; a bare word counts as `1`.
    pub(crate) fn setting(&self, name: &str) -> Option<&str> {
        self.backend_settings.iter().find_map(|setting| match setting.split_once('=') {
            Some((word, value)) => (word == name).then_some(value),
            None => (setting == name).then_some("1"),
        })
    }

    /// Takes settings of that name back; returns how many there were.
    pub(crate) fn clear_setting(&mut self, name: &str) -> usize {
        let before = self.backend_settings.len();
        self.backend_settings.retain(|s| s.split_once('=').map_or(s.as_str(), |(word, _)| word) != name);
        before - self.backend_settings.len()
    }

    pub(crate) fn tmpdir(&self) -> String {
        directory(self.tmpdir.as_deref(), "/tmp")
    }

    pub(crate) fn cachedir(&self) -> String {
        directory(self.cachedir.as_deref(), "/var/tmp")
    }

    pub(crate) fn set_tmpdir(&mut self, path: Option<String>) -> Result<(), Failure> {
        self.tmpdir = path.map(|path| absolute("set_tmpdir", &path)).transpose()?;
        Ok(())
    }

    pub(crate) fn set_cachedir(&mut self, path: Option<String>) -> Result<(), Failure> {
        self.cachedir = path.map(|path| absolute("set_cachedir", &path)).transpose()?;
        Ok(())
    }

    /// Takes over what variables say. Empty ones say nothing.
    pub(crate) fn take_environment(
        &mut self,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<(), Failure> {
        let ours = variables.filter_map(|(name, value)| {
            let name = name.strip_prefix("LIBGUESTFS_")?.to_owned();
            Some((name, value)).filter(|(_, value)| !value.is_empty())
        });
        // In a fixed order, because a new name of a variable goes before its old one.
        let mut ours: Vec<_> = ours.collect();
        ours.sort_by_key(|(name, _)| !matches!(name.as_str(), "QEMU" | "ATTACH_METHOD"));
        for (name, value) in ours {
            let switch = || {
                is_true(&value)
                    .ok_or_else(|| Failure::new(format!("LIBGUESTFS_{name}={value}: non-boolean value")))
            };
            match name.as_str() {
                "TRACE" => self.trace = switch()?,
                "DEBUG" => self.verbose = switch()?,
                "TMPDIR" => self.set_tmpdir(Some(value))?,
                "CACHEDIR" => self.set_cachedir(Some(value))?,
                "PATH" => self.path = Some(value),
                "HV" | "QEMU" => self.hv = Some(value),
                "APPEND" => self.append = Some(value),
                "BACKEND" | "ATTACH_METHOD" => self.set_backend(&value)?,
                "BACKEND_SETTINGS" => {
                    self.backend_settings = value.split(':').map(str::to_owned).collect();
                }
                "MEMSIZE" => {
                    let number = value.parse();
                    let number =
                        number.map_err(|_| Failure::new("non-numeric value for LIBGUESTFS_MEMSIZE"))?;
                    self.set_memsize(number)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn is_true(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" | "t" | "yes" | "y" | "on" => Some(true),
        "0" | "false" | "f" | "no" | "n" | "off" => Some(false),
        _ => None,
    }
}

/// What was set, else what everybody uses.
fn directory(set: Option<&str>, fallback: &str) -> String {
    let everybody = || env::var("TMPDIR").ok().filter(|dir| !dir.is_empty());
    set.map(str::to_owned).or_else(everybody).unwrap_or_else(|| fallback.to_owned())
}

fn absolute(action: &str, path: &str) -> Result<String, Failure> {
    let found = Path::new(path).canonicalize().map_err(|error| {
        let text = format!("converting path to absolute path: {action}: {path}: realpath");
        Failure::io(text, &error)
    })?;
    Ok(found.to_string_lossy().into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> Result<Config, Failure> {
        let mut config = Config::new(&Settings::default());
        let pairs = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        config.take_environment(pairs).map(|()| config)
    }

    #[test]
    fn the_environment_sets_values() {
        let set = config(&[
            ("LIBGUESTFS_MEMSIZE", "700"),
            ("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg:x=2"),
            ("LIBGUESTFS_BACKEND", "direct"),
            ("LIBGUESTFS_HV", "/new"),
            ("LIBGUESTFS_QEMU", "/old"),
            ("LIBGUESTFS_TRACE", ""),
            ("OTHER", "x"),
        ]);
        let mut set = set.unwrap();
        assert_eq!((set.memsize, set.hv.as_deref(), set.trace), (700, Some("/new"), false));
        assert_eq!(
            (set.setting("force_tcg"), set.setting("x"), set.setting("y")),
            (Some("1"), Some("2"), None)
        );
        assert_eq!(set.choice(), Choice::Auto);
        assert_eq!((set.clear_setting("x"), set.clear_setting("x")), (1, 0));
        let complaint = |pairs: &[(&str, &str)]| config(pairs).unwrap_err().message.to_string();
        assert_eq!(complaint(&[("LIBGUESTFS_TRACE", "9")]), "LIBGUESTFS_TRACE=9: non-boolean value");
        assert_eq!(complaint(&[("LIBGUESTFS_MEMSIZE", "x")]), "non-numeric value for LIBGUESTFS_MEMSIZE");
        assert_eq!(complaint(&[("LIBGUESTFS_BACKEND", "x")]), "invalid backend: x");
    }

    #[test]
    fn numbers_have_limits() {
        let mut config = config(&[]).unwrap();
        assert!(config.set_memsize(255).is_err() && config.set_memsize(256).is_ok());
        assert!(config.set_smp(0).is_err() && config.set_smp(256).is_err() && config.set_smp(255).is_ok());
    }
}
