//! All that a power cut may leave of recorded writes: every prefix, and what a disk may make of its end.
//!
//! A write is certain to be there once its file has been flushed. Until then it may be there, be lost, or be torn
//! between sectors, whatever becomes of the others. Few writes between two flushes are tried in all combinations;
//! of many, each is lost, kept or torn alone, pairs are lost, and the rest is chance.

use std::sync::Arc;

use libimage::Block;
use libimage::filter::Event;
use libimage::storage::Memory;

use crate::tools::{Random, read_all};

const SECTOR: usize = 512;
/// So many writes are tried in all combinations.
const EXHAUSTIVE: usize = 6;

/// What was written to one file or several, from where on.
pub(crate) struct Recording {
    /// What the files held.
    pub(crate) before: Vec<Vec<u8>>,
    /// What was done to which of them.
    pub(crate) events: Vec<(usize, Event)>,
}

/// What a power cut left.
pub(crate) struct State {
    pub(crate) files: Vec<Arc<Memory>>,
    /// So many events had happened, at least.
    pub(crate) events: usize,
    /// For messages.
    pub(crate) name: String,
}

/// How many states are looked at.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Random choices for each stretch between two flushes.
    pub(crate) random: usize,
    /// At most so many systematic choices for each.
    pub(crate) systematic: usize,
}

impl Effort {
    /// Multiplied by what the environment asks for: `DISKWRIGHT_SOAK=20` takes twenty times as long.
    pub(crate) fn new(systematic: usize, random: usize) -> Self {
        let times: usize =
            std::env::var("DISKWRIGHT_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(1).max(1);
        Effort { random: random * times, systematic: systematic * times }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Lost,
    /// The first so many sectors are there.
    Torn(usize),
    /// All but the first so many.
    Headless(usize),
}

impl Recording {
    /// Shows states to `visit`. Returns how many.
    pub(crate) fn each_state(
        &self,
        effort: Effort,
        random: &mut Random,
        visit: &mut dyn FnMut(&State),
    ) -> usize {
        let durable: Vec<Memory> = self.before.iter().map(|bytes| Memory::from_bytes(bytes)).collect();
        let mut pending: Vec<usize> = Vec::new();
        let (mut count, mut floor) = (0, 0);
        for (at, (file, event)) in self.events.iter().enumerate() {
            if *event != Event::Flush {
                pending.push(at);
                continue;
            }
            if pending.iter().any(|&index| self.events[index].0 == *file) {
                count += self.stretch(&durable, &pending, floor, effort, random, visit);
            }
            floor = at + 1;
            for &index in &pending {
                if self.events[index].0 == *file {
                    self.events[index].1.apply(&durable[*file]).unwrap();
                }
            }
            pending.retain(|&index| self.events[index].0 != *file);
        }
        count + self.stretch(&durable, &pending, floor, effort, random, visit)
    }

    /// States in which the power fails while these writes are pending, after so many events.
    fn stretch(
        &self,
        durable: &[Memory],
        pending: &[usize],
        floor: usize,
        effort: Effort,
        random: &mut Random,
        visit: &mut dyn FnMut(&State),
    ) -> usize {
        let mut choices = self.choices(pending, effort, random);
        choices.sort_by_key(|fates| fates.iter().map(|fate| fate.key()).collect::<Vec<_>>());
        choices.dedup_by(|a, b| a == b);
        for fates in &choices {
            let state = self.state(durable, pending, floor, fates);
            visit(&state);
        }
        choices.len()
    }

    fn choices(&self, pending: &[usize], effort: Effort, random: &mut Random) -> Vec<Vec<Fate>> {
        let all = pending.len();
        let mut choices = vec![vec![Fate::Kept; all]];
        if all <= EXHAUSTIVE {
            for bits in 0..1usize << all {
                let fate = |at| if bits >> at & 1 == 0 { Fate::Kept } else { Fate::Lost };
                choices.push((0..all).map(fate).collect());
            }
        } else {
            let mut systematic: Vec<Vec<Fate>> = Vec::new();
            for at in 0..all {
                let (mut lost, mut alone) = (vec![Fate::Kept; all], vec![Fate::Lost; all]);
                lost[at] = Fate::Lost;
                alone[at] = Fate::Kept;
                let prefix = (0..all).map(|i| if i < at { Fate::Kept } else { Fate::Lost }).collect();
                systematic.extend([lost, alone, prefix]);
                for other in at + 1..all {
                    let mut pair = vec![Fate::Kept; all];
                    (pair[at], pair[other]) = (Fate::Lost, Fate::Lost);
                    systematic.push(pair);
                }
            }
            thin(&mut systematic, effort.systematic, random);
            choices.extend(systematic);
        }
        let mut torn = Vec::new();
        for (at, &index) in pending.iter().enumerate() {
            for fate in tears(&self.events[index].1) {
                let (mut kept, mut alone) = (vec![Fate::Kept; all], vec![Fate::Lost; all]);
                (kept[at], alone[at]) = (fate, fate);
                torn.extend([kept, alone]);
            }
        }
        thin(&mut torn, effort.systematic / 2, random);
        choices.extend(torn);
        for _ in 0..if all > 1 { effort.random } else { 0 } {
            let likely = random.below(4) + 2;
            let fates = pending.iter().map(|&index| match random.chance(likely) {
                true => Fate::Lost,
                false => match tears(&self.events[index].1) {
                    tears if !tears.is_empty() && random.chance(3) => {
                        tears[random.below(tears.len() as u64) as usize]
                    }
                    _ => Fate::Kept,
                },
            });
            choices.push(fates.collect());
        }
        choices
    }

    fn state(&self, durable: &[Memory], pending: &[usize], floor: usize, fates: &[Fate]) -> State {
        let files: Vec<Arc<Memory>> =
            durable.iter().map(|file| Arc::new(Memory::from_bytes(&read_all(file)))).collect();
        // What comes later in the record than anything that is left may not have happened.
        let last = pending.iter().zip(fates).rfind(|(_, fate)| **fate != Fate::Lost).map(|(&index, _)| index);
        let mut lost = String::new();
        for (&index, &fate) in pending.iter().zip(fates) {
            let (number, event) = &self.events[index];
            let file = &*files[*number];
            match (event, fate) {
                // A file system puts changes of a file's length in order by itself.
                (Event::Resize(_), _) if last.is_some_and(|last| index < last) => event.apply(file).unwrap(),
                (_, Fate::Kept) => event.apply(file).unwrap(),
                (_, Fate::Lost) => lost += &format!(" -{index}"),
                (Event::Write { offset, bytes }, Fate::Torn(sectors)) => {
                    file.write_at(&bytes[..sectors * SECTOR], *offset).unwrap();
                    lost += &format!(" {index}[..{sectors}]");
                }
                (Event::Write { offset, bytes }, Fate::Headless(sectors)) => {
                    file.write_at(&bytes[sectors * SECTOR..], *offset + (sectors * SECTOR) as u64).unwrap();
                    lost += &format!(" {index}[{sectors}..]");
                }
                _ => {}
            }
        }
        let events = last.map_or(floor, |last| floor.max(last + 1));
        let name = format!("cut within {floor}..{events} of {}, without{lost}", self.events.len());
        State { files, events, name }
    }
}

impl Fate {
    fn key(self) -> (u8, usize) {
        match self {
            Fate::Kept => (0, 0),
            Fate::Lost => (1, 0),
            Fate::Torn(at) => (2, at),
            Fate::Headless(at) => (3, at),
        }
    }
}

/// The ways in which a write can be torn that are looked at.
fn tears(event: &Event) -> Vec<Fate> {
    let Event::Write { offset, bytes } = event else { return Vec::new() };
    let sectors = bytes.len() / SECTOR;
    if sectors < 2 || offset % SECTOR as u64 != 0 {
        return Vec::new();
    }
    let middle = sectors / 2;
    let mut list = vec![Fate::Torn(1), Fate::Torn(sectors - 1), Fate::Torn(middle), Fate::Headless(middle)];
    list.dedup();
    list
}

/// Leaves a random part of a list.
fn thin<T>(list: &mut Vec<T>, most: usize, random: &mut Random) {
    while list.len() > most {
        let at = random.below(list.len() as u64) as usize;
        list.swap_remove(at);
    }
}

#[test]
fn small_records_are_tried_in_all_combinations() {
    let write = |offset: u64| (0, Event::Write { offset, bytes: vec![1; 10] });
    let events = vec![write(0), write(10), (0, Event::Flush), write(20)];
    let recording = Recording { before: vec![vec![0; 30]], events };
    let mut seen = Vec::new();
    let count =
        recording.each_state(Effort { random: 0, systematic: 0 }, &mut Random::new(1), &mut |state| {
            let bytes = read_all(&*state.files[0]);
            seen.push((bytes[0], bytes[10], bytes[20]));
            assert!(state.files[0].size() == 30 && state.events <= 4);
        });
    seen.sort_unstable();
    assert_eq!(seen, [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0), (1, 1, 0), (1, 1, 1)]);
    assert_eq!(count, 6);
    // Growth by a change of length is kept if anything after it is.
    let events = vec![(0, Event::Resize(100)), write(0)];
    let recording = Recording { before: vec![vec![0; 30]], events };
    let mut sizes = Vec::new();
    recording.each_state(Effort { random: 0, systematic: 0 }, &mut Random::new(1), &mut |state| {
        sizes.push(state.files[0].size());
    });
    sizes.sort_unstable();
    assert_eq!(sizes, [30, 100, 100, 100]);
}
