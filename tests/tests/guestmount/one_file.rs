//! One file that is worked on at random, held against a model of it in memory.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Advice, FallocateFlags};
use rustix::mm::{MapFlags, MsyncFlags, ProtFlags};
use system_tests::random::Random;

/// The file is never longer.
const LIMIT: u64 = 700_000;

/// Works on a new file; what must be in it at the end.
pub(crate) fn work(path: &Path, random: &mut Random, steps: usize) -> Vec<u8> {
    let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap();
    let (mut file, mut model) = (open(), Vec::<u8>::new());
    for number in 0..steps {
        let what = random.below(12);
        let size = model.len() as u64;
        let (at, bits) = (random.below(LIMIT), 4 + random.below(14));
        let length = 1 + random.below(1 << bits);
        let end = (at + length).min(LIMIT);
        match what {
            0..=2 => {
                let bytes: Vec<u8> = (at..end).map(|byte| (byte as usize * 7 + number) as u8).collect();
                file.write_all_at(&bytes, at).unwrap();
                grow(&mut model, end);
                model[at as usize..end as usize].copy_from_slice(&bytes);
            }
            3 => {
                file.set_len(at).unwrap();
                model.resize(at as usize, 0);
            }
            4 => {
                rustix::fs::fallocate(&file, FallocateFlags::empty(), at, end - at).unwrap();
                grow(&mut model, end);
            }
            5 => {
                let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                rustix::fs::fallocate(&file, punch, at, end - at).unwrap();
                clear(&mut model, at, end);
            }
            6 => {
                rustix::fs::fallocate(&file, FallocateFlags::ZERO_RANGE, at, end - at).unwrap();
                grow(&mut model, end);
                clear(&mut model, at, end);
            }
            7 if size > 0 => {
                let byte = number as u8;
                let from = at % size;
                let to = (from + length).min(size);
                mapped(&file, size as usize, |bytes| {
                    assert_same(bytes, &model, number);
                    bytes[from as usize..to as usize].fill(byte);
                });
                model[from as usize..to as usize].fill(byte);
            }
            8 => {
                rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).unwrap();
                file.sync_data().unwrap();
            }
            9 => {
                file.sync_all().unwrap();
                rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).unwrap();
                file = open();
            }
            10 if size > 0 => {
                let (from, mut to) = (at % size, random.below(LIMIT));
                let length = (end - at).min(size - from).min(LIMIT - to).min(from.abs_diff(to));
                let start = to as usize;
                let copied = rustix::fs::copy_file_range(
                    &file,
                    Some(&mut { from }),
                    &file,
                    Some(&mut to),
                    length as usize,
                );
                let bytes = model[from as usize..][..copied.unwrap()].to_vec();
                if !bytes.is_empty() {
                    grow(&mut model, (start + bytes.len()) as u64);
                    model[start..start + bytes.len()].copy_from_slice(&bytes);
                }
            }
            _ => {
                let mut bytes = vec![1; (end - at) as usize];
                let count = file.read_at(&mut bytes, at).unwrap();
                let there = model.get(at as usize..).unwrap_or_default();
                assert_same(&bytes[..count], &there[..there.len().min(bytes.len())], number);
            }
        }
        assert_eq!(file.metadata().unwrap().len(), model.len() as u64, "step {number}");
    }
    assert_same(&std::fs::read(path).unwrap(), &model, steps);
    model
}

fn grow(model: &mut Vec<u8>, end: u64) {
    model.resize(model.len().max(end as usize), 0);
}

fn clear(model: &mut [u8], at: u64, end: u64) {
    let end = model.len().min(end as usize);
    if let Some(bytes) = model.get_mut(at as usize..end) {
        bytes.fill(0);
    }
}

fn assert_same(got: &[u8], expected: &[u8], step: usize) {
    let differs = got.iter().zip(expected).position(|(got, expected)| got != expected);
    assert_eq!((got.len(), differs), (expected.len(), None), "step {step}");
}

/// Lets something be done with the file in memory, and sends it to the file.
fn mapped(file: &File, size: usize, work: impl FnOnce(&mut [u8])) {
    // SAFETY: a new mapping, which nothing else of this process knows; nobody else works on the file meanwhile.
    // It is as long as the file, and gone when this returns.
    unsafe {
        let flags = ProtFlags::READ | ProtFlags::WRITE;
        let start = rustix::mm::mmap(std::ptr::null_mut(), size, flags, MapFlags::SHARED, file, 0).unwrap();
        work(std::slice::from_raw_parts_mut(start.cast(), size));
        rustix::mm::msync(start, size, MsyncFlags::SYNC).unwrap();
        rustix::mm::munmap(start, size).unwrap();
    }
}
