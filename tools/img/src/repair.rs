//! Repairs that are only tried, that can be undone, and that are undone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use libimage::Block;
use libimage::filter::{Scratch, Undo, undo};
use libimage::format::qcow2::{self, CheckReport, Fix, Qcow2};
use libimage::open::Image;
use libimage::units::human;

use crate::text;

/// How careful a repair is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Care {
    /// What is changed is kept in a file beside the image, under the first name that is free.
    #[default]
    Usual,
    /// What is changed is kept in this file.
    Undo(PathBuf),
    /// What is changed is gone.
    NoUndo,
    /// Nothing is changed.
    DryRun,
}

/// What a repair did.
pub(crate) struct Repaired {
    /// What was found and put right.
    pub(crate) report: CheckReport,
    /// What a check says afterwards.
    pub(crate) after: CheckReport,
    /// Where the image as it was is kept, if anything was changed.
    pub(crate) undo: Option<PathBuf>,
}

/// Repairs an image that is open for checking.
///
/// # Errors
/// When it cannot be read or written, and for an undo file that cannot be made.
pub(crate) fn repair(image: &Image, qcow2: &Qcow2, fix: Fix, care: Care) -> Result<Repaired> {
    let file = image.file().map(Image::block).context("The image is in no file")?;
    match care {
        Care::NoUndo => run(qcow2, fix, None),
        Care::DryRun => {
            let scratch = Arc::new(Scratch::new(file));
            run(&again(image, scratch)?, fix, None)
        }
        Care::Undo(path) => undoable(image, file, fix, path),
        // Scripts of qemu-img do not expect new files.
        Care::Usual if text::program() == "qemu-img" => run(qcow2, fix, None),
        Care::Usual => match image.storage() {
            Some(storage) => undoable(image, file, fix, free_name(storage.path())),
            None => run(qcow2, fix, None),
        },
    }
}

fn undoable(image: &Image, file: Arc<dyn Block>, fix: Fix, path: PathBuf) -> Result<Repaired> {
    let filter = Arc::new(Undo::new(file, &path)?);
    let block: Arc<dyn Block> = filter.clone();
    let repaired = run(&again(image, block)?, fix, Some(&filter))?;
    Ok(Repaired { undo: filter.is_used().then_some(path), ..repaired })
}

/// The image once more, in what may be written instead of its file.
fn again(image: &Image, file: Arc<dyn Block>) -> Result<Qcow2> {
    let options = qcow2::OpenOptions { check: true, ..qcow2::OpenOptions::default() };
    let again = Qcow2::open(file, options)?;
    if let Some(data) = image.data_file() {
        again.set_data_file(data.block())?;
    }
    Ok(again)
}

fn run(qcow2: &Qcow2, fix: Fix, filter: Option<&Undo>) -> Result<Repaired> {
    let failed = |e: libimage::Error| anyhow::anyhow!("Check failed: {}", cli::error::full_chain(&e.into()));
    let report = qcow2.repair(fix).map_err(failed)?;
    let after = match report.leaks_fixed + report.corruptions_fixed {
        0 => report.clone(),
        _ => qcow2.check().map_err(failed)?,
    };
    qcow2.flush()?;
    if let Some(filter) = filter {
        filter.seal()?;
    }
    Ok(Repaired { report, after, undo: None })
}

/// `IMAGE.undo`, or with a number behind it.
fn free_name(image: &Path) -> PathBuf {
    let name = |suffix: String| {
        let mut name = image.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let numbered = (1..u32::MAX).map(|n| name(format!(".undo.{n}")));
    let free = std::iter::once(name(".undo".to_owned())).chain(numbered).find(|path| !path.exists());
    free.unwrap_or_else(|| name(".undo".to_owned()))
}

/// Puts back what a repair changed, and tells how much that was.
///
/// # Errors
/// When the undo file does not fit the image; nothing is changed then.
pub(crate) fn take_back(image: &Image, path: &Path) -> Result<String> {
    let Some(file) = image.file().map(Image::block) else { bail!("The image is in no file") };
    let bytes = undo::undo(&*file, path)?;
    Ok(format!("{} put back; the image is as it was before the repair.\n", human(bytes)))
}
