//! Persistent bitmaps: what we record QEMU reads, and what QEMU records we read.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use libimage::format::qcow2::{CreateOptions, DirtyBits, Qcow2};
use libimage::storage::FileStorage;
use libimage::{Block, Preallocation, Zero};

use crate::tools::{Random, assert_clean, must, open, run, storage, with_data_file};

/// The dirty ranges of a bitmap as QEMU exports them.
fn as_qemu_reads(file: &str, name: &str) -> Vec<Range<u64>> {
    let map = format!("--map=qemu:dirty-bitmap:{name}");
    let server = ["[", "qemu-nbd", "-r", "-f", "qcow2", "-B", name, file, "]"];
    let mut args = vec![&map[..], "--json", "--"];
    args.extend(server);
    let text = must("nbdinfo", &args);
    let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
    let number = |row: &serde_json::Value, key: &str| row[key].as_u64().unwrap();
    let dirty = rows.as_array().unwrap().iter().filter(|row| number(row, "type") & 1 == 1);
    merged(dirty.map(|row| number(row, "offset")..number(row, "offset") + number(row, "length")))
}

fn ranges(bits: &DirtyBits) -> Vec<Range<u64>> {
    let mut at = 0;
    merged(std::iter::from_fn(|| {
        let range = bits.next_dirty(at)?;
        at = range.end;
        Some(range)
    }))
}

fn merged(list: impl Iterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut out: Vec<Range<u64>> = Vec::new();
    for range in list {
        match out.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => out.push(range),
        }
    }
    out
}

/// A bitmap as the plainest model has it.
#[derive(Clone)]
struct Model {
    granularity: u64,
    dirty: Vec<bool>,
    enabled: bool,
}

impl Model {
    fn new(size: u64, granularity: u64, enabled: bool) -> Self {
        Model { granularity, dirty: vec![false; size.div_ceil(granularity) as usize], enabled }
    }

    fn write(&mut self, range: Range<u64>) {
        if self.enabled && !range.is_empty() {
            let last = (range.end - 1) / self.granularity;
            (range.start / self.granularity..=last).for_each(|bit| self.dirty[bit as usize] = true);
        }
    }

    fn ranges(&self, size: u64) -> Vec<Range<u64>> {
        let bits = (0u64..).zip(&self.dirty).filter(|(_, dirty)| **dirty).map(|(bit, _)| bit);
        merged(bits.map(|bit| bit * self.granularity..((bit + 1) * self.granularity).min(size)))
    }
}

struct World {
    file: String,
    image: Option<Qcow2>,
    size: u64,
    bitmaps: Vec<(String, Model)>,
    random: Random,
    made: u32,
}

impl World {
    fn image(&self) -> &Qcow2 {
        self.image.as_ref().unwrap()
    }

    fn pick(&mut self) -> Option<usize> {
        let count = self.bitmaps.len() as u64;
        (count > 0).then(|| self.random.below(count) as usize)
    }

    fn wrote(&mut self, range: Range<u64>) {
        self.bitmaps.iter_mut().for_each(|(_, model)| model.write(range.clone()));
    }

    fn step(&mut self) {
        let start = self.random.below(self.size / 512) * 512;
        let length = (self.random.below(200_000) + 512).min(self.size - start);
        let range = start..start + length;
        match self.random.below(14) {
            0..=2 => {
                self.image().write_at(&vec![7; length as usize], start).unwrap();
                self.wrote(range);
            }
            3 => {
                self.image().write_zeroes(range.clone(), Zero::MayUnmap).unwrap();
                self.wrote(range);
            }
            4 => {
                self.image().discard(range.clone()).unwrap();
                self.wrote(range);
            }
            5 => {
                let cluster = self.image().cluster_size();
                let start = start - start % cluster;
                let length = cluster.min(self.size - start);
                self.image().write_compressed_data(start, &vec![5; length as usize]).unwrap();
                self.wrote(start..start + length);
            }
            6 => self.reopen(),
            7 => self.image().flush().unwrap(),
            8 if self.bitmaps.len() < 6 => {
                self.made += 1;
                let (name, enabled) = (format!("b{}", self.made), self.random.chance(2));
                let granularity = 512 << self.random.below(12);
                self.image().add_bitmap(&name, Some(granularity), enabled).unwrap();
                self.bitmaps.push((name, Model::new(self.size, granularity, enabled)));
            }
            9 => {
                if let Some(index) = self.pick() {
                    let enabled = self.random.chance(2);
                    self.image().enable_bitmap(&self.bitmaps[index].0, enabled).unwrap();
                    self.bitmaps[index].1.enabled = enabled;
                }
            }
            10 => {
                if let (Some(to), Some(from)) = (self.pick(), self.pick()) {
                    let bits = self.image().bitmap(&self.bitmaps[from].0).unwrap();
                    self.image().merge_bitmap(&self.bitmaps[to].0, &bits).unwrap();
                    let dirty = self.bitmaps[from].1.ranges(self.size);
                    let model = &mut self.bitmaps[to].1;
                    let enabled = std::mem::replace(&mut model.enabled, true);
                    dirty.into_iter().for_each(|range| model.write(range));
                    model.enabled = enabled;
                }
            }
            11 => {
                if let Some(index) = self.pick().filter(|_| self.random.chance(3)) {
                    self.image().clear_bitmap(&self.bitmaps[index].0).unwrap();
                    self.bitmaps[index].1.dirty.fill(false);
                }
            }
            12 => {
                if let Some(index) = self.pick().filter(|_| self.random.chance(4)) {
                    let (name, _) = self.bitmaps.remove(index);
                    self.image().remove_bitmap(&name).unwrap();
                }
            }
            _ => {
                let size = (self.random.below(40) + 1) * 300_032;
                self.image().resize(size, Preallocation::Off).unwrap();
                self.size = size;
                for (_, model) in &mut self.bitmaps {
                    model.dirty.resize(size.div_ceil(model.granularity) as usize, false);
                }
            }
        }
    }

    fn reopen(&mut self) {
        self.image.take().unwrap().close().unwrap();
        assert_clean(Path::new(&self.file));
        let info = must("qemu-img", &["info", "--output=json", &self.file]);
        let info: serde_json::Value = serde_json::from_str(&info).unwrap();
        let listed = info["format-specific"]["data"]["bitmaps"].as_array().cloned().unwrap_or_default();
        assert_eq!(listed.len(), self.bitmaps.len());
        for (entry, (name, model)) in listed.iter().zip(&self.bitmaps) {
            assert_eq!(entry["name"].as_str(), Some(&name[..]));
            assert_eq!(entry["granularity"].as_u64(), Some(model.granularity));
            let flags = if model.enabled { serde_json::json!(["auto"]) } else { serde_json::json!([]) };
            assert_eq!(entry["flags"], flags, "{name}");
            if !model.enabled || self.random.chance(3) {
                assert_eq!(
                    as_qemu_reads(&self.file, name),
                    model.ranges(self.size),
                    "{name} as QEMU reads it"
                );
            }
        }
        // QEMU writes in turn.
        let start = self.random.below(self.size / 512) * 512;
        let length = (self.random.below(100) * 512 + 512).min(self.size - start);
        must("qemu-io", &["-f", "qcow2", "-c", &format!("write -P 3 {start} {length}"), &self.file]);
        self.wrote(start..start + length);
        let image = open(Path::new(&self.file)).unwrap();
        for (name, model) in &self.bitmaps {
            assert_eq!(ranges(&image.bitmap(name).unwrap()), model.ranges(self.size), "{name}");
        }
        assert!(image.check().unwrap().is_clean());
        self.image = Some(image);
    }
}

#[test]
fn bitmaps_say_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    for (seed, cluster_size, extended_l2) in [(1, 512, false), (2, 4096, false), (3, 65536, true)] {
        let path = dir.path().join(format!("{seed}.qcow2"));
        let options = CreateOptions { cluster_size, extended_l2, size: 5 << 20, ..CreateOptions::default() };
        let image = Qcow2::create(Arc::new(FileStorage::create(&path).unwrap()), &options).unwrap();
        let mut world = World {
            file: path.to_str().unwrap().to_owned(),
            image: Some(image),
            size: 5 << 20,
            bitmaps: Vec::new(),
            random: Random::new(seed),
            made: 0,
        };
        for _ in 0..150 {
            world.step();
        }
        world.reopen();
        world.image.take().unwrap().close().unwrap();
    }
}

/// A bitmap whose image was not closed may be removed, and nothing else.
#[test]
fn an_interrupted_recording_is_not_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("a.qcow2"), dir.path().join("crashed.qcow2"));
    let (file, crashed) = (path.to_str().unwrap(), copy.to_str().unwrap());
    must("qemu-img", &["create", "-q", "-f", "qcow2", file, "16M"]);
    must("qemu-img", &["bitmap", "--add", file, "on"]);
    must("qemu-img", &["bitmap", "--add", "--disable", file, "off"]);
    let image = open(&path).unwrap();
    image.write_at(&[1; 70_000], 1 << 20).unwrap();
    image.flush().unwrap();
    std::fs::copy(&path, &copy).unwrap();
    image.close().unwrap();
    assert_eq!(as_qemu_reads(file, "on"), vec![1 << 20..(1 << 20) + 131_072]);
    assert_clean(&path);

    assert_clean(&copy);
    let info = must("qemu-img", &["info", crashed]);
    assert!(info.contains("in-use"), "{info}");
    let image = open(&copy).unwrap();
    let on =
        |image: &Qcow2| image.bitmaps().unwrap().iter().find(|bitmap| bitmap.name == "on").unwrap().in_use;
    assert!(on(&image));
    for refused in [
        image.clear_bitmap("on"),
        image.enable_bitmap("on", false),
        image.merge_bitmap("on", &image.bitmap("off").unwrap()),
        image.bitmap("on").map(drop),
        image.resize(32 << 20, Preallocation::Off),
    ] {
        assert!(refused.unwrap_err().to_string().contains("is inconsistent and cannot be used"));
    }
    // The other one was not recording, and is as good as before.
    assert_eq!(image.bitmap("off").unwrap().dirty_bytes(), 0);
    image.write_at(&[2; 512], 0).unwrap();
    image.remove_bitmap("on").unwrap();
    image.resize(32 << 20, Preallocation::Off).unwrap();
    image.close().unwrap();
    assert_clean(&copy);
    assert_eq!(as_qemu_reads(crashed, "off"), Vec::<Range<u64>>::new());
    // A snapshot cannot be applied while there are bitmaps.
    let image = open(&copy).unwrap();
    image.create_snapshot("s", std::time::Duration::ZERO).unwrap();
    assert!(image.apply_snapshot("s").unwrap_err().to_string().contains("active dirty bitmaps"));
    image.close().unwrap();
    assert_clean(&copy);
}

/// Whatever becomes of a directory, nothing panics or grows, and data can still be read.
#[test]
fn damaged_directories_are_survived() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.qcow2");
    let file = path.to_str().unwrap();
    must("qemu-img", &["create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", file, "4M"]);
    must("qemu-img", &["bitmap", "--add", "-g", "512", file, "one"]);
    must("qemu-img", &["bitmap", "--add", "--disable", file, "two"]);
    run("qemu-io", &["-f", "qcow2", "-c", "write -P 3 1M 2M", file]);
    let bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(4).position(|four| four == 0x2385_2875u32.to_be_bytes()).unwrap();
    let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let directory = number(at + 24);
    let table = number(directory);
    let mut random = Random::new(5);
    for _ in 0..300 {
        let mut bad = bytes.clone();
        let (base, length) = match random.below(3) {
            0 => (at + 8, 24),
            1 => (directory, 64),
            _ => (table, 16),
        };
        let place = base + random.below(length) as usize;
        bad[place] = if random.chance(2) { random.next() as u8 } else { bad[place] ^ 1 << random.below(8) };
        std::fs::write(&path, &bad).unwrap();
        let Ok(image) = with_data_file(&path, Default::default()) else { continue };
        let mut buf = [0; 4096];
        image.read_at(&mut buf, 1 << 20).unwrap();
        assert!(buf.iter().all(|&byte| byte == 3));
        let _ = image.info();
        for name in ["one", "two"] {
            let _ = image.bitmap(name);
            let _ = image.clear_bitmap(name);
        }
        let _ = image.add_bitmap("three", None, true);
        let _ = image.write_at(&[9; 4096], 0);
        let _ = image.remove_bitmap("one");
        let _ = image.check();
        drop(image);
        let file = storage(&path, Default::default());
        assert!(file.size() < 1 << 24, "a small image has grown large");
    }
}
