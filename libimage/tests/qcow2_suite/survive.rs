//! What is asked of an image that a power cut left behind.
//!
//! It opens. A check finds it clean, finds leaks, or finds it marked as dirty. What it shows was there once and nothing
//! that was flushed is missing. After a repair it is clean, shows the same, and QEMU, which is asked about every
//! so many images, agrees.

use std::sync::Arc;

use libimage::format::qcow2::{Fix, OpenOptions, Qcow2};
use libimage::format::raw::Raw;
use libimage::{Block, Result};

use crate::states::{Effort, Recording, State};
use crate::tools::{Random, read_all, run};

/// The magic number of a qcow2 file.
const MAGIC: &[u8] = b"QFI\xfb";

/// What data files are called here.
pub(crate) const DATA_FILE: &str = "data.raw";

/// Nothing is repaired by opening it.
fn as_it_is() -> OpenOptions {
    OpenOptions { check: true, ..OpenOptions::default() }
}

/// Files with names by which they refer to each other. The last one is the image that is looked at.
#[derive(Clone)]
pub(crate) struct Files {
    pub(crate) names: &'static [&'static str],
    pub(crate) blocks: Vec<Arc<dyn Block>>,
}

impl Files {
    /// The image that is looked at, with all below it.
    pub(crate) fn open(&self) -> Result<Arc<Qcow2>> {
        self.image(self.blocks.len() - 1)
    }

    /// The image in one of the files.
    pub(crate) fn image(&self, index: usize) -> Result<Arc<Qcow2>> {
        self.image_with(index, OpenOptions::default())
    }

    fn image_with(&self, index: usize, options: OpenOptions) -> Result<Arc<Qcow2>> {
        let image = Qcow2::open(Arc::clone(&self.blocks[index]), options)?;
        if image.lacks_data_file() {
            image.set_data_file(Arc::clone(&self.blocks[self.find(&image.data_file_name()?.unwrap())]))?;
        }
        if let Some(name) = image.backing_file()? {
            let below = self.find(&name);
            let backing: Arc<dyn Block> = match image.backing_format()?.as_deref() {
                Some("raw") => Arc::new(Raw::new(Arc::clone(&self.blocks[below]))),
                _ => self.image_with(below, options)?,
            };
            image.set_backing(Some(backing));
        }
        Ok(Arc::new(image))
    }

    fn find(&self, name: &str) -> usize {
        let found = self.names.iter().position(|known| *known == name);
        found.unwrap_or_else(|| panic!("nothing was ever called {name}"))
    }
}

/// What can be seen of an image: the disk, snapshots and bitmaps, each under a name.
pub(crate) type View = Vec<(String, Vec<u8>)>;

pub(crate) fn view(image: &Arc<Qcow2>) -> View {
    let mut list = vec![("disk".to_owned(), read_all(&**image))];
    for snapshot in image.snapshots().unwrap() {
        let content = read_all(&image.open_snapshot(&snapshot.name).unwrap());
        list.push((format!("snapshot {}", snapshot.name), content));
    }
    for bitmap in image.bitmaps().unwrap() {
        let mut dirty = Vec::new();
        match image.bitmap(&bitmap.name) {
            _ if bitmap.in_use => dirty = b"inconsistent".to_vec(),
            Err(error) => panic!("bitmap {} cannot be read: {error}", bitmap.name),
            Ok(bits) => {
                let mut at = 0;
                while let Some(range) = bits.next_dirty(at) {
                    at = range.end;
                    dirty.extend(format!("{range:?} ").into_bytes());
                }
            }
        }
        list.push((format!("bitmap {} {}", bitmap.name, bitmap.auto), dirty));
    }
    list
}

/// How states are judged.
pub(crate) struct Judge<'a> {
    pub(crate) names: &'static [&'static str],
    /// What a check finds may be more than leaks without the image being marked: there is no mark in version 2,
    /// and what is damaged before it is repaired stays so until then.
    pub(crate) unmarked: bool,
    /// QEMU is asked about one state in so many.
    pub(crate) qemu: u64,
    /// Looks whether what the image shows is right.
    pub(crate) look: &'a dyn Fn(&Arc<Qcow2>, &State),
}

impl Judge<'_> {
    /// Judges the states that a power cut during the recording may leave. Returns how many.
    pub(crate) fn all(&self, recording: &Recording, effort: Effort, seed: u64) -> usize {
        let directory = tempfile::tempdir().unwrap();
        let (mut random, mut lots) = (Random::new(seed), Random::new(seed + 1));
        let count = recording.each_state(effort, &mut random, &mut |state| {
            let witness = lots.chance(self.qemu);
            if witness {
                self.save(state, directory.path());
            }
            let marked = self.one(state, seed);
            if witness {
                self.ask_qemu(state, marked, directory.path());
            }
        });
        println!("seed {seed}: {count} states");
        count
    }

    fn files(&self, state: &State) -> Files {
        let blocks = state.files.iter().map(|file| Arc::clone(file) as Arc<dyn Block>).collect();
        Files { names: self.names, blocks }
    }

    /// Judges one. Returns which images may have more than leaks.
    fn one(&self, state: &State, seed: u64) -> Vec<bool> {
        let what = format!("seed {seed}, {}", state.name);
        let files = self.files(state);
        let mut excused = vec![false; files.blocks.len()];
        for (index, excused) in excused.iter_mut().enumerate() {
            if !is_qcow2(&*files.blocks[index]) {
                continue;
            }
            let image = files.image_with(index, as_it_is()).unwrap_or_else(|error| panic!("{what}: {error}"));
            *excused = self.unmarked || image.info().unwrap().dirty;
            let report = image.check().unwrap();
            let sound = report.corruptions == 0 && report.check_errors == 0;
            assert!(sound || *excused, "{what}: {report:?}");
        }
        let before = {
            let image = files.image_with(files.blocks.len() - 1, as_it_is()).unwrap();
            (self.look)(&image, state);
            view(&image)
        };
        // Repairing gives everything back and changes nothing that can be read.
        for (index, block) in files.blocks.iter().enumerate() {
            if !is_qcow2(&**block) {
                continue;
            }
            let image = files.image(index).unwrap();
            let report = image.repair(Fix::All).unwrap();
            assert!(report.is_clean(), "{what}: {report:?}");
            let report = image.check().unwrap();
            assert!(report.is_clean() && !image.info().unwrap().dirty, "{what}, repaired: {report:?}");
        }
        let image = files.open().unwrap();
        assert!(view(&image) == before, "{what}: repairing changed what is seen");
        excused
    }

    fn save(&self, state: &State, directory: &std::path::Path) {
        for (file, name) in state.files.iter().zip(self.names) {
            std::fs::write(directory.join(name), read_all(&**file)).unwrap();
        }
    }

    fn ask_qemu(&self, state: &State, excused: Vec<bool>, directory: &std::path::Path) {
        for ((file, name), excused) in state.files.iter().zip(self.names).zip(excused) {
            if !is_qcow2(&**file) {
                continue;
            }
            let output = self.check(directory, name);
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            let sound = matches!(output.status.code(), Some(0 | 3));
            assert!(sound || excused, "{}: {name} as QEMU sees it: {text}", state.name);
        }
        // What was repaired here is sound for QEMU too.
        self.save(state, directory);
        for (file, name) in state.files.iter().zip(self.names) {
            if is_qcow2(&**file) {
                let output = self.check(directory, name);
                let text = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success(), "{}: {name}, repaired, as QEMU sees it: {text}", state.name);
            }
        }
    }

    fn check(&self, directory: &std::path::Path, name: &str) -> std::process::Output {
        let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
        let mut options = format!("driver=qcow2,file.filename={}", path(name));
        if self.names.contains(&DATA_FILE) {
            options += &format!(",data-file.driver=file,data-file.filename={}", path(DATA_FILE));
        }
        run("qemu-img", &["check", "--image-opts", &options])
    }
}

fn is_qcow2(block: &dyn Block) -> bool {
    let mut magic = [0; 4];
    block.read_at(&mut magic, 0).is_ok() && magic == *MAGIC
}
