//! A disk, a partition, or a device that is made of others.

use std::sync::Arc;

use libimage::Block;
use libimage::fs::{Content, detect};
use libimage::volume::md;

use super::sums::hex;
use super::{Served, aside};

/// Where signatures are at the beginning and the end of a device, generously.
const HEAD: u64 = 1 << 20;
const TAIL: u64 = 128 << 10;

/// A device that was asked for by name.
pub(super) struct Device {
    /// The name that users know.
    pub(super) name: String,
    /// Its number for the kernel: major and minor.
    pub(super) number: (u32, u32),
    block: Option<Arc<dyn Block>>,
    layer: Layer,
    /// It has a use, but nothing in it that could be mounted.
    holds_nothing: bool,
    /// The path of the subvolume that was asked for, if one was.
    pub(super) subvolume: Option<Vec<u8>>,
}

/// What a device is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    /// It is a disk or a partition.
    Plain,
    /// It is an array.
    Array,
    /// It is a logical volume.
    Volume,
    /// It was opened with a key.
    Mapped,
}

impl Device {
    /// A disk or a partition; an extended one has no `block`.
    pub(super) fn plain(
        name: String,
        number: (u32, u32),
        block: Option<Arc<dyn Block>>,
        holds_nothing: bool,
    ) -> Self {
        Device { name, number, block, layer: Layer::Plain, holds_nothing, subvolume: None }
    }

    /// A logical volume.
    pub(super) fn of_volume(name: String, number: (u32, u32), block: Arc<dyn Block>) -> Self {
        let layer = Layer::Volume;
        Device { name, number, block: Some(block), layer, holds_nothing: false, subvolume: None }
    }

    /// What an encrypted device holds.
    pub(super) fn mapped(name: String, number: (u32, u32), block: Arc<dyn Block>) -> Self {
        Device { layer: Layer::Mapped, ..Device::of_volume(name, number, block) }
    }

    /// An array.
    pub(super) fn array(name: String, number: (u32, u32), block: Arc<dyn Block>) -> Self {
        Device { layer: Layer::Array, ..Device::of_volume(name, number, block) }
    }

    /// Whether it is an array.
    pub(super) fn is_array(&self) -> bool {
        self.layer == Layer::Array
    }

    /// Whether it is a logical volume.
    pub(super) fn is_volume(&self) -> bool {
        self.layer == Layer::Volume
    }

    /// Whether it was opened with a key.
    pub(super) fn is_mapped(&self) -> bool {
        self.layer == Layer::Mapped
    }

    /// Whether it is a disk or a partition.
    pub(super) fn is_plain(&self) -> bool {
        self.layer == Layer::Plain
    }

    /// Whether it is one of the devices that something larger is made of. What is known to hold something else,
    /// or nothing known, is not.
    pub(super) fn is_member_of(&self, kind: &str) -> Served<bool> {
        if self.holds_nothing || self.raid()?.is_some() {
            return Ok(false);
        }
        let content = detect(&*self.block()?).or_else(|e| aside(e.to_string()))?;
        Ok(content.is_some_and(|content| content.kind == kind))
    }

    /// What it says of the array that it is a member of, if it is one.
    pub(super) fn raid(&self) -> Served<Option<md::Superblock>> {
        if self.holds_nothing {
            return Ok(None);
        }
        md::read(&self.block()?).or_else(|e| aside(e.to_string()))
    }

    /// Its bytes; an extended partition has none worth reading.
    pub(super) fn block(&self) -> Served<Arc<dyn Block>> {
        match &self.block {
            Some(block) => Ok(Arc::clone(block)),
            None => aside("it is an extended partition"),
        }
    }

    /// What it holds; `None` only if that is surely nothing. The appliance knows many more signatures.
    pub(super) fn content(&self) -> Served<Option<Content>> {
        let block = self.block()?;
        if self.holds_nothing {
            return Ok(None);
        }
        if let Some(superblock) = self.raid()? {
            return Ok(Some(of_member(&superblock)));
        }
        match detect(&*block).or_else(|e| aside(e.to_string()))? {
            Some(content) => Ok(Some(content)),
            None if is_blank(&*block).or_else(|e| aside(e.to_string()))? => Ok(None),
            None => aside(format!("{} holds something that is not known here", self.name)),
        }
    }
}

/// Whether there is nothing at all where a signature could be.
fn is_blank(block: &dyn Block) -> libimage::Result<bool> {
    let size = block.size();
    let mut head = vec![0; size.min(HEAD) as usize];
    block.read_at(&mut head, 0)?;
    let mut tail = vec![0; size.min(TAIL) as usize];
    let start = size.saturating_sub(TAIL);
    block.read_at(&mut tail, start)?;
    Ok(head.iter().chain(&tail).all(|&byte| byte == 0))
}

/// What probes say of a member of an array.
fn of_member(superblock: &md::Superblock) -> Content {
    let parts =
        [0..4, 4..6, 6..8, 8..10, 10..16].map(|range| hex(superblock.id.get(range).unwrap_or_default()));
    Content {
        kind: md::KIND.to_owned(),
        label: Some(superblock.name.clone()).filter(|name| !name.is_empty()),
        uuid: Some(parts.join("-")),
    }
}
