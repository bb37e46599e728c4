//! Encrypted devices, by cryptsetup. Keys reach it in files that lie in memory and are gone with the action.

use crate::disks::Device;
use crate::run::Program;
use crate::tools::Scratch;
use crate::worker::Worker;
use guestd_api::actions::luks::{CryptsetupOpenOptions, Server};
use guestd_api::{Failure, GuestString};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where device-mapper's names lie.
const MAPPER: &str = "/dev/mapper/";

/// Keys of an action, as files.
struct Keys(Scratch);

impl Keys {
    fn add(&self, name: &str, key: &GuestString) -> Result<PathBuf, Failure> {
        let path = self.0.outer(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        file.and_then(|mut file| file.write_all(key.as_bytes())).map_err(|e| Failure::io("key", &e))?;
        Ok(self.0.inner(name))
    }
}

impl Worker {
    fn cryptsetup(&self) -> Result<Program<'_>, Failure> {
        // The ciphers themselves are asked for by the kernel, where it can; these are what every LUKS needs.
        for module in ["dm_mod", "dm_crypt", "xts", "ecb", "cbc", "essiv", "algif_skcipher", "aesni_intel"] {
            // Built in, or of another processor.
            let _ = crate::modules::modprobe(&self.agent, module);
        }
        Ok(self.tool("cryptsetup")?.env("DM_DISABLE_UDEV", "1"))
    }

    fn keys(&self) -> Result<Keys, Failure> {
        self.scratch("keys").map(Keys)
    }

    fn format(
        &self,
        device: &Device,
        key: &GuestString,
        keyslot: i32,
        cipher: Option<&GuestString>,
    ) -> Result<(), Failure> {
        let keys = self.keys()?;
        let file = keys.add("key", key)?;
        let mut program = self.cryptsetup()?.arg("-q");
        if let Some(cipher) = cipher {
            program = program.arg("--cipher").arg(cipher.as_os_str());
        }
        program = program.args(["--key-slot", &keyslot.to_string(), "luksFormat"]);
        program.arg(&device.node).arg(file).run().map(|_| ())
    }

    fn open_mapped(
        &self,
        device: &Device,
        key: &GuestString,
        mapname: &GuestString,
        opts: &CryptsetupOpenOptions,
    ) -> Result<(), Failure> {
        let node = mapped(mapname)?;
        if node.symlink_metadata().is_ok() {
            return Err(
                Failure::new(format!("{MAPPER}{mapname}: device already exists")).with_errno(libc::EEXIST)
            );
        }
        let kind = match &opts.crypttype {
            Some(kind) => kind.clone(),
            None => match self.blkid(device, "TYPE")?.to_str() {
                Some("crypto_LUKS") => "luks".into(),
                Some("BitLocker") => "bitlk".into(),
                kind => {
                    let kind = kind.unwrap_or_default();
                    return Err(Failure::new(format!("{kind}: unknown encrypted device type")));
                }
            },
        };
        let keys = self.keys()?;
        let mut program = self.cryptsetup()?.arg("-d").arg(keys.add("key", key)?);
        if opts.readonly.unwrap_or(false) {
            program = program.arg("--readonly");
        }
        if let Some(cipher) = &opts.cipher {
            program = program.arg("--cipher").arg(cipher.as_os_str());
        }
        program = program.arg("--type").arg(kind.as_os_str()).arg("open");
        program.arg(&device.node).arg(mapname.as_os_str()).finish()?.success_of("cryptsetup")
    }
}

/// The node of a mapped device; refuses names that are none.
fn mapped(name: &GuestString) -> Result<PathBuf, Failure> {
    let plain = !name.is_empty()
        && !name.as_bytes().starts_with(b"-")
        && !name.as_bytes().iter().any(|byte| matches!(byte, 0 | b'/'))
        && !matches!(name.to_str(), Some("." | ".." | "control"));
    if plain {
        Ok(Path::new(MAPPER).join(name.as_os_str()))
    } else {
        Err(Failure::new(format!("{name}: not a name for a mapped device")).with_errno(libc::EINVAL))
    }
}

impl Server for Worker {
    fn luks_format(&self, device: Device, key: GuestString, keyslot: i32) -> Result<(), Failure> {
        self.format(&device, &key, keyslot, None)
    }

    fn luks_format_cipher(
        &self,
        device: Device,
        key: GuestString,
        keyslot: i32,
        cipher: GuestString,
    ) -> Result<(), Failure> {
        self.format(&device, &key, keyslot, Some(&cipher))
    }

    fn cryptsetup_open(
        &self,
        device: Device,
        key: GuestString,
        mapname: GuestString,
        opts: CryptsetupOpenOptions,
    ) -> Result<(), Failure> {
        self.open_mapped(&device, &key, &mapname, &opts)
    }

    fn cryptsetup_close(&self, device: Device) -> Result<(), Failure> {
        let Some(name) = device.shown.as_bytes().strip_prefix(MAPPER.as_bytes()) else {
            return Err(Failure::new(format!(
                "{}: you must call this on the /dev/mapper device created by cryptsetup-open",
                device.shown
            )));
        };
        let name = GuestString::from(name);
        self.cryptsetup()?.arg("close").arg(name.as_os_str()).finish()?.success_of("cryptsetup")
    }

    fn luks_open(&self, device: Device, key: GuestString, mapname: GuestString) -> Result<(), Failure> {
        let opts = CryptsetupOpenOptions::default().crypttype("luks");
        self.open_mapped(&device, &key, &mapname, &opts)
    }

    fn luks_open_ro(&self, device: Device, key: GuestString, mapname: GuestString) -> Result<(), Failure> {
        let opts = CryptsetupOpenOptions::default().crypttype("luks").readonly(true);
        self.open_mapped(&device, &key, &mapname, &opts)
    }

    fn luks_close(&self, device: Device) -> Result<(), Failure> {
        self.cryptsetup_close(device)
    }

    fn luks_add_key(
        &self,
        device: Device,
        key: GuestString,
        newkey: GuestString,
        keyslot: i32,
    ) -> Result<(), Failure> {
        let keys = self.keys()?;
        let program = self.cryptsetup()?.arg("-q").arg("-d").arg(keys.add("key", &key)?);
        let program = program.args(["--key-slot", &keyslot.to_string(), "luksAddKey"]);
        program.arg(&device.node).arg(keys.add("new", &newkey)?).run().map(|_| ())
    }

    fn luks_kill_slot(&self, device: Device, key: GuestString, keyslot: i32) -> Result<(), Failure> {
        let keys = self.keys()?;
        let program = self.cryptsetup()?.arg("-q").arg("-d").arg(keys.add("key", &key)?).arg("luksKillSlot");
        program.arg(&device.node).arg(keyslot.to_string()).run().map(|_| ())
    }

    fn luks_uuid(&self, device: Device) -> Result<GuestString, Failure> {
        let text = self.cryptsetup()?.arg("luksUUID").arg(&device.node).run()?;
        Ok(text.trim_ascii().into())
    }

    fn clevis_luks_unlock(&self, device: Device, mapname: GuestString) -> Result<(), Failure> {
        mapped(&mapname)?;
        if self.agent.tools.find("clevis-luks-unlock")?.is_none() {
            return Err(
                Failure::new("The appliance has no Clevis (package clevis-luks)").with_errno(libc::ENOTSUP)
            );
        }
        let program = self.tool("clevis-luks-unlock")?.arg("-d").arg(&device.node);
        program.arg("-n").arg(mapname.as_os_str()).run().map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::mapped;

    #[test]
    fn names_stay_in_their_directory() {
        assert!(mapped(&"cr-1".into()).is_ok());
        for name in ["", "..", "a/b", "../sda", "control", "-v"] {
            assert!(mapped(&name.into()).is_err(), "{name}");
        }
    }
}
