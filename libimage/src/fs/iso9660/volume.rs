//! Volume descriptors: how large blocks are, and where the root directory lies.

use super::super::device::Device;
use super::super::system::{FsError, Result};
use crate::fields::Fields;

/// Bytes of a sector, which descriptors lie in, and the first that has one.
const SECTOR: u64 = 2048;
const FIRST: u64 = 16;
/// More descriptors than this are taken for damage.
const MOST: u64 = 100;
/// Kinds of descriptors.
const PRIMARY: u8 = 1;
const SUPPLEMENTARY: u8 = 2;
const END: u8 = 255;
/// What says that names are in 16-bit letters: levels 1 to 3.
const JOLIET: [&[u8]; 3] = [b"%/@", b"%/C", b"%/E"];

/// What a descriptor says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Volume {
    pub(super) block_size: u64,
    pub(super) blocks: u64,
    /// The first byte of the root directory.
    pub(super) root: u64,
}

/// The primary descriptor, and that of Joliet.
pub(super) fn read(device: &Device) -> Result<(Volume, Option<Volume>)> {
    let (mut primary, mut joliet) = (None, None);
    for sector in FIRST..FIRST + MOST {
        let bytes = device.bytes(sector * SECTOR, SECTOR as usize)?;
        if bytes.get(1..6) != Some(b"CD001") {
            break;
        }
        let escapes = bytes.get(88..91).unwrap_or_default();
        match bytes.first() {
            Some(&PRIMARY) if primary.is_none() => primary = Some(volume(device, sector * SECTOR, &bytes)?),
            Some(&SUPPLEMENTARY) if JOLIET.contains(&escapes) => {
                joliet = Some(volume(device, sector * SECTOR, &bytes)?);
            }
            Some(&END) => break,
            _ => {}
        }
    }
    let primary = primary.ok_or_else(|| device.corrupt(FIRST * SECTOR, "there is no volume descriptor"))?;
    Ok((primary, joliet))
}

fn volume(device: &Device, at: u64, bytes: &[u8]) -> Result<Volume> {
    let block_size = u64::from(Fields(bytes).le16(128));
    if !matches!(block_size, 512 | 1024 | 2048) {
        let what = format!("its blocks have {block_size} bytes");
        return Err(FsError::from(device.corrupt(at, what)));
    }
    let fields = Fields(bytes);
    let extent = u64::from(fields.le32(158)) + u64::from(bytes.get(157).copied().unwrap_or_default());
    Ok(Volume { block_size, blocks: fields.le32(80).into(), root: extent * block_size })
}
