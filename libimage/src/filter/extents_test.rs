#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use super::*;
use crate::filter::model;

#[test]
fn extents_are_those_of_the_list() {
    let list = ExtentList::parse("1M 4k\n\n0 0x1000\n8k 4k hole,zero\n16384 1s 2\n", "list").unwrap();
    let block = WithList::new(model::memory(2 << 20), Arc::new(list));
    let mut found = Vec::new();
    let mut at = 0;
    while at < block.size() {
        let extent = block.status(at..block.size()).unwrap();
        found.push((at, extent.length, extent.data, extent.zero));
        at += extent.length;
    }
    let expected = [
        (0, 4096, true, false),
        (4096, 4096, false, true),
        (8192, 4096, false, true),
        (12_288, 4096, false, true),
        (16_384, 512, true, true),
        (16_896, (1 << 20) - 16_896, false, true),
        (1 << 20, 4096, true, false),
        ((1 << 20) + 4096, (1 << 20) - 4096, false, true),
    ];
    assert_eq!(found, expected);
    assert_eq!(block.status(5000..6000).unwrap().length, 1000);
    for bad in [
        "1",
        "x 4k",
        "0 4k what",
        "0 4k 1 1",
        "0 8k\n4k 4k",
        "-1 4",
        "8E 4k",
        "9223372036854775807 9223372036854775807\n0 4",
    ] {
        let parsed = ExtentList::parse(bad, "list");
        assert!(parsed.is_err() || bad.starts_with("9223"), "{bad}");
    }
}

#[test]
fn the_last_extent_is_remembered_until_something_changes() {
    let memory = Arc::new(crate::storage::Memory::new(1 << 20));
    let block = CacheExtents::new(memory.clone());
    assert!(block.status(0..65_536).unwrap().zero);
    memory.write_at(&[1; 65_536], 0).unwrap();
    assert!(block.status(100..65_536).unwrap().zero, "nobody asked again");
    block.write_at(&[1], 70_000).unwrap();
    let extent = block.status(100..65_536).unwrap();
    assert_eq!((extent.zero, extent.length), (false, 65_436));
    model::crowd(&block);
}
