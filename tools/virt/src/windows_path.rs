//! Paths as Windows writes them, `C:\Users\x`, in a guest that runs Windows.

use anyhow::{Result, bail};
use guest::Guest;
use guest::inspect::{System, Windows};
use guestd_api::GuestString;
use guestd_api::prelude::*;

/// The paths of a guest, which has one drive mounted at a time.
pub struct Paths<'g> {
    guest: &'g Guest,
    /// Nothing if the guest does not run Windows: its paths are taken as they are.
    windows: Option<&'g Windows>,
    root: &'g str,
    /// The device that is mounted on `/`.
    mounted: String,
}

impl<'g> Paths<'g> {
    /// The paths of a guest whose system, if one was searched for, is mounted.
    pub fn new(guest: &'g Guest, system: Option<&'g System>) -> Self {
        let root = system.map_or("", |system| system.root.as_str());
        let windows = system.and_then(|system| system.windows.as_ref());
        Paths { guest, windows, root, mounted: root.to_owned() }
    }

    /// The path of a file that is mounted after this, as the actions know it.
    ///
    /// # Errors
    /// When there is no such drive or file.
    pub fn resolve(&mut self, path: &[u8]) -> Result<GuestString> {
        let Some(windows) = self.windows else { return Ok(path.into()) };
        let (device, rest) = match path {
            [letter, b':', rest @ ..] if letter.is_ascii_alphabetic() => {
                let letter = char::from(*letter);
                let named = |name: &str| name.eq_ignore_ascii_case(&letter.to_string());
                let Some((_, device)) = windows.drives.iter().find(|(name, _)| named(name)) else {
                    bail!("drive ‘{}:’ not found.", letter.to_ascii_lowercase());
                };
                (device.as_str(), rest)
            }
            rest => (self.root, rest),
        };
        if device != self.mounted {
            self.guest.umount_all()?;
            self.guest.mount_ro(device, "/")?;
            device.clone_into(&mut self.mounted);
        }
        let slashes = rest.iter().map(|&byte| if byte == b'\\' { b'/' } else { byte });
        let slash = if matches!(rest.first(), Some(b'\\' | b'/')) { None } else { Some(b'/') };
        let whole: Vec<u8> = slash.into_iter().chain(slashes).collect();
        Ok(self.guest.case_sensitive_path(GuestString::from(whole))?)
    }
}
