//! Changing versions and widths changes nothing else, also when it is interrupted.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use libimage::filter::{Event, Trace};
use libimage::format::qcow2::{Amendment, CreateOptions, OpenOptions, Qcow2};
use libimage::format::raw::Raw;
use libimage::storage::{FileOptions, FileStorage, Memory};
use libimage::{Block, Zero};

use crate::tools::{Random, assert_clean, assert_same, must, read_all, storage};

/// An image with everything that an amendment may stumble over, its contents, and that of its snapshot.
fn scribble(image: &Qcow2, random: &mut Random) -> (Vec<u8>, Vec<u8>) {
    let size = image.size();
    let change = |random: &mut Random| {
        for _ in 0..25 {
            let start = random.below(size);
            let length = (random.below(60_000) + 1).min(size - start);
            match random.below(4) {
                0 => image.write_zeroes(start..start + length, Zero::MayUnmap).unwrap(),
                1 => image.write_zeroes(start..start + length, Zero::KeepAllocated).unwrap(),
                _ => image.write_at(&random.bytes(length as usize, true), start).unwrap(),
            }
        }
        image.write_compressed_data(0, &random.bytes(image.cluster_size() as usize, true)).unwrap();
    };
    change(random);
    image.create_snapshot("s", Duration::ZERO).unwrap();
    let then = read_all(image);
    change(random);
    (read_all(image), then)
}

fn version(number: u32) -> Amendment {
    Amendment { version: Some(number), ..Amendment::default() }
}

fn width(bits: u32) -> Amendment {
    Amendment { refcount_bits: Some(bits), ..Amendment::default() }
}

#[test]
fn contents_survive_every_change() {
    let dir = tempfile::tempdir().unwrap();
    let backing = dir.path().join("b.raw");
    for (seed, cluster_size, backed) in [(1, 512, false), (2, 4096, true), (3, 512, true), (4, 65536, false)]
    {
        let mut random = Random::new(seed);
        std::fs::write(&backing, random.bytes(700_032, false)).unwrap();
        let options = FileOptions { read_only: true, ..FileOptions::default() };
        let below: Option<Arc<dyn Block>> =
            backed.then(|| Arc::new(Raw::new(Arc::new(storage(&backing, options)))) as _);
        let path = dir.path().join(format!("{seed}.qcow2"));
        let file: Arc<dyn Block> = Arc::new(FileStorage::create(&path).unwrap());
        let options = CreateOptions {
            cluster_size,
            size: 1 << 20,
            backing_file: backed.then(|| "b.raw".to_owned()),
            backing_format: backed.then(|| "raw".to_owned()),
            ..CreateOptions::default()
        };
        let image = Qcow2::create(Arc::clone(&file), &options).unwrap();
        image.set_backing(below.clone());
        let (now, then) = scribble(&image, &mut random);
        image.close().unwrap();
        let changes = [
            width(64),
            width(2),
            width(32),
            width(16),
            version(2),
            version(3),
            width(8),
            width(16),
            version(2),
        ];
        for change in changes {
            let what = format!("seed {seed}: {change:?}");
            Qcow2::amend(&file, below.clone(), &change).unwrap();
            let image = Arc::new(Qcow2::open(Arc::clone(&file), OpenOptions::default()).unwrap());
            image.set_backing(below.clone());
            assert_same(&read_all(&*image), &now, &what);
            assert_same(&read_all(&image.open_snapshot("s").unwrap()), &then, &what);
            let report = image.check().unwrap();
            assert!(report.is_clean(), "{what}: {report:?}");
        }
        drop(file);
        assert_clean(&path);
        let info = must("qemu-img", &["info", path.to_str().unwrap()]);
        assert!(info.contains("compat: 0.10"), "{info}");
        must("qemu-img", &["snapshot", "-a", "s", path.to_str().unwrap()]);
        crate::tools::assert_content(&path, &then);
        assert_clean(&path);
    }
}

/// The power fails at any write of an amendment: the image is as it was or as it should be.
#[test]
fn an_interrupted_amendment_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.qcow2");
    for (seed, change) in [(1, width(64)), (2, width(4)), (3, version(2))] {
        let mut random = Random::new(seed);
        let memory: Arc<dyn Block> = Arc::new(Memory::new(0));
        let options = CreateOptions { cluster_size: 512, size: 400 << 10, ..CreateOptions::default() };
        let image = Qcow2::create(Arc::clone(&memory), &options).unwrap();
        let (now, then) = scribble(&image, &mut random);
        image.close().unwrap();
        let before = read_all(&*memory);
        let trace = Arc::new(Trace::new(memory));
        let file: Arc<dyn Block> = Arc::clone(&trace) as _;
        Qcow2::amend(&file, None, &change).unwrap();
        drop(file);
        let events = trace.events();
        for count in (0..=events.len()).step_by(events.len() / 40 + 1).chain([events.len()]) {
            let what = format!("{change:?}, {count} of {} events", events.len());
            cut(&path, &before, &events[..count], &mut random);
            let output = crate::tools::run("qemu-img", &["check", "-f", "qcow2", path.to_str().unwrap()]);
            let messages = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(matches!(output.status.code(), Some(0 | 3)), "{what}: {messages}");
            let image = Arc::new(crate::tools::open(&path).unwrap());
            assert_same(&read_all(&*image), &now, &what);
            assert_same(&read_all(&image.open_snapshot("s").unwrap()), &then, &what);
        }
    }
}

/// Writes what is left when the power fails after these events: what was not flushed may be lost.
fn cut(path: &Path, before: &[u8], events: &[Event], random: &mut Random) {
    let file = Memory::from_bytes(before);
    let durable = events.iter().rposition(|event| *event == Event::Flush).map_or(0, |at| at + 1);
    for (index, event) in events.iter().enumerate() {
        if index < durable || matches!(event, Event::Resize(_)) || random.chance(2) {
            event.apply(&file).unwrap();
        }
    }
    std::fs::write(path, read_all(&file)).unwrap();
}
