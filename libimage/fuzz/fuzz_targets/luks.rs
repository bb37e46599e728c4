//! Any bytes as a LUKS volume, and as the header of one: looked at, opened with a passphrase, read and written.
//! Nothing may panic, and nothing may take long: the passphrase costs no more than the header says.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use libimage::Block;
use libimage::crypto::HashAlg;
use libimage::format::luks::Luks;
use libimage::storage::Memory;

/// More iterations than this would only slow the search down.
const MAX_ITERATIONS: u8 = 4;
/// The smallest header of version 2.
const HEADER: usize = 0x4000;

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    // The upper bytes of all iteration counts: of the digest, and of eight slots.
    for at in std::iter::once(164).chain((0..8).map(|slot| 212 + slot * 48)) {
        if let Some(count) = bytes.get_mut(at..at + 3) {
            count[0] = 0;
            count[1] = 0;
            count[2] = count[2].min(MAX_ITERATIONS);
        }
    }
    // Version 2 is only looked at behind a right checksum, and without a passphrase: its costs are in its text.
    let second = bytes.get(6..8) == Some(&[0, 2]) && bytes.len() >= HEADER;
    if second {
        bytes[8..16].copy_from_slice(&(HEADER as u64).to_be_bytes());
        bytes[72..104].fill(0);
        bytes[72..78].copy_from_slice(b"sha256");
        bytes[256..264].fill(0);
        bytes[448..512].fill(0);
        let digest = HashAlg::Sha256.digest(&[&bytes[..HEADER]]);
        bytes[448..480].copy_from_slice(&digest);
    }
    let memory: Arc<dyn Block> = Arc::new(Memory::from_bytes(&bytes));
    let passwords = [None, Some(&b"abc"[..])];
    for password in passwords.into_iter().take(if second { 1 } else { 2 }) {
        for detached in [false, true] {
            let header = detached.then(|| Arc::clone(&memory));
            let Ok(image) = Luks::open(Arc::clone(&memory), header, password, false) else { continue };
            let _ = image.info();
            let size = image.size();
            let mut buf = vec![0; size.min(1 << 16) as usize];
            let _ = image.read_at(&mut buf, 0);
            let _ = image.write_at(&buf, size - buf.len() as u64);
            let _ = image.status(0..size);
        }
    }
});
