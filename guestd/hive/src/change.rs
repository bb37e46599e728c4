//! Changing a hive: values, new nodes, nodes that go.
//!
//! Lists of subkeys stay sorted, as Windows demands. A list that grows is made anew at the end.

use super::node::{NODE, NONE, SubkeyList, VALUE, nk, vk};
use super::text::{encode, same};
use super::{Handle, Hive, MAX_ENTRIES, Result};
use rustix::io::Errno;

/// Offsets of fields in a cell of security settings.
const SECURITY_NEXT: usize = 8;
const SECURITY_PREVIOUS: usize = 12;
const SECURITY_USERS: usize = 16;

/// A value as it is to be stored.
struct NewValue {
    key: String,
    kind: u32,
    data: Vec<u8>,
}

/// The hash of a name in a list of kind "lh".
fn hash(name: &str) -> u32 {
    let upper = |letter: char| letter.to_ascii_uppercase();
    name.chars().fold(0u32, |hash, letter| hash.wrapping_mul(37).wrapping_add(upper(letter).into()))
}

/// Four bytes that go with an entry, by the kind of the list.
fn entry_hint(kind: &[u8], name: &str) -> Vec<u8> {
    match kind {
        b"li" => Vec::new(),
        b"lf" => {
            let mut start: Vec<u8> = name.bytes().take(4).collect();
            start.resize(4, 0);
            start
        }
        _ => hash(name).to_le_bytes().to_vec(),
    }
}

/// The order of names in a list.
fn comes_before(one: &str, other: &str) -> bool {
    one.to_ascii_uppercase() < other.to_ascii_uppercase()
}

impl Hive {
    /// Sets one value of a node, in the place of one with the same key.
    ///
    /// # Errors
    /// `EROFS` if the hive was not opened for changes; when there is no such node, or it is damaged.
    pub fn set_value(&mut self, node: Handle, key: &str, kind: u32, data: &[u8]) -> Result<()> {
        self.must_be_writable()?;
        let mut values = Vec::new();
        let mut new = Some(NewValue { key: key.to_owned(), kind, data: data.to_vec() });
        for value in self.values(node)? {
            let old = NewValue {
                key: self.value_key(value)?,
                kind: self.value_type(value)?,
                data: self.value_data(value)?,
            };
            values.push(if same(&old.key, key) { new.take().unwrap_or(old) } else { old });
        }
        values.extend(new);
        self.free_values(node)?;
        self.store_values(node, &values)
    }

    fn store_values(&mut self, node: Handle, values: &[NewValue]) -> Result<()> {
        let list = self.allocate(values.len().saturating_mul(4).saturating_add(4), [0, 0])?;
        let count = u32::try_from(values.len()).map_err(|_| Errno::RANGE)?;
        self.store_word(node, nk::VALUES, count)?;
        self.store_word(node, nk::VALUE_LIST, Self::offset(list)?)?;
        for (index, value) in values.iter().enumerate() {
            let (name, compressed) = encode(&value.key);
            let at = self.allocate(name.len().saturating_add(vk::NAME + 1), VALUE)?;
            self.store_word(list, index.saturating_mul(4).saturating_add(4), Self::offset(at)?)?;
            let length = u16::try_from(name.len()).map_err(|_| Errno::NAMETOOLONG)?;
            self.store(at, vk::NAME_LENGTH, &length.to_le_bytes())?;
            self.store(at, vk::NAME, &name)?;
            self.store_word(at, vk::TYPE, value.kind)?;
            self.store(at, vk::FLAGS, &u16::from(compressed && !name.is_empty()).to_le_bytes())?;
            let count = u32::try_from(value.data.len()).map_err(|_| Errno::RANGE)?;
            if count <= 4 {
                self.store_word(at, vk::LENGTH, count | vk::INLINE)?;
                self.store(at, vk::DATA, &value.data)?;
            } else {
                let data = self.allocate(value.data.len().saturating_add(4), [0, 0])?;
                self.store(data, 4, &value.data)?;
                self.store_word(at, vk::LENGTH, count)?;
                self.store_word(at, vk::DATA, Self::offset(data)?)?;
            }
            let name_size = u32::from(length).saturating_mul(if compressed { 2 } else { 1 });
            for (field, size) in [(nk::MAX_VALUE_NAME, name_size), (nk::MAX_VALUE_DATA, count)] {
                if self.word(node, field)? < size {
                    self.store_word(node, field, size)?;
                }
            }
        }
        Ok(())
    }

    /// Gives up all values of a node.
    fn free_values(&mut self, node: Handle) -> Result<()> {
        let values = self.values(node)?;
        if values.is_empty() {
            return Ok(());
        }
        for value in values {
            if self.word(value, vk::LENGTH)? & vk::INLINE == 0 && self.word(value, vk::LENGTH)? != 0 {
                let data = Self::place(self.word(value, vk::DATA)?)?;
                if self.cell(data)?.get(4..6) == Some(b"db") {
                    self.free_long(data)?;
                }
                self.free(data)?;
            }
            self.free(value)?;
        }
        let list = Self::place(self.word(node, nk::VALUE_LIST)?)?;
        self.free(list)?;
        self.store_word(node, nk::VALUES, 0)?;
        self.store_word(node, nk::VALUE_LIST, NONE)
    }

    /// Gives up the cells that hold the data of a long value.
    fn free_long(&mut self, at: Handle) -> Result<()> {
        // Data of one cell may happen to start with the two letters.
        let Ok(list) = Self::place(self.word(at, 8)?) else { return Ok(()) };
        let count = usize::from(self.half(at, 6)?);
        let piece = |index: usize| Self::place(self.word(list, index.saturating_mul(4).saturating_add(4))?);
        let Ok(pieces) = (0..count).map(piece).collect::<Result<Vec<_>>>() else { return Ok(()) };
        if pieces.iter().any(|piece| self.cell(*piece).is_err()) {
            return Ok(());
        }
        for piece in pieces {
            let _ = self.free(piece);
        }
        self.free(list)
    }

    /// Makes a node below a node.
    ///
    /// # Errors
    /// `EROFS` if the hive was not opened for changes, `EEXIST` if there is one of that name.
    pub fn add_child(&mut self, parent: Handle, name: &str) -> Result<Handle> {
        self.must_be_writable()?;
        self.check_node(parent)?;
        if name.is_empty() {
            return Err(Errno::INVAL);
        }
        if self.child(parent, name)?.is_some() {
            return Err(Errno::EXIST);
        }
        let (stored, compressed) = encode(name);
        let length = u16::try_from(stored.len()).map_err(|_| Errno::NAMETOOLONG)?;
        let node = self.allocate(stored.len().saturating_add(nk::NAME + 1), NODE)?;
        self.store(node, nk::FLAGS, &(if compressed { nk::COMPRESSED } else { 0 }).to_le_bytes())?;
        self.store_word(node, nk::PARENT, Self::offset(parent)?)?;
        for field in [nk::SUBKEY_LIST, nk::VOLATILE_LIST, nk::VALUE_LIST, nk::SECURITY, nk::CLASS] {
            self.store_word(node, field, NONE)?;
        }
        self.store(node, nk::NAME_LENGTH, &length.to_le_bytes())?;
        self.store(node, nk::NAME, &stored)?;
        // Time and security settings are the parent's.
        for offset in [nk::TIME, nk::TIME + 4] {
            let word = self.word(parent, offset)?;
            self.store_word(node, offset, word)?;
        }
        let security = self.word(parent, nk::SECURITY)?;
        if security != NONE {
            let cell = Self::place(security)?;
            self.cell_of(cell, *b"sk")?;
            let users = self.word(cell, SECURITY_USERS)?.checked_add(1).ok_or(Errno::RANGE)?;
            self.store_word(cell, SECURITY_USERS, users)?;
            self.store_word(node, nk::SECURITY, security)?;
        }
        self.insert_subkey(parent, node, name)?;
        let subkeys = self.word(parent, nk::SUBKEYS)?.checked_add(1).ok_or(Errno::RANGE)?;
        self.store_word(parent, nk::SUBKEYS, subkeys)?;
        let size =
            u16::try_from(name.encode_utf16().count().saturating_mul(2)).map_err(|_| Errno::NAMETOOLONG)?;
        if self.half(parent, nk::MAX_SUBKEY_NAME)? < size {
            self.store(parent, nk::MAX_SUBKEY_NAME, &size.to_le_bytes())?;
        }
        Ok(node)
    }

    /// Puts a node into the lists of its parent, where it belongs by its name.
    fn insert_subkey(&mut self, parent: Handle, node: Handle, name: &str) -> Result<()> {
        let lists = self.subkey_lists(parent)?;
        let mut place: Option<(SubkeyList, usize)> = None;
        'lists: for list in lists {
            for (index, child) in self.listed(list.at)?.into_iter().enumerate() {
                if comes_before(name, &self.node_name(child)?) {
                    place = Some((list, index));
                    break 'lists;
                }
                place = Some((list, index.saturating_add(1)));
            }
            // An empty list is as good as any if there is no other.
            place = place.or(Some((list, 0)));
        }
        let Some((list, index)) = place else {
            let list = self.allocate(16, *b"lh")?;
            self.store(list, 6, &1u16.to_le_bytes())?;
            self.store_word(list, 8, Self::offset(node)?)?;
            self.store_word(list, 12, hash(name))?;
            return self.store_word(parent, nk::SUBKEY_LIST, Self::offset(list)?);
        };
        let kind: [u8; 2] =
            self.cell(list.at)?.get(4..6).and_then(|kind| kind.try_into().ok()).ok_or(Errno::INVAL)?;
        let size = self.entry_size(list.at)?;
        let count = usize::from(self.half(list.at, 6)?);
        let entries = self.cell(list.at)?.get(8..).unwrap_or_default();
        let (before, after) = entries
            .get(..count.saturating_mul(size))
            .and_then(|entries| entries.split_at_checked(index.saturating_mul(size)))
            .ok_or(Errno::INVAL)?;
        let hint = entry_hint(&kind, name);
        let grown = [before, &Self::offset(node)?.to_le_bytes(), &hint, after].concat();
        let new = self.allocate(grown.len().saturating_add(8), kind)?;
        let count = u16::try_from(count.saturating_add(1)).map_err(|_| Errno::RANGE)?;
        self.store(new, 6, &count.to_le_bytes())?;
        self.store(new, 8, &grown)?;
        self.free(list.at)?;
        let (cell, offset) = list.named_by.unwrap_or((parent, nk::SUBKEY_LIST));
        self.store_word(cell, offset, Self::offset(new)?)
    }

    /// Removes a node with all that is below it.
    ///
    /// # Errors
    /// `EROFS` if the hive was not opened for changes; when it is the root, or its parent does not know it.
    pub fn delete_node(&mut self, node: Handle) -> Result<()> {
        self.must_be_writable()?;
        if node == self.root()? {
            return Err(Errno::INVAL);
        }
        let parent = self.node_parent(node)?;
        // Found before anything is changed: a node that its parent does not know is not removed.
        let mut found = None;
        for list in self.subkey_lists(parent)? {
            if let Some(index) = self.listed(list.at)?.iter().position(|child| *child == node) {
                found = Some((list.at, index));
                break;
            }
        }
        let (list, index) = found.ok_or(Errno::INVAL)?;
        let mut all = vec![node];
        let mut next = 0;
        while let Some(one) = all.get(next) {
            let children = self.children(*one)?;
            all.extend(children);
            next = next.saturating_add(1);
            if all.len() > MAX_ENTRIES.saturating_mul(8) {
                return Err(Errno::LOOP);
            }
        }
        for one in all.into_iter().rev() {
            self.free_node(one)?;
        }
        let size = self.entry_size(list)?;
        let count = usize::from(self.half(list, 6)?);
        let start = index.saturating_add(1).saturating_mul(size).saturating_add(8);
        let end = count.saturating_mul(size).saturating_add(8);
        let after = self.cell(list)?.get(start..end).ok_or(Errno::INVAL)?.to_vec();
        self.store(list, start.saturating_sub(size), &after)?;
        let count = u16::try_from(count.saturating_sub(1)).map_err(|_| Errno::RANGE)?;
        self.store(list, 6, &count.to_le_bytes())?;
        let subkeys = self.word(parent, nk::SUBKEYS)?.saturating_sub(1);
        self.store_word(parent, nk::SUBKEYS, subkeys)?;
        if subkeys == 0 {
            self.free_lists(parent)?;
        }
        Ok(())
    }

    /// Gives up the lists of subkeys of a node.
    fn free_lists(&mut self, node: Handle) -> Result<()> {
        let first = self.word(node, nk::SUBKEY_LIST)?;
        if first == NONE {
            return Ok(());
        }
        let first = Self::place(first)?;
        let mut cells = vec![first];
        if self.cell(first)?.get(4..6) == Some(b"ri") {
            for index in 0..usize::from(self.half(first, 6)?) {
                let offset = index.saturating_mul(4).saturating_add(8);
                cells.push(Self::place(self.word(first, offset)?)?);
            }
        }
        for cell in cells {
            self.free(cell)?;
        }
        self.store_word(node, nk::SUBKEY_LIST, NONE)
    }

    /// Gives up one node with its values and lists.
    fn free_node(&mut self, node: Handle) -> Result<()> {
        self.free_values(node)?;
        self.free_lists(node)?;
        let class = self.word(node, nk::CLASS)?;
        if class != NONE {
            self.free(Self::place(class)?)?;
        }
        let security = self.word(node, nk::SECURITY)?;
        if security != NONE {
            self.leave_security(Self::place(security)?)?;
        }
        self.free(node)
    }

    /// One node less has these security settings; the last one takes them out of the ring of all.
    fn leave_security(&mut self, at: Handle) -> Result<()> {
        self.cell_of(at, *b"sk")?;
        let users = self.word(at, SECURITY_USERS)?;
        if users > 1 {
            return self.store_word(at, SECURITY_USERS, users.saturating_sub(1));
        }
        let (next, previous) = (self.word(at, SECURITY_NEXT)?, self.word(at, SECURITY_PREVIOUS)?);
        self.store_word(Self::place(next)?, SECURITY_PREVIOUS, previous)?;
        self.store_word(Self::place(previous)?, SECURITY_NEXT, next)?;
        self.free(at)
    }
}
