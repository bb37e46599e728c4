//! Any bytes as a qcow2 image: opened, read, checked, written, repaired. Nothing may panic or grow large.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use libimage::format::qcow2::{Amendment, Fix, OpenOptions, Qcow2};
use libimage::storage::Memory;
use libimage::{Block, Preallocation};

fuzz_target!(|bytes: &[u8]| {
    for check in [false, true] {
        let memory = Arc::new(Memory::from_bytes(bytes));
        let options = OpenOptions { check, ..OpenOptions::default() };
        let Ok(image) = Qcow2::open(Arc::clone(&memory) as Arc<dyn Block>, options) else { continue };
        if image.lacks_data_file() {
            let _ = image.data_file_name();
            let _ = image.set_data_file(Arc::new(Memory::new(1 << 16)));
        }
        let size = image.size();
        let mut buf = vec![0; size.min(1 << 17) as usize];
        let _ = image.read_at(&mut buf, 0);
        let last = size - buf.len() as u64;
        let _ = image.read_at(&mut buf, last);
        let _ = image.status(0..size);
        let _ = image.info();
        let _ = image.check();
        let _ = image.write_at(&buf, 0);
        let _ = image.discard(0..size);
        let _ = image.create_snapshot("s", std::time::Duration::ZERO);
        let _ = image.flush();
        for bitmap in image.bitmaps().unwrap_or_default() {
            let _ = image.bitmap(&bitmap.name).map(|bits| bits.dirty_bytes());
            let _ = image.clear_bitmap(&bitmap.name);
        }
        let _ = image.add_bitmap("b", None, true);
        let _ = image.write_at(&buf, last);
        let _ = image.resize(size.min(1 << 20), Preallocation::Off);
        let _ = image.repair(Fix::All);
        drop(image);
        let file = Arc::clone(&memory) as Arc<dyn Block>;
        let change = Amendment { refcount_bits: Some(64), version: Some(3), ..Amendment::default() };
        let _ = Qcow2::amend(&file, None, &change);
        assert!(memory.allocated_bytes().unwrap_or(0) < 1 << 28);
    }
});
