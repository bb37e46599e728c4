//! Any bytes as a LUKS volume, and as the header of one: looked at, opened with a passphrase, read and written.
//! Nothing may panic, and nothing may take long: the passphrase costs no more than the header says.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use libimage::Block;
use libimage::format::luks::Luks;
use libimage::storage::Memory;

/// More iterations than this would only slow the search down.
const MAX_ITERATIONS: u8 = 4;

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
    let memory: Arc<dyn Block> = Arc::new(Memory::from_bytes(&bytes));
    for password in [None, Some(&b"abc"[..])] {
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
