//! Any bytes as a disk: its partitions, what they hold, and every file of an ext file system. Nothing may panic,
//! grow large, or go on for ever.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use libimage::Block;
use libimage::fs::detect;
use libimage::fs::ext::{Ext, Kind};
use libimage::storage::Memory;
use libimage::volume;

fuzz_target!(|bytes: &[u8]| {
    let disk: Arc<dyn Block> = Arc::new(Memory::from_bytes(bytes));
    let mut blocks = vec![Arc::clone(&disk)];
    if let Ok(Some(table)) = volume::partitions(&disk) {
        for partition in &table.partitions {
            blocks.push(Arc::new(partition.open(&disk).expect("partitions of a table lie on the disk")));
        }
    }
    for block in blocks {
        let _ = detect(&*block);
        if let Ok(ext) = Ext::open(block) {
            walk(&ext);
        }
    }
});

fn walk(ext: &Ext) {
    let mut ahead = vec![Vec::new()];
    let mut budget = 500;
    while let Some(path) = ahead.pop() {
        let directory = if path.is_empty() { b"/" } else { &path[..] };
        let Ok(listing) = ext.list(directory) else { continue };
        for (name, kind) in &*listing {
            if budget == 0 {
                return;
            }
            budget -= 1;
            let child = [&path[..], b"/", name].concat();
            let _ = ext.size(&child);
            match kind {
                Kind::Directory => ahead.push(child),
                Kind::Symlink => drop(ext.read_link(&child)),
                Kind::File => {
                    let mut pieces = 0;
                    let _ = ext.read_file(&child, &mut |_| {
                        pieces += 1;
                        if pieces < 16 { Ok(()) } else { Err(std::io::ErrorKind::Other.into()) }
                    });
                }
                Kind::Special => {}
            }
        }
    }
}
