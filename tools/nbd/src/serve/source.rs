//! From a plan to an open image, and to what clients see of it.

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use libimage::filter::Slice;
use libimage::format::Format;
use libimage::open::{Context, Image, OpenOptions};
use libimage::spec::{Objects, Spec};
use libimage::{Block as _, Error};

use super::block_export::{BlockExport, Context as Meta};
use super::plan::ExportPlan;

/// Opens what `plan` describes.
///
/// # Errors
/// When it cannot be opened, or is not what the plan says.
pub(super) fn open(plan: &ExportPlan, objects: &Objects) -> Result<BlockExport> {
    let shown = plan.image.display();
    let could_not =
        |error: Error| anyhow!("Failed to blk_new_open '{shown}': {}", cli::error::full_chain(&error.into()));
    let read_only = plan.read_only || plan.snapshot.is_some();
    let image = open_image(plan, objects, read_only).map_err(could_not)?;
    let mut block = image.block();
    if let Some(snapshot) = &plan.snapshot {
        let found = image.qcow2().map(|qcow2| qcow2.open_snapshot(snapshot));
        block = match found {
            Some(Ok(view)) => Arc::new(view),
            Some(Err(Error::NotFound(_))) | None => bail!("Failed to load snapshot: Can't find snapshot"),
            Some(Err(error)) => return Err(anyhow!(error).context("Failed to load snapshot")),
        };
    }
    let mut contexts = vec![Meta::Allocation];
    if plan.allocation_depth {
        contexts.push(Meta::Depth);
    }
    for name in &plan.bitmaps {
        let found = image.qcow2().map(|qcow2| (qcow2.bitmap(name), qcow2));
        let bits = match found {
            Some((Ok(bits), qcow2)) => {
                let enabled = qcow2.bitmaps()?.iter().any(|info| info.name == *name && info.auto);
                if enabled && !read_only {
                    bail!("Enabled bitmap '{name}' incompatible with readonly export");
                }
                bits
            }
            Some((Err(Error::NotFound(_)), _)) | None => bail!("Bitmap '{name}' is not found"),
            Some((Err(error), _)) => return Err(error.into()),
        };
        contexts.push(Meta::Bitmap(name.clone(), bits));
    }
    if plan.offset > 0 {
        let size = block.size();
        let Some(rest) = size.checked_sub(plan.offset) else {
            bail!("Offset ({}) has to be smaller than the image size ({size})", plan.offset);
        };
        block = Arc::new(Slice::new(block, plan.offset, rest)?);
    }
    if let Some(number) = plan.partition {
        let table = libimage::volume::partitions(&block)
            .with_context(|| format!("Could not look for partitions on '{shown}'"))?;
        let Some(table) = table else { bail!("'{shown}' has no partition table") };
        let Some(partition) = table.partitions.iter().find(|partition| partition.number == number) else {
            let numbers: Vec<_> =
                table.partitions.iter().map(|partition| partition.number.to_string()).collect();
            bail!("'{shown}' has no partition {number}; it has {}", numbers.join(", "));
        };
        block = Arc::new(partition.open(&block)?);
    }
    let read_only = read_only || block.is_read_only();
    let stays_in_place = read_only || image.format() == Format::Raw && image.storage().is_some();
    let granule = image.qcow2().map_or(1, |qcow2| u64::from(qcow2.limits().preferred.max(1)));
    Ok(BlockExport {
        block,
        granule,
        stays_in_place,
        read_only,
        description: plan.description.clone(),
        contexts,
        may_wait: false,
        direct: plan.cache.is_direct(),
        _image: Some(image),
    })
}

fn open_image(plan: &ExportPlan, objects: &Objects, read_only: bool) -> libimage::Result<Image> {
    let warn = |text: &str| eprintln!("{}: warning: {text}", cli::program());
    let mut spec =
        if plan.image_opts { Spec::image_opts(&plan.image, &warn)? } else { Spec::name(&plan.image)? };
    if let Some(format) = &plan.format {
        spec = spec.with_driver(format);
    }
    for (key, value) in [("discard", &plan.discard), ("detect-zeroes", &plan.detect_zeroes)] {
        if let Some(value) = value {
            spec = spec.with_default(key, value);
        }
    }
    let options = OpenOptions { read_only, cache: plan.cache, ..OpenOptions::default() };
    let context = Context { objects, warn: &warn, untrusted: false };
    let image = Image::open_spec(spec, options, &context)?;
    if image.is_guessed() && image.format() == Format::Raw && !read_only {
        warn_guessed(&plan.image.as_bytes().escape_ascii().to_string());
    }
    Ok(image)
}

/// Said when a writable image's format was only guessed.
fn warn_guessed(name: &str) {
    eprintln!("WARNING: Image format was not specified for '{name}' and probing guessed raw.");
    eprintln!(
        "         Automatically detecting the format is dangerous for raw images, write operations on block 0 will be restricted."
    );
    eprintln!("         Specify the 'raw' format explicitly to remove the restrictions.");
}
