//! The power fails during a command that changes what an image is: snapshots, sizes, amendments, bitmaps, the backing
//! file, repairs. Afterwards it is what it was or what it should become.

use std::sync::Arc;
use std::time::Duration;

use libimage::filter::Trace;
use libimage::format::qcow2::{Amendment, CreateOptions, Fix, Qcow2};
use libimage::format::raw::Raw;
use libimage::job::copy::Manner;
use libimage::job::rebase::Rebase;
use libimage::job::{Silent, commit, rebase};
use libimage::storage::Memory;
use libimage::{Block, Preallocation, Result, Zero};

use crate::script::Allowed;
use crate::states::{Effort, Recording};
use crate::survive::{Files, Judge, View, view};
use crate::tools::{Random, read_all};

/// A command: it opens the files, does its work, and closes them.
type Command = Box<dyn Fn(&Files) -> Result<()>>;

/// Commands that are run one after the other, while the power may fail.
struct Story {
    names: &'static [&'static str],
    files: Vec<Arc<Memory>>,
    commands: Vec<Command>,
    /// What is seen is one of two whole states; otherwise each byte is of one of them.
    whole: bool,
    unmarked: bool,
}

/// What may be seen if the power fails after so many events.
struct Moment {
    events: usize,
    views: Vec<View>,
}

impl Story {
    fn judge(self, seed: u64, effort: Effort) -> usize {
        let before = self.files.iter().map(|file| read_all(&**file)).collect();
        let trace = Trace::new(Arc::new(Memory::new(0)));
        let traced = |(number, file): (usize, &Arc<Memory>)| {
            Arc::new(trace.beside(Arc::clone(file) as _, number)) as Arc<dyn Block>
        };
        let blocks = self.files.iter().enumerate().map(traced).collect();
        let files = Files { names: self.names, blocks };
        let plain =
            Files { names: self.names, blocks: self.files.iter().map(|f| Arc::clone(f) as _).collect() };
        let mut now = view(&plain.open().unwrap());
        let mut moments = vec![Moment { events: 0, views: vec![now.clone()] }];
        for (number, command) in self.commands.iter().enumerate() {
            let events = trace.len();
            command(&files).unwrap_or_else(|error| panic!("seed {seed}, command {number}: {error}"));
            let next = view(&plain.open().unwrap());
            moments.push(Moment { events, views: vec![now, next.clone()] });
            // Whatever a command did is there for good when it is over.
            moments.push(Moment { events: trace.len(), views: vec![next.clone()] });
            now = next;
        }
        let recording = Recording { before, events: trace.record_of_all() };
        let judge = Judge {
            names: self.names,
            unmarked: self.unmarked,
            qemu: 60,
            look: &|image, state| {
                let moment = moments.iter().rfind(|moment| moment.events <= state.events).unwrap();
                let what = format!("seed {seed}, {}", state.name);
                compare(&view(image), &moment.views, self.whole, &what);
            },
        };
        judge.all(&recording, effort, seed)
    }
}

fn compare(found: &View, allowed: &[View], whole: bool, what: &str) {
    let names = |view: &View| view.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    if allowed.contains(found) {
        return;
    }
    let known: Vec<_> = allowed.iter().map(names).collect();
    assert!(known.contains(&names(found)), "{what}: there are {:?} instead of {known:?}", names(found));
    for (index, (name, content)) in found.iter().enumerate() {
        let contents = allowed.iter().filter_map(|view| view.get(index).filter(|(other, _)| other == name));
        let contents: Vec<Vec<u8>> = contents.map(|(_, content)| content.clone()).collect();
        if name == "disk" && !whole {
            Allowed { values: contents }.check(content, what);
        } else {
            assert!(contents.contains(content), "{what}: {name} is neither old nor new");
        }
    }
}

fn effort() -> Effort {
    Effort::new(40, 12)
}

fn options(cluster_size: u64) -> CreateOptions {
    CreateOptions { cluster_size, size: cluster_size * 300, ..CreateOptions::default() }
}

/// Writes all kinds of clusters.
fn scribble(image: &Qcow2, random: &mut Random, times: u32) {
    let (size, cluster) = (image.size(), image.cluster_size());
    for _ in 0..times {
        let start = random.below(size);
        let length = (random.below(5 * cluster) + 1).min(size - start);
        match random.below(6) {
            0 => image.write_zeroes(start..start + length, Zero::MayUnmap).unwrap(),
            1 => image.write_zeroes(start..start + length, Zero::KeepAllocated).unwrap(),
            2 => {
                let start = start - start % cluster;
                let bytes = random.bytes(cluster.min(size - start) as usize, true);
                image.write_compressed_data(start, &bytes).unwrap();
            }
            _ => image.write_at(&random.bytes(length as usize, false), start).unwrap(),
        }
    }
}

/// An image with contents.
fn scribbled(options: &CreateOptions, seed: u64) -> Arc<Memory> {
    let memory = Arc::new(Memory::new(0));
    let image = Qcow2::create(Arc::clone(&memory) as _, options).unwrap();
    scribble(&image, &mut Random::new(seed), 40);
    image.close().unwrap();
    memory
}

/// A command that changes the image that is looked at.
fn on_image(action: impl Fn(&Qcow2) -> Result<()> + 'static) -> Command {
    Box::new(move |files| {
        let image = files.open()?;
        action(&image)?;
        Arc::into_inner(image).unwrap().close()
    })
}

fn write(seed: u64) -> Command {
    on_image(move |image| {
        let mut random = Random::new(seed);
        let start = random.below(image.size() / 2);
        image.write_at(&random.bytes((image.size() / 3) as usize, false), start)
    })
}

fn create(name: &'static str) -> Command {
    on_image(move |image| image.create_snapshot(name, Duration::from_secs(7)).map(drop))
}

fn alone(file: Arc<Memory>, commands: Vec<Command>) -> Story {
    Story { names: &["disk.qcow2"], files: vec![file], commands, whole: true, unmarked: false }
}

#[test]
fn power_cuts_while_snapshots_come_and_go() {
    for (seed, base) in
        [(1, options(512)), (2, options(4096)), (3, CreateOptions { version: 2, ..options(512) })]
    {
        let story =
            |commands| Story { unmarked: base.version < 3, ..alone(scribbled(&base, seed), commands) };
        let commands = vec![
            create("a"),
            write(5),
            create("b"),
            on_image(|image| image.apply_snapshot("a")),
            on_image(|image| image.delete_snapshot("a")),
            on_image(|image| image.apply_snapshot("b")),
            on_image(|image| image.delete_snapshot("b")),
        ];
        // Between commands that are one step each there are writes, whose bytes come one by one.
        let states = Story { whole: false, ..story(commands) }.judge(seed, effort());
        assert!(states > 200, "{states}");
        // What is not a write happens as a whole.
        let commands = vec![create("a"), on_image(|image| image.apply_snapshot("a")), create("b")];
        story(commands).judge(seed + 10, effort());
    }
}

#[test]
fn power_cuts_while_the_size_changes() {
    let resize = |size: u64| on_image(move |image| image.resize(size, Preallocation::Off));
    for (seed, cluster) in [(20, 512), (21, 4096)] {
        let commands = vec![resize(cluster * 1000), resize(cluster * 90), resize(cluster * 400), write(3)];
        let story = alone(scribbled(&options(cluster), seed), commands);
        Story { whole: false, ..story }.judge(seed, effort());
    }
    let with_snapshot = vec![create("a"), resize(512 * 70), on_image(|image| image.apply_snapshot("a"))];
    Story { whole: false, ..alone(scribbled(&options(512), 23), with_snapshot) }.judge(23, effort());
}

#[test]
fn power_cuts_while_options_are_amended() {
    let amend = |change: Amendment| -> Command {
        Box::new(move |files| Qcow2::amend(&files.blocks[0], None, &change))
    };
    let width = |bits| Amendment { refcount_bits: Some(bits), ..Amendment::default() };
    let version = |number| Amendment { version: Some(number), ..Amendment::default() };
    let lazy = |on| Amendment { lazy_refcounts: Some(on), ..Amendment::default() };
    for (seed, cluster) in [(30, 512), (31, 4096)] {
        let file = scribbled(&options(cluster), seed);
        let changes = [width(64), width(4), lazy(true), lazy(false), width(16), version(2), version(3)];
        let mut commands = vec![create("a"), write(9)];
        commands.extend(changes.map(amend));
        let story = alone(file, commands);
        let states = Story { whole: false, ..story }.judge(seed, effort());
        assert!(states > 100, "{states}");
    }
}

#[test]
fn power_cuts_while_bitmaps_change() {
    for (seed, cluster) in [(40, 512), (41, 4096)] {
        let file = scribbled(&options(cluster), seed);
        let commands = vec![
            on_image(|image| image.add_bitmap("one", Some(512), false)),
            on_image(|image| image.add_bitmap("two", Some(4096), false)),
            on_image(|image| {
                let mut bits = image.bitmap("one")?;
                bits.set(0..10_000);
                image.merge_bitmap("two", &bits)
            }),
            on_image(|image| image.enable_bitmap("one", true)),
            on_image(|image| image.enable_bitmap("one", false)),
            on_image(|image| image.clear_bitmap("two")),
            on_image(|image| image.remove_bitmap("one")),
            on_image(|image| image.remove_bitmap("two")),
        ];
        let states = alone(file, commands).judge(seed, effort());
        assert!(states > 100, "{states}");
    }
}

/// What a bitmap that can be used does not name has not changed.
#[test]
fn power_cuts_under_a_recording_bitmap() {
    for (seed, cluster) in [(50, 512), (51, 4096)] {
        let file = scribbled(&options(cluster), seed);
        let image = Qcow2::open(Arc::clone(&file) as _, Default::default()).unwrap();
        image.add_bitmap("on", Some(512), true).unwrap();
        image.close().unwrap();
        let then = read_all(&*Qcow2::open(Arc::clone(&file) as _, Default::default()).map(Arc::new).unwrap());
        let before = vec![read_all(&*file)];
        let trace = Arc::new(Trace::new(file));
        for round in 0..3 {
            let image = Qcow2::open(Arc::clone(&trace) as _, Default::default()).unwrap();
            let mut random = Random::new(seed + round);
            for _ in 0..6 {
                let start = random.below(image.size() - 3000);
                image.write_at(&random.bytes(3000, false), start).unwrap();
                image.flush().unwrap();
            }
            image.close().unwrap();
        }
        let recording = Recording { before, events: trace.record_of_all() };
        let judge = Judge {
            names: &["disk.qcow2"],
            unmarked: false,
            qemu: 60,
            look: &|image, state| {
                let listed = image.bitmaps().unwrap();
                assert!(listed.len() == 1 && listed[0].name == "on", "{}: {listed:?}", state.name);
                if listed[0].in_use {
                    return;
                }
                let bits = image.bitmap("on").unwrap();
                let mut clean = then.clone();
                let (mut now, mut at) = (read_all(&**image), 0);
                while let Some(range) = bits.next_dirty(at) {
                    at = range.end;
                    let range = range.start as usize..range.end as usize;
                    clean[range.clone()].fill(0);
                    now[range].fill(0);
                }
                assert!(clean == now, "{}: the bitmap missed a write", state.name);
            },
        };
        judge.all(&recording, effort(), seed);
    }
}

/// An upper image over `base`, with contents of its own.
fn over(base: &Arc<Memory>, name: &str, format: &str, options: &CreateOptions, seed: u64) -> Arc<Memory> {
    let memory = Arc::new(Memory::new(0));
    let options = CreateOptions {
        backing_file: Some(name.to_owned()),
        backing_format: Some(format.to_owned()),
        ..options.clone()
    };
    let image = Qcow2::create(Arc::clone(&memory) as _, &options).unwrap();
    let base = Arc::clone(base) as Arc<dyn Block>;
    let below: Arc<dyn Block> = match format {
        "raw" => Arc::new(Raw::new(base)),
        _ => Arc::new(Qcow2::open(base, Default::default()).unwrap()),
    };
    image.set_backing(Some(below));
    scribble(&image, &mut Random::new(seed), 25);
    image.close().unwrap();
    memory
}

#[test]
fn power_cuts_while_committing() {
    for (seed, below, above) in [(60, 512, 512), (61, 4096, 512), (62, 512, 4096)] {
        let size = 120 << 10;
        let base = scribbled(&CreateOptions { size, ..options(below) }, seed);
        let top = over(&base, "base", "qcow2", &CreateOptions { size, ..options(above) }, seed + 1);
        let commands: Vec<Command> = vec![Box::new(|files| {
            let (base, top) = (files.image(0)?, files.open()?);
            // What is below the image is written to, and not from two sides.
            top.set_backing(Some(Arc::clone(&base) as _));
            commit::commit(Arc::clone(&top) as _, &*base, None, 1, &Manner::plain(1), &Silent)?;
            top.make_empty()?;
            drop(Arc::into_inner(top).unwrap().close());
            Arc::into_inner(base).unwrap().close()
        })];
        let story = Story {
            names: &["base", "top.qcow2"],
            files: vec![base, top],
            commands,
            whole: true,
            unmarked: false,
        };
        let states = story.judge(seed, effort());
        assert!(states > 30, "{states}");
    }
}

#[test]
fn power_cuts_while_rebasing() {
    for (seed, compress, to_nothing) in [(70, false, false), (71, true, false), (72, false, true)] {
        let size = 120 << 10;
        let old = scribbled(&CreateOptions { size, ..options(512) }, seed);
        let new = Arc::new(Memory::from_bytes(&Random::new(seed).bytes(100 << 10, true)));
        let top = over(&old, "old", "qcow2", &CreateOptions { size, ..options(512) }, seed + 1);
        let commands: Vec<Command> = vec![Box::new(move |files| {
            let (old, top) = (files.image(0)?, files.open()?);
            let new = Raw::new(Arc::clone(&files.blocks[1]));
            let new = (!to_nothing).then_some(&new as &dyn Block);
            rebase::rebase(
                &Rebase { top: &top, old: Some(&*old), new, same_below: None, compress },
                1,
                &Silent,
            )?;
            match to_nothing {
                true => top.set_backing_name(None, None)?,
                false => top.set_backing_name(Some("new"), Some("raw"))?,
            }
            Arc::into_inner(top).unwrap().close()
        })];
        let story = Story {
            names: &["old", "new", "top.qcow2"],
            files: vec![old, new, top],
            commands,
            whole: true,
            unmarked: false,
        };
        let states = story.judge(seed, effort());
        assert!(states > 30, "{states}");
    }
}

/// A repair that is cut short has made nothing worse: it can be done again.
#[test]
fn power_cuts_while_repairing() {
    let mut states = 0;
    for seed in 80..104 {
        let file = scribbled(&options(512), seed);
        let image = Qcow2::open(Arc::clone(&file) as _, Default::default()).unwrap();
        image.create_snapshot("a", Duration::ZERO).unwrap();
        scribble(&image, &mut Random::new(seed), 10);
        image.close().unwrap();
        damage(&file, seed);
        if Qcow2::open(Arc::clone(&file) as _, Default::default()).unwrap().check().unwrap().is_clean() {
            continue;
        }
        let repair = on_image(|image| {
            let report = image.repair(Fix::All)?;
            assert!(report.corruptions_fixed + report.leaks_fixed > 0, "{report:?}");
            Ok(())
        });
        states += Story { unmarked: true, ..alone(file, vec![repair]) }.judge(seed, effort());
    }
    assert!(states > 100, "{states}");
}

/// Makes reference counts wrong: some bytes of the first refcount block, or all of it.
fn damage(file: &Memory, seed: u64) {
    let number = |at: u64| {
        let mut bytes = [0; 8];
        file.read_at(&mut bytes, at).unwrap();
        u64::from_be_bytes(bytes)
    };
    let block = number(number(48));
    let mut random = Random::new(seed);
    if random.chance(4) {
        return file.write_at(&[0; 512], block).unwrap();
    }
    for _ in 0..20 {
        let entry = 16 + random.below(200);
        file.write_at(&(random.below(4) as u16).to_be_bytes(), block + entry * 2).unwrap();
    }
}
