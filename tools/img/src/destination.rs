//! Where a new image comes into being.

use std::ffi::OsString;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use libimage::Block;
use libimage::filter::Existing;
use libimage::open::{OpenOptions, is_server};
use libimage::spec::Spec;
use libimage::storage::{FileStorage, Replacement};

use crate::create::path_for_making;
use crate::image;

/// The place of a new image.
pub(crate) enum Destination {
    /// A file, which gets its name when it is complete.
    File(Box<Replacement>),
    /// An export of a server, which is there already.
    Server(Arc<dyn Block>),
}

impl Destination {
    /// The place that is called `name`.
    ///
    /// # Errors
    /// When no file can be made there, or the server does not let anybody write.
    pub(crate) fn new(name: &OsString) -> Result<Self> {
        if !is_server(name) {
            return Ok(Destination::File(Box::new(Replacement::new(path_for_making(name)?)?)));
        }
        let open = || {
            let spec = Spec::name(name)?.with_driver("raw");
            image::open(spec, OpenOptions::default())
        };
        let opened = open().map_err(|error| {
            anyhow!(
                "Protocol driver 'nbd' does not support creating new images, so an existing image must be selected as the \
                 target; however, opening the given target as an existing image failed: {}",
                cli::error::full_chain(&error.into())
            )
        })?;
        Ok(Destination::Server(Arc::new(Existing::new(opened.block()))))
    }

    /// The new file, if it is one. Nobody can see it before it is complete: one flush at the end does for all.
    pub(crate) fn unseen_file(&self) -> Option<Arc<FileStorage>> {
        let Destination::File(replacement) = self else { return None };
        let storage = replacement.storage();
        storage.leave_flushes_to_kernel();
        Some(storage)
    }

    /// Its bytes.
    pub(crate) fn storage(&self) -> Arc<dyn Block> {
        match self {
            Destination::File(replacement) => replacement.storage(),
            Destination::Server(block) => Arc::clone(block),
        }
    }

    /// The image is complete: it is made `durable`, and gets its name.
    ///
    /// # Errors
    /// When that fails; a file that was there before is then still the old one.
    pub(crate) fn commit(self, durable: bool) -> Result<()> {
        match self {
            Destination::File(replacement) => {
                if durable {
                    replacement.storage().sync()?;
                }
                Ok(replacement.commit()?)
            }
            Destination::Server(block) => Ok(block.flush()?),
        }
    }
}
