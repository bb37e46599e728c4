//! Reading nodes ("nk" cells), the lists of what is below them, and values ("vk" cells).

use super::text::{decode, same};
use super::{Handle, Hive, MAX_ENTRIES, MAX_VALUE, Result};
use rustix::io::Errno;

pub(super) const NODE: [u8; 2] = *b"nk";
pub(super) const VALUE: [u8; 2] = *b"vk";
/// An offset that leads nowhere.
pub(super) const NONE: u32 = u32::MAX;

/// Offsets of fields in a node's cell.
pub(super) mod nk {
    pub(crate) const FLAGS: usize = 6;
    pub(crate) const TIME: usize = 8;
    pub(crate) const PARENT: usize = 20;
    pub(crate) const SUBKEYS: usize = 24;
    pub(crate) const SUBKEY_LIST: usize = 32;
    pub(crate) const VOLATILE_LIST: usize = 36;
    pub(crate) const VALUES: usize = 40;
    pub(crate) const VALUE_LIST: usize = 44;
    pub(crate) const SECURITY: usize = 48;
    pub(crate) const CLASS: usize = 52;
    pub(crate) const MAX_SUBKEY_NAME: usize = 56;
    pub(crate) const MAX_VALUE_NAME: usize = 64;
    pub(crate) const MAX_VALUE_DATA: usize = 68;
    pub(crate) const NAME_LENGTH: usize = 76;
    pub(crate) const NAME: usize = 80;
    /// The flag of a name of one byte per character.
    pub(crate) const COMPRESSED: u16 = 0x20;
}

/// Offsets of fields in a value's cell.
pub(super) mod vk {
    pub(crate) const NAME_LENGTH: usize = 6;
    pub(crate) const LENGTH: usize = 8;
    pub(crate) const DATA: usize = 12;
    pub(crate) const TYPE: usize = 16;
    pub(crate) const FLAGS: usize = 20;
    pub(crate) const NAME: usize = 24;
    /// In the length: the data lies in the place of its offset.
    pub(crate) const INLINE: u32 = 1 << 31;
}

/// One list of subkeys: its cell, and the list of lists that names it, if there is one.
#[derive(Clone, Copy, Debug)]
pub(super) struct SubkeyList {
    pub(super) at: Handle,
    /// The cell of the list of lists and the offset in it.
    pub(super) named_by: Option<(Handle, usize)>,
}

impl Hive {
    pub(super) fn check_node(&self, at: Handle) -> Result<()> {
        self.cell_of(at, NODE).map(drop)
    }

    fn name_at(&self, at: Handle, start: usize, length: u16, compressed: bool) -> Result<String> {
        let end = start.checked_add(length.into()).ok_or(Errno::INVAL)?;
        decode(self.cell(at)?.get(start..end).ok_or(Errno::INVAL)?, compressed)
    }

    /// A node's name.
    ///
    /// # Errors
    /// When there is no such node, or it is damaged.
    pub fn node_name(&self, node: Handle) -> Result<String> {
        self.check_node(node)?;
        let compressed = self.half(node, nk::FLAGS)? & nk::COMPRESSED != 0;
        self.name_at(node, nk::NAME, self.half(node, nk::NAME_LENGTH)?, compressed)
    }

    /// The node above a node.
    ///
    /// # Errors
    /// When there is no such node, or it is damaged.
    pub fn node_parent(&self, node: Handle) -> Result<Handle> {
        self.check_node(node)?;
        let parent = Self::place(self.word(node, nk::PARENT)?)?;
        self.check_node(parent)?;
        Ok(parent)
    }

    /// The lists that name a node's subkeys, in order.
    pub(super) fn subkey_lists(&self, node: Handle) -> Result<Vec<SubkeyList>> {
        self.check_node(node)?;
        let first = self.word(node, nk::SUBKEY_LIST)?;
        if self.word(node, nk::SUBKEYS)? == 0 || first == NONE {
            return Ok(Vec::new());
        }
        let mut lists = Vec::new();
        let mut todo = vec![SubkeyList { at: Self::place(first)?, named_by: None }];
        let mut seen = 0usize;
        while let Some(list) = todo.pop() {
            seen = seen.saturating_add(1);
            if seen > MAX_ENTRIES {
                return Err(Errno::LOOP);
            }
            let cell = self.cell(list.at)?;
            match cell.get(4..6) {
                Some(b"lf" | b"lh" | b"li") => lists.push(list),
                Some(b"ri") => {
                    let count = usize::from(self.half(list.at, 6)?);
                    for index in (0..count).rev() {
                        let offset = index.saturating_mul(4).saturating_add(8);
                        let at = Self::place(self.word(list.at, offset)?)?;
                        todo.push(SubkeyList { at, named_by: Some((list.at, offset)) });
                    }
                }
                _ => return Err(Errno::INVAL),
            }
        }
        Ok(lists)
    }

    /// The bytes per entry of a list of subkeys.
    pub(super) fn entry_size(&self, list: Handle) -> Result<usize> {
        Ok(if self.cell(list)?.get(4..6) == Some(b"li") { 4 } else { 8 })
    }

    /// The nodes that one list names.
    pub(super) fn listed(&self, list: Handle) -> Result<Vec<Handle>> {
        let size = self.entry_size(list)?;
        let entries = self.cell(list)?.get(8..).unwrap_or_default().chunks_exact(size);
        let count = usize::from(self.half(list, 6)?);
        if entries.len() < count {
            return Err(Errno::INVAL);
        }
        entries.take(count).map(|entry| Self::place(super::cell::number(entry, 0)?)).collect()
    }

    /// The nodes below a node.
    ///
    /// # Errors
    /// When there is no such node, or it is damaged.
    pub fn children(&self, node: Handle) -> Result<Vec<Handle>> {
        let mut children = Vec::new();
        for list in self.subkey_lists(node)? {
            for child in self.listed(list.at)? {
                self.check_node(child)?;
                children.push(child);
            }
            if children.len() > MAX_ENTRIES {
                return Err(Errno::RANGE);
            }
        }
        Ok(children)
    }

    /// The node of a name below a node.
    ///
    /// # Errors
    /// When there is no such node, or it is damaged.
    pub fn child(&self, node: Handle, name: &str) -> Result<Option<Handle>> {
        for child in self.children(node)? {
            if same(&self.node_name(child)?, name) {
                return Ok(Some(child));
            }
        }
        Ok(None)
    }

    /// The values of a node.
    ///
    /// # Errors
    /// When there is no such node, or it is damaged.
    pub fn values(&self, node: Handle) -> Result<Vec<Handle>> {
        self.check_node(node)?;
        let count = usize::try_from(self.word(node, nk::VALUES)?).map_err(|_| Errno::RANGE)?;
        let list = self.word(node, nk::VALUE_LIST)?;
        if count == 0 || list == NONE {
            return Ok(Vec::new());
        }
        if count > MAX_ENTRIES {
            return Err(Errno::RANGE);
        }
        let entries = self.cell(Self::place(list)?)?.get(4..).unwrap_or_default().as_chunks::<4>().0;
        let entries = entries.get(..count).ok_or(Errno::INVAL)?;
        let value = |entry: &[u8; 4]| {
            let value = Self::place(u32::from_le_bytes(*entry))?;
            self.cell_of(value, VALUE).map(|_| value)
        };
        entries.iter().map(value).collect()
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When there is no such node, or it is damaged.
    pub fn value(&self, node: Handle, key: &str) -> Result<Option<Handle>> {
        for value in self.values(node)? {
            if same(&self.value_key(value)?, key) {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// A value's key; empty for a node's default value.
    ///
    /// # Errors
    /// When there is no such value, or it is damaged.
    pub fn value_key(&self, value: Handle) -> Result<String> {
        self.cell_of(value, VALUE)?;
        let compressed = self.half(value, vk::FLAGS)? & 1 != 0;
        self.name_at(value, vk::NAME, self.half(value, vk::NAME_LENGTH)?, compressed)
    }

    /// A value's type.
    ///
    /// # Errors
    /// When there is no such value, or it is damaged.
    pub fn value_type(&self, value: Handle) -> Result<u32> {
        self.cell_of(value, VALUE)?;
        self.word(value, vk::TYPE)
    }

    /// A value's data.
    ///
    /// # Errors
    /// When there is no such value, or it is damaged.
    pub fn value_data(&self, value: Handle) -> Result<Vec<u8>> {
        self.cell_of(value, VALUE)?;
        let length = self.word(value, vk::LENGTH)?;
        let count = usize::try_from(length & !vk::INLINE).map_err(|_| Errno::RANGE)?;
        if length & vk::INLINE != 0 {
            let data = self.word(value, vk::DATA)?.to_le_bytes();
            return data.get(..count).map(<[u8]>::to_vec).ok_or(Errno::INVAL);
        }
        if count == 0 {
            return Ok(Vec::new());
        }
        if count > MAX_VALUE {
            return Err(Errno::RANGE);
        }
        let place = Self::place(self.word(value, vk::DATA)?)?;
        let cell = self.cell(place)?.get(4..).unwrap_or_default();
        match cell.get(..count) {
            Some(data) => Ok(data.to_vec()),
            None if cell.starts_with(b"db") => self.long_data(place, count),
            // Windows has written values that are shorter than they say.
            None => Ok(cell.to_vec()),
        }
    }

    /// Data in several cells.
    fn long_data(&self, at: Handle, length: usize) -> Result<Vec<u8>> {
        let list = Self::place(self.word(at, 8)?)?;
        let mut data = Vec::new();
        for index in 0..usize::from(self.half(at, 6)?) {
            let offset = index.saturating_mul(4).saturating_add(4);
            let piece = self.cell(Self::place(self.word(list, offset)?)?)?;
            // All but the last cell are full, less their last four bytes.
            let piece = piece.get(4..piece.len().saturating_sub(4)).unwrap_or_default();
            let missing = length.saturating_sub(data.len());
            data.extend_from_slice(piece.get(..missing).unwrap_or(piece));
        }
        if data.len() == length { Ok(data) } else { Err(Errno::INVAL) }
    }
}
