//! Items that hold names: entries of directories and extended attributes. Names with the same hash share an item.

use super::super::system::Kind;
use super::key::{KEY, Key};
use crate::fields::Fields;

/// Bytes before the name.
const HEADER: usize = KEY + 13;
/// The longest name, in bytes.
pub(super) const MAX_NAME: usize = 255;

/// A name, and what it stands for.
pub(super) struct Named<'a> {
    /// The inode or subvolume that it leads to.
    pub(super) location: Key,
    pub(super) kind: Option<Kind>,
    pub(super) name: &'a [u8],
    /// The value of an attribute.
    pub(super) value: &'a [u8],
}

/// Goes through an item; `None` where it is damaged, which is the end.
pub(super) struct Entries<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Entries<'a> {
    type Item = Option<Named<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let entry = self.split();
        if entry.is_none() {
            self.0 = &[];
        }
        Some(entry)
    }
}

impl<'a> Entries<'a> {
    fn split(&mut self) -> Option<Named<'a>> {
        let (header, rest) = self.0.split_at_checked(HEADER)?;
        let fields = Fields(header);
        let (name, rest) = rest.split_at_checked(fields.le16(KEY + 10).into())?;
        let (value, rest) = rest.split_at_checked(fields.le16(KEY + 8).into())?;
        self.0 = rest;
        let kind = Kind::of_entry(*header.last()?);
        let is_name = !name.is_empty() && name.len() <= MAX_NAME && !name.contains(&0);
        is_name.then_some(Named { location: Key::read(header), kind, name, value })
    }
}
