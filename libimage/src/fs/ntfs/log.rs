//! Whether the volume was left in order: its log was brought to an end, and no Windows sleeps on it.
//!
//! A log that was not is never replayed here; such a volume is refused.

use super::super::system::{FsError, Result};
use super::record::{kind, restore};
use super::stream::Stream;
use super::{LOG, Ntfs, ROOT};
use crate::fields::Fields;

/// What an empty log is full of.
const EMPTY: u32 = 0xffff_ffff;
/// Sizes that the pages at its beginning may have, in bytes.
const PAGES: std::ops::RangeInclusive<u32> = 512..=65536;
/// No user of the log.
const NOBODY: u16 = 0xffff;
/// The flag that nothing is left to be done.
const CLEAN: u16 = 2;

impl Ntfs {
    /// Refuses a volume that was not left in order.
    pub(super) fn check_order(&self) -> Result<()> {
        let log = self.stream(&self.inode(LOG)?, kind::DATA, &[])?;
        let log = log.ok_or_else(|| self.corrupt(LOG, "the log has no data"))?;
        if !self.is_empty_log(&log)? && !self.is_clean_log(&log)? {
            return Err(FsError::Unsupported("its log has to be replayed".to_owned()));
        }
        if self.is_hibernated()? {
            return Err(FsError::Unsupported("Windows is hibernated on it".to_owned()));
        }
        Ok(())
    }

    /// Looks at the places where a log in use has something.
    fn is_empty_log(&self, log: &Stream) -> Result<bool> {
        let mut at = 0;
        while at < log.size.saturating_sub(4) {
            let mut bytes = [0; 4];
            self.read_stream(LOG, log, at, &mut bytes)?;
            if u32::from_le_bytes(bytes) != EMPTY {
                return Ok(false);
            }
            at = (at * 2).max(512);
        }
        Ok(true)
    }

    /// Whether the newer of the two pages at the beginning says that the log was closed.
    fn is_clean_log(&self, log: &Stream) -> Result<bool> {
        let mut head = [0; 32];
        if log.size < 2 * u64::from(*PAGES.start()) {
            return Ok(false);
        }
        self.read_stream(LOG, log, 0, &mut head)?;
        let size = Fields(&head).le32(16);
        if !PAGES.contains(&size) || !size.is_power_of_two() || u64::from(size) * 2 > log.size {
            return Ok(false);
        }
        let mut newest = None;
        for at in [0, u64::from(size)] {
            let mut page = vec![0; size as usize];
            self.read_stream(LOG, log, at, &mut page)?;
            newest = newest.max(verdict(&mut page));
        }
        Ok(newest.is_some_and(|(_, is_clean)| is_clean))
    }

    fn is_hibernated(&self) -> Result<bool> {
        let root = self.directory(&self.inode(ROOT)?)?;
        let Some(reference) = self.entry(&root, b"hiberfil.sys")? else { return Ok(false) };
        let Some(image) = self.stream(&self.inode(reference)?, kind::DATA, &[])? else { return Ok(false) };
        let mut magic = [0; 4];
        if image.size < 4096 {
            return Ok(false);
        }
        self.read_stream(reference, &image, 0, &mut magic)?;
        Ok(magic.eq_ignore_ascii_case(b"hibr"))
    }
}

/// How new a page is, and whether it says that the log was closed; `None` if it is not whole or of another version.
fn verdict(page: &mut [u8]) -> Option<(u64, bool)> {
    restore(page, b"RSTR").ok()?;
    let fields = Fields(page);
    if (fields.le16(28), fields.le16(26)) != (1, 1) {
        return None;
    }
    let area = page.get(fields.le16(24).into()..).filter(|area| area.len() >= 48)?;
    let fields = Fields(area);
    Some((fields.le64(0), fields.le16(12) == NOBODY || fields.le16(14) & CLEAN != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(user: u16, flags: u16) -> Vec<u8> {
        let mut page = vec![0; 4096];
        page[..4].copy_from_slice(b"RSTR");
        (page[4], page[6]) = (30, 9);
        (page[24], page[26], page[28]) = (48, 1, 1);
        page[48] = 5;
        page[60..62].copy_from_slice(&user.to_le_bytes());
        page[62..64].copy_from_slice(&flags.to_le_bytes());
        page
    }

    #[test]
    fn a_log_in_use_is_not_clean() {
        assert_eq!(verdict(&mut page(NOBODY, 0)), Some((5, true)));
        assert_eq!(verdict(&mut page(0, CLEAN)), Some((5, true)));
        assert_eq!(verdict(&mut page(0, 0)), Some((5, false)));
        let mut later = page(NOBODY, 0);
        later[28] = 2;
        assert_eq!(verdict(&mut later), None);
    }
}
