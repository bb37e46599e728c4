//! `img convert --resume`: a conversion that can be interrupted.
//!
//! The target is made under a name of its own beside the place where it will be, and a journal beside it says
//! from what and how. An interrupted conversion is taken up again only if all of that is still the same; and
//! then every byte that is there already is compared with the source before it is left alone.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use libimage::Block;
use libimage::format::Format;
use libimage::format::qcow2::{self, Fix, Qcow2};
use libimage::format::raw::Raw;
use libimage::open::Image;
use libimage::storage::{FileStorage, Replacement};
use serde_json::{Value, json};

use crate::create::Built;

/// The record of an unfinished conversion.
pub(super) struct Journal {
    path: PathBuf,
    text: String,
}

impl Journal {
    /// Describes a conversion: `how` is all that makes a difference to the target.
    pub(super) fn new(target: &Path, sources: &[Image], how: &[(&str, Value)]) -> Result<Self> {
        let mut list = Vec::new();
        for image in sources {
            list.extend(files(image)?);
        }
        let how: serde_json::Map<_, _> = how.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        let partial = Replacement::partial_name(target);
        let path = partial.with_extension("part.json");
        Ok(Journal { path, text: crate::text::json(&json!({ "sources": list, "target": how })) })
    }

    /// True if there is something to continue. Without that, the record is written.
    pub(super) fn begin(&self, replacement: &Replacement) -> Result<bool> {
        let partial = replacement.storage();
        let known = fs::read_to_string(&self.path).ok();
        if partial.size() == 0 || known.is_none() {
            // Nothing, or nothing that anybody can vouch for.
            if partial.size() > 0 {
                bail!(
                    "There is an unfinished target but no '{}' that says what it was to become; remove it",
                    self.path.display()
                );
            }
            let file = fs::File::create(&self.path)
                .and_then(|mut file| {
                    std::io::Write::write_all(&mut file, self.text.as_bytes())?;
                    file.sync_all()
                })
                .with_context(|| format!("Could not write '{}'", self.path.display()));
            return file.map(|()| false);
        }
        if known.as_deref() != Some(self.text.as_str()) {
            bail!(
                "The unfinished target was begun in another way, or its source has changed since; remove '{}' and what lies beside it to begin anew",
                self.path.display()
            );
        }
        Ok(true)
    }

    /// The conversion is finished, or will not be.
    pub(super) fn remove(&self) {
        // An old journal without its file does no harm.
        let _ = fs::remove_file(&self.path);
    }
}

/// What identifies the files of an image and of all below it.
fn files(image: &Image) -> Result<Vec<Value>> {
    let mut list = Vec::new();
    let mut next = Some(image);
    while let Some(image) = next {
        let Some(storage) = image.storage() else { bail!("Only local files can be converted with --resume") };
        let metadata = fs::metadata(storage.path())
            .with_context(|| format!("Could not examine '{}'", storage.path().display()))?;
        list.push(json!({
            "path": fs::canonicalize(storage.path()).unwrap_or_else(|_| storage.path().to_owned()),
            "device": metadata.dev(),
            "inode": metadata.ino(),
            "size": storage.size(),
            "modified": format!("{}.{:09}", metadata.mtime(), metadata.mtime_nsec()),
        }));
        next = image.backing();
    }
    Ok(list)
}

/// Opens what an interrupted conversion left; `None` if it never became an image. What nobody refers to is
/// given back.
pub(super) fn reopen(storage: Arc<FileStorage>, format: Format, size: u64) -> Result<Option<Built>> {
    if format == Format::Raw {
        let raw = Raw::new(storage);
        return Ok((raw.size() == size).then(|| Built::Raw(Arc::new(raw))));
    }
    let options = qcow2::OpenOptions { check: true, ..qcow2::OpenOptions::default() };
    let Ok(image) = Qcow2::open(storage, options) else { return Ok(None) };
    // A power cut may have taken anything that was not durable yet: what cannot be repaired is made anew.
    let sound =
        image.repair(Fix::All).is_ok_and(|report| report.corruptions == 0 && report.check_errors == 0);
    Ok((sound && image.size() == size).then(|| Built::Qcow2(Arc::new(image))))
}
