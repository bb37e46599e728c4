//! Reads whatever can be read of a disk, for tests of damaged ones: every reader ends in order, whatever it finds.
#![allow(unreachable_pub, reason = "tests of several crates use it")]

use std::ops::ControlFlow;
use std::sync::Arc;

use libimage::Block;
use libimage::fs::detect;
use libimage::fs::system::{FileSystem, Kind};
use libimage::volume;

/// Pieces of a file that are read.
const PIECES: u64 = 16;
const PIECE: usize = 256 << 10;

/// Goes through the partitions and file systems of a disk, as far as `budget` files go. How many it saw, and whether
/// anything at all was understood.
pub fn disk(disk: &Arc<dyn Block>, mut budget: usize) -> (usize, bool) {
    let mut blocks = vec![Arc::clone(disk)];
    if let Ok(Some(table)) = volume::partitions(disk) {
        for partition in &table.partitions {
            blocks.push(Arc::new(partition.open(disk).expect("partitions of a table lie on the disk")));
        }
    }
    if let Ok(groups) = volume::lvm::Groups::read(&blocks) {
        for group in groups.all() {
            let volumes = group.logical_volumes();
            blocks.extend(volumes.iter().filter_map(|volume| group.open(&volume.name).ok()));
        }
    }
    let mut understood = blocks.len() > 1;
    let mut seen = 0;
    for block in blocks {
        let Ok(Some(content)) = detect(&*block) else { continue };
        understood = true;
        if let Ok(fs) = libimage::fs::open(&content.kind, block, &Vec::new) {
            let found = tree(&*fs, budget);
            (seen, budget) = (seen + found, budget - found);
        }
    }
    (seen, understood)
}

/// Goes through a file system, as far as `budget` files go. How many it saw.
pub fn tree(fs: &dyn FileSystem, budget: usize) -> usize {
    let mut ahead = vec![fs.root()];
    let mut seen = 0;
    let mut buffer = vec![0; PIECE];
    let _ = fs.statistics();
    while let Some(directory) = ahead.pop() {
        let mut nodes = Vec::new();
        let _ = fs.list(directory, &mut |entry| {
            nodes.push((entry.name.to_vec(), entry.node));
            if seen + nodes.len() < budget { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        for (name, node) in nodes {
            if seen == budget {
                return seen;
            }
            seen += 1;
            let _ = fs.lookup(directory, &name);
            for name in fs.xattr_names(node).unwrap_or_default() {
                let _ = fs.xattr(node, &name);
            }
            let Ok(attributes) = fs.attributes(node) else { continue };
            match attributes.kind {
                Kind::Directory => ahead.push(node),
                Kind::Symlink => drop(fs.read_link(node)),
                Kind::File => {
                    for piece in 0..PIECES {
                        let read = fs.read(node, piece * PIECE as u64, &mut buffer);
                        let _ = fs.data_after(node, piece * PIECE as u64);
                        if !matches!(read, Ok(PIECE)) {
                            break;
                        }
                    }
                    // Far out, where sums could overflow.
                    let _ = fs.read(node, attributes.size.saturating_sub(10), &mut buffer[..100]);
                    let _ = fs.read(node, u64::MAX - 5, &mut buffer[..100]);
                }
                _ => {}
            }
        }
    }
    seen
}
