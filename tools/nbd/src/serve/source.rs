//! From a plan to an open image, and to what clients see of it.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, anyhow, bail};
use libimage::filter::Slice;
use libimage::filter::named::{Named, Stack, Withheld};
use libimage::format::Format;
use libimage::open::{Image, OpenOptions};
use libimage::spec::Objects;
use libimage::{Block, Error};
use nbd_protocol::server::Transit;
use nbd_protocol::wire::Flags;

use super::block_export::{BlockExport, Context as Meta, Sending};
use super::plan::ExportPlan;
use super::queued::queued;

/// The filter that keeps what is written away from the image.
const COPY_ON_WRITE: &str = "cow";

/// Opens what `plan` describes.
///
/// # Errors
/// When it cannot be opened, or is not what the plan says.
pub(super) fn open(plan: &ExportPlan, objects: &Arc<Objects>) -> Result<BlockExport> {
    let mut filters = plan.filters.iter().map(|text| Named::parse(text)).collect::<Result<Vec<_>, _>>()?;
    if plan.temporary {
        filters.push(Named::new(COPY_ON_WRITE, Vec::new())?);
    }
    let has_filters = !filters.is_empty();
    let stack = Stack::new(filters);
    let read_only = plan.read_only || plan.snapshot.is_some() || stack.keeps_below();
    let base = Base::open(plan, objects, read_only)?;
    let mut contexts = vec![Meta::Allocation];
    if plan.allocation_depth {
        contexts.push(Meta::Depth);
    }
    if has_filters && !plan.bitmaps.is_empty() {
        bail!("Bitmaps tell of the image itself: they cannot be served through filters");
    }
    for name in &plan.bitmaps {
        contexts.push(base.bitmap(name)?);
    }
    let image = &base.image;
    let is_local = image.storage().is_some();
    let granule = image.qcow2().map_or(1, |qcow2| u64::from(qcow2.limits().preferred.max(1)));
    let sending = match image.format() {
        _ if has_filters => Sending::Copied,
        _ if base.block.is_read_only() => Sending::FromFile,
        Format::Raw if is_local => Sending::FromFile,
        // Where the disk becomes smaller clusters have to go.
        _ if plan.resizable || !is_local => Sending::Copied,
        _ => Sending::Counted(Arc::new(Transit::new(queued))),
    };
    let block = if has_filters { base.under(&stack, plan, objects)? } else { Arc::clone(&base.block) };
    let read_only = plan.read_only || plan.snapshot.is_some() || block.is_read_only();
    Ok(BlockExport {
        block,
        granule,
        sending,
        read_only,
        description: plan.description.clone(),
        contexts,
        resizable: plan.resizable,
        withheld: withheld(stack.withheld()),
        refuses_fast_zeroes: stack.withheld().fast_zeroes_refused,
        may_wait: stack.waits() || !is_local,
        direct: plan.cache.is_direct(),
        // What a filter may open anew must not be held, and locked, by anybody else.
        _image: (!has_filters).then_some(base.image),
        filters: stack,
    })
}

/// The abilities that clients are not told of.
fn withheld(what: Withheld) -> Flags {
    Flags::default()
        .with(Flags::WRITE_ZEROES | Flags::FAST_ZERO, what.zeroes)
        .with(Flags::FAST_ZERO, what.fast_zeroes)
        .with(Flags::CACHE, what.cache)
        .with(Flags::FUA, what.fua)
        .with(Flags::MULTI_CONN, what.several_connections)
}

/// An image and the part of it that is served, without any filter.
struct Base {
    image: Image,
    block: Arc<dyn Block>,
    /// Where that part begins.
    start: u64,
}

impl Base {
    fn open(plan: &ExportPlan, objects: &Objects, read_only: bool) -> Result<Self> {
        let shown = plan.image.display();
        let image = open_image(plan, objects, read_only).map_err(|error| {
            anyhow!("Failed to blk_new_open '{shown}': {}", cli::error::full_chain(&error.into()))
        })?;
        if plan.native_aio && !plan.cache.is_direct() {
            bail!(
                "Failed to blk_new_open '{shown}': aio=native was specified, but it requires cache.direct=on, which was not specified."
            );
        }
        let block = match &plan.snapshot {
            Some(snapshot) => self::snapshot(&image, snapshot)?,
            None => image.block(),
        };
        let size = block.size();
        let part = part(plan, &block)?;
        let start = part.start;
        let block = if part == (0..size) {
            block
        } else {
            Arc::new(Slice::new(block, start, part.end - start)?) as Arc<dyn Block>
        };
        Ok(Base { image, block, start })
    }

    fn bitmap(&self, name: &str) -> Result<Meta> {
        let Some(qcow2) = self.image.qcow2() else { bail!("Bitmap '{name}' is not found") };
        let bits = match qcow2.bitmap(name) {
            Ok(bits) => bits,
            Err(Error::NotFound(_)) => bail!("Bitmap '{name}' is not found"),
            Err(error) => return Err(error.into()),
        };
        let records = qcow2.bitmaps()?.iter().any(|info| info.name == name && info.auto);
        let live = (records && !self.block.is_read_only()).then(|| Arc::clone(qcow2));
        Ok(Meta::Bitmap { name: name.to_owned(), bits, live, start: self.start })
    }

    /// The filters over this image, which may open it anew.
    fn under(&self, stack: &Stack, plan: &ExportPlan, objects: &Arc<Objects>) -> Result<Arc<dyn Block>> {
        let first = Mutex::new(Some(Arc::clone(&self.block)));
        let (plan, objects) = (plan.clone(), Arc::clone(objects));
        let keeps_below = stack.keeps_below();
        let open = move |read_only: bool| {
            if let Some(block) = first.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return Ok(block);
            }
            let base = Base::open(&plan, &objects, read_only || plan.read_only || keeps_below);
            base.map(|base| base.block).map_err(|error| Error::Invalid(cli::error::full_chain(&error)))
        };
        Ok(stack.open(&(Arc::new(open) as _))?)
    }
}

fn snapshot(image: &Image, name: &str) -> Result<Arc<dyn Block>> {
    let Some(qcow2) = image.qcow2() else {
        bail!(
            "Failed to load snapshot: Block format '{}' used by device '' does not support temporarily loading internal snapshots",
            image.driver().name()
        );
    };
    match qcow2.open_snapshot(name) {
        Ok(view) => Ok(Arc::new(view)),
        Err(Error::NotFound(_)) => bail!("Failed to load snapshot: Can't find snapshot"),
        Err(error) => Err(anyhow!(error).context("Failed to load snapshot")),
    }
}

/// Which bytes of `block` are served.
fn part(plan: &ExportPlan, block: &Arc<dyn Block>) -> Result<Range<u64>> {
    let (shown, size) = (plan.image.display(), block.size());
    if plan.offset > size {
        bail!("Offset ({}) cannot be greater than size of the containing file ({size})", plan.offset);
    }
    let Some(number) = plan.partition else { return Ok(plan.offset..size) };
    let table = libimage::volume::partitions(block)
        .with_context(|| format!("Could not look for partitions on '{shown}'"))?;
    let Some(table) = table else { bail!("'{shown}' has no partition table") };
    let Some(partition) = table.partitions.iter().find(|partition| partition.number == number) else {
        let numbers: Vec<_> = table.partitions.iter().map(|partition| partition.number.to_string()).collect();
        bail!("'{shown}' has no partition {number}; it has {}", numbers.join(", "));
    };
    let end = partition.start.checked_add(partition.size).filter(|&end| end <= size);
    let Some(end) = end else { bail!("Partition {number} reaches beyond the end of '{shown}'") };
    if plan.offset > partition.size {
        bail!("Offset ({}) is larger than partition {number} ({})", plan.offset, partition.size);
    }
    Ok(partition.start + plan.offset..end)
}

fn open_image(plan: &ExportPlan, objects: &Objects, read_only: bool) -> libimage::Result<Image> {
    let defaults = [("discard", &plan.discard), ("detect-zeroes", &plan.detect_zeroes)];
    let defaults: Vec<_> =
        defaults.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?))).collect();
    let options = OpenOptions { read_only, cache: plan.cache, ..OpenOptions::default() };
    crate::source::open(&plan.image, plan.image_opts, plan.format.as_deref(), &defaults, options, objects)
}
