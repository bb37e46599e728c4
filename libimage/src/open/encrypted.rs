//! Encrypted nodes: the options that name their secrets, and unlocking them.
//!
//! Whoever only looks at headers needs no secret; for everything else it must be there when the node is opened.

use std::sync::Arc;

use super::node::{Flags, Opening};
use super::{Contents, Image};
use crate::error::{Error, Result};
use crate::format::luks::Luks;
use crate::format::qcow2::Qcow2;
use crate::spec::Dict;

impl Opening<'_> {
    /// The passphrase that `key-secret` names. `prefix` is that of the option on the command line.
    fn passphrase(&self, options: &mut Dict, prefix: &str, flags: Flags) -> Result<Option<&str>> {
        let id = options.take("key-secret").map(|value| value.shown());
        if flags.no_io {
            return Ok(None);
        }
        let id = id.ok_or_else(|| {
            Error::Invalid(format!("Parameter '{prefix}key-secret' is required for cipher"))
        })?;
        self.context.objects.passphrase(&id).map(Some)
    }

    /// A LUKS volume; returns the file that its header is in, if that is another one.
    pub(super) fn luks(
        &mut self,
        file: &Image,
        options: &mut Dict,
        flags: Flags,
    ) -> Result<(Contents, Option<Image>)> {
        let own = options.take_child("header");
        let header = match own.is_empty() {
            true => None,
            false => Some(self.node(None, own, Flags { protocol: true, ..flags })?),
        };
        let password = self.passphrase(options, "", flags)?;
        let detached = header.as_ref().map(Image::block);
        let luks = Luks::open(file.block(), detached, password.map(str::as_bytes), flags.read_only)?;
        Ok((Contents::Luks(Arc::new(luks)), header))
    }

    /// Unlocks `image` with the secret that its `encrypt` options name.
    pub(super) fn unlock(&self, image: &Qcow2, mut options: Dict, flags: Flags) -> Result<()> {
        let format = options.take("format").map(|value| value.shown());
        match (image.encryption().map(|encryption| encryption.format()), format) {
            (None, None) => return Ok(()),
            (None, Some(format)) => {
                let what = format!("No encryption in image header, but options specified format '{format}'");
                return Err(Error::Invalid(what));
            }
            (Some(has), Some(format)) if has != format => {
                return Err(Error::Invalid(format!(
                    "Header reported '{has}' encryption format but options specify '{format}'"
                )));
            }
            (Some(_), _) => {}
        }
        if let Some((key, _)) = options.iter().find(|(key, _)| *key != "key-secret") {
            return Err(Error::Invalid(format!("Parameter '{key}' is unexpected")));
        }
        match self.passphrase(&mut options, "encrypt.", flags)? {
            Some(password) => image.unlock(password.as_bytes()),
            None => Ok(()),
        }
    }
}
