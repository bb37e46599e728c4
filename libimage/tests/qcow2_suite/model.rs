//! Random operations on an image and on a vector of bytes must give the same, and QEMU must agree.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use libimage::format::qcow2::{CompressionType, CreateOptions, Fix, Qcow2};
use libimage::format::raw::Raw;
use libimage::storage::{FileOptions, FileStorage};
use libimage::{Block, Preallocation, Zero};

use crate::tools::{Random, assert_clean, assert_content, assert_same, open, read_all, storage};

#[derive(Clone)]
struct Setup {
    options: CreateOptions,
    /// Bytes of the backing file, if there is one.
    backing: Option<u64>,
    steps: u32,
    seed: u64,
    snapshots: bool,
}

struct World {
    path: PathBuf,
    backing: Option<(PathBuf, Vec<u8>)>,
    image: Option<Qcow2>,
    model: Vec<u8>,
    /// Name, content.
    snapshots: Vec<(String, Vec<u8>)>,
    random: Random,
    setup: Setup,
    named: u32,
}

impl World {
    fn new(dir: &Path, mut setup: Setup) -> Self {
        if setup.options.data_file.is_some() {
            setup.options.data_file = Some(dir.join("data.raw").to_str().unwrap().to_owned());
        }
        let mut random = Random::new(setup.seed);
        let path = dir.join("image.qcow2");
        let mut options = setup.options.clone();
        let mut model = vec![0; options.size as usize];
        let backing = setup.backing.map(|size| {
            let path = dir.join("backing.raw");
            let bytes = random.bytes(size as usize, false);
            std::fs::write(&path, &bytes).unwrap();
            options.backing_file = Some("backing.raw".to_owned());
            options.backing_format = Some("raw".to_owned());
            let shared = bytes.len().min(model.len());
            model[..shared].copy_from_slice(&bytes[..shared]);
            (path, bytes)
        });
        let file = Arc::new(FileStorage::create(&path).unwrap());
        let data = options.data_file.as_ref().map(|name| Arc::new(FileStorage::create(name).unwrap()) as _);
        let image = Qcow2::create_with_data(file, data, &options).unwrap();
        let mut world = World {
            path,
            backing,
            image: Some(image),
            model,
            snapshots: Vec::new(),
            random,
            setup,
            named: 0,
        };
        world.attach();
        world
    }

    fn attach(&mut self) {
        if let Some((path, _)) = &self.backing {
            let options = FileOptions { read_only: true, ..FileOptions::default() };
            let backing = Arc::new(Raw::new(Arc::new(storage(path, options))));
            self.image.as_ref().unwrap().set_backing(Some(backing));
        }
    }

    /// The image opened anew, with its data file.
    fn reopen(&self) -> Qcow2 {
        let image = open(&self.path).unwrap();
        assert_eq!(image.data_file_name().unwrap(), self.setup.options.data_file);
        image
    }

    fn image(&self) -> &Qcow2 {
        self.image.as_ref().unwrap()
    }

    fn span(&mut self) -> (u64, u64) {
        let size = self.model.len() as u64;
        let cluster = self.setup.options.cluster_size;
        let start = self.random.below(size);
        let longest = match self.random.below(4) {
            0 => 1,
            1 => cluster,
            2 => 4 * cluster,
            _ => 40 * cluster,
        };
        let length = (self.random.below(longest) + 1).min(size - start).min(1 << 20);
        match self.random.chance(3) {
            // Aligned ends are where the special cases are.
            true => {
                let start = start - start % cluster;
                let length = length.next_multiple_of(cluster).min(size - start);
                (start, length)
            }
            false => (start, length),
        }
    }

    fn step(&mut self) {
        let (start, length) = self.span();
        let range = start as usize..(start + length) as usize;
        let v3 = self.setup.options.version == 3;
        match self.random.below(if self.setup.snapshots { 23 } else { 20 }) {
            0..=7 => {
                let dull = self.random.chance(2);
                let bytes = self.random.bytes(length as usize, dull);
                self.image().write_at(&bytes, start).unwrap();
                self.model[range].copy_from_slice(&bytes);
            }
            8..=10 => {
                let how = if self.random.chance(2) { Zero::MayUnmap } else { Zero::KeepAllocated };
                self.image().write_zeroes(start..start + length, how).unwrap();
                self.model[range].fill(0);
            }
            11..=12 => {
                self.image().discard(start..start + length).unwrap();
                // What it reads as is known for whole clusters only: take what the image says, if allowed.
                let mut now = vec![0; length as usize];
                self.image().read_at(&mut now, start).unwrap();
                for (found, expected) in now.iter().zip(&mut self.model[range]) {
                    assert!(*found == 0 || found == expected, "a discard showed foreign bytes");
                    *expected = *found;
                }
            }
            13..=15 if self.setup.options.data_file.is_none() => {
                let cluster = self.setup.options.cluster_size;
                let start = start - start % cluster;
                let length = cluster.min(self.model.len() as u64 - start) as usize;
                let dull = !self.random.chance(5);
                let bytes = self.random.bytes(length, dull);
                self.image().write_compressed_data(start, &bytes).unwrap();
                self.model[start as usize..][..length].copy_from_slice(&bytes);
            }
            13..=16 => self.image().flush().unwrap(),
            17 => {
                self.image.take().unwrap().close().unwrap();
                self.image = Some(self.reopen());
                self.attach();
            }
            18 => {
                let mut part = vec![1; length as usize];
                self.image().read_at(&mut part, start).unwrap();
                assert_same(&part, &self.model[range], "read");
            }
            19 => {
                if v3 || self.snapshots.is_empty() {
                    let size = self.random.below(2 * self.setup.options.size / 512) * 512 + 512;
                    let how = match self.random.below(4) {
                        0 if (self.backing.is_none() || self.setup.options.extended_l2)
                            && size >= self.model.len() as u64 =>
                        {
                            Preallocation::Metadata
                        }
                        _ => Preallocation::Off,
                    };
                    self.image().resize(size, how).unwrap();
                    self.model.resize(size as usize, 0);
                }
            }
            20 => {
                if self.snapshots.len() < 4 {
                    self.named += 1;
                    let name = format!("snapshot-{}", self.named);
                    let made = self.image().create_snapshot(&name, Duration::from_secs(1_700_000_000));
                    match made {
                        Ok(_) => self.snapshots.push((name, self.model.clone())),
                        // Narrow counts cannot share a cluster once more.
                        Err(error) => assert!(error.to_string().contains("reference count"), "{error}"),
                    }
                }
            }
            21 => {
                let index = self.random.below(self.snapshots.len() as u64) as usize;
                if let Some((name, content)) = self.snapshots.get(index).cloned() {
                    let resized = content.len() != self.model.len();
                    match self.image().apply_snapshot(&name) {
                        Ok(()) => self.model = content,
                        Err(error) => assert!(
                            error.to_string().contains("reference count") || (!v3 && resized),
                            "{error}"
                        ),
                    }
                }
            }
            _ => {
                let index = self.random.below(self.snapshots.len() as u64) as usize;
                if index < self.snapshots.len() {
                    let (name, _) = self.snapshots.swap_remove(index);
                    self.image().delete_snapshot(&name).unwrap();
                }
            }
        }
    }

    /// Everybody agrees on what the image holds.
    fn verify(&mut self) {
        assert_same(&read_all(self.image()), &self.model, "the disk");
        let report = self.image().check().unwrap();
        assert!(report.is_clean(), "{report:?}");
        self.image.take().unwrap().close().unwrap();
        assert_clean(&self.path);
        assert_content(&self.path, &self.model);
        let image = Arc::new(self.reopen());
        self.image = None;
        for (name, content) in &self.snapshots {
            let view = image.open_snapshot(name).unwrap();
            if let Some((path, _)) = &self.backing {
                let options = FileOptions { read_only: true, ..FileOptions::default() };
                image.set_backing(Some(Arc::new(Raw::new(Arc::new(storage(path, options))))));
            }
            assert_same(&read_all(&view), content, name);
        }
        self.image = Arc::into_inner(image);
        self.attach();
        if let Some(name) = self.setup.options.data_file.as_ref().filter(|_| self.setup.options.data_file_raw)
        {
            assert_same(&std::fs::read(name).unwrap(), &self.model, "the raw data file");
        }
        // Space is bounded: each distinct state at most once, plus tables and slack for fragments.
        let states: u64 = self.snapshots.iter().map(|(_, content)| content.len() as u64).sum();
        let peak = 2 * self.setup.options.size;
        let bound = (states + 2 * peak) * 2 + (4 << 20);
        let size = std::fs::metadata(&self.path).unwrap().len();
        assert!(size < bound, "the file has grown to {size}");
    }
}

fn play(setup: Setup) {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), setup.clone());
    for step in 0..setup.steps {
        world.step();
        if step % 60 == 59 {
            world.verify();
        }
    }
    world.verify();
    let report = world.image().repair(Fix::All).unwrap();
    assert!(report.is_clean() && report.corruptions_fixed == 0 && report.leaks_fixed == 0, "{report:?}");
}

fn setup(version: u32, cluster_bits: u32, refcount_bits: u32, seed: u64) -> Setup {
    let cluster_size = 1u64 << cluster_bits;
    let size = (cluster_size * 50).clamp(300 << 10, 24 << 20) + 512 * 7;
    Setup {
        options: CreateOptions { version, cluster_size, refcount_bits, size, ..CreateOptions::default() },
        backing: None,
        steps: 240,
        seed,
        snapshots: true,
    }
}

#[test]
fn small_clusters() {
    for seed in 0..3 {
        play(setup(3, 9, 16, seed));
    }
}

#[test]
fn default_clusters() {
    for seed in 10..13 {
        play(setup(3, 16, 16, seed));
    }
}

#[test]
fn large_clusters() {
    play(Setup { steps: 120, ..setup(3, 21, 16, 20) });
}

#[test]
fn version_2() {
    for (seed, bits) in [(30, 9), (31, 12), (32, 16)] {
        play(setup(2, bits, 16, seed));
    }
}

#[test]
fn all_refcount_widths() {
    for (seed, width) in [(40, 1), (41, 2), (42, 4), (43, 8), (44, 32), (45, 64)] {
        play(setup(3, 9 + (seed as u32 % 4), width, seed));
    }
}

#[test]
fn backing_files_shorter_and_longer() {
    for (seed, bits, version, backing) in [
        (50, 9, 3, 100_000),
        (51, 12, 3, 4 << 20),
        (52, 16, 3, 1_000_000),
        (53, 12, 2, 200_000),
        (54, 16, 2, 8 << 20),
    ] {
        play(Setup { backing: Some(backing), ..setup(version, bits, 16, seed) });
    }
}

#[test]
fn zstd() {
    for (seed, bits) in [(60, 12), (61, 16)] {
        let mut setup = setup(3, bits, 16, seed);
        setup.options.compression = CompressionType::Zstd;
        play(setup);
    }
}

#[test]
fn subclusters() {
    for (seed, bits) in [(80, 14), (81, 15), (82, 16), (83, 18)] {
        let mut setup = setup(3, bits, 16, seed);
        setup.options.extended_l2 = true;
        play(setup);
    }
}

#[test]
fn subclusters_over_backing_files() {
    for (seed, bits, backing) in [(85, 14, 200_000), (86, 16, 1_000_000), (87, 14, 8 << 20)] {
        let mut setup = setup(3, bits, if seed == 86 { 2 } else { 16 }, seed);
        setup.options.extended_l2 = true;
        setup.options.preallocation = if seed == 85 { Preallocation::Metadata } else { Preallocation::Off };
        play(Setup { backing: Some(backing), ..setup });
    }
}

#[test]
fn data_files() {
    for (seed, bits, raw, extended) in [
        (90, 9, false, false),
        (91, 12, true, false),
        (92, 16, false, false),
        (93, 16, true, false),
        (94, 14, false, true),
        (95, 16, true, true),
    ] {
        let mut setup = Setup { snapshots: false, ..setup(3, bits, 16, seed) };
        setup.options.data_file = Some(String::new());
        setup.options.data_file_raw = raw;
        setup.options.extended_l2 = extended;
        play(setup.clone());
        if !raw {
            play(Setup { backing: Some(600_000), ..setup });
        }
    }
}

#[test]
fn lazy_refcounts() {
    let mut setup = setup(3, 12, 16, 70);
    setup.options.lazy_refcounts = true;
    play(setup);
}
