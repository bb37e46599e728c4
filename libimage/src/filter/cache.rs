//! A cache in a temporary file: blocks that were written, and perhaps those that were read, are kept near.
//!
//! A block is absent, or kept and equal to the one below (clean), or kept and newer (dirty). It changes its state
//! under its lock only, and whoever reads a kept block has its lock too, so it is not given up under the reader. A
//! dirty block becomes clean when what it holds was written below, before anybody flushes there.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::blocks::{BlockLocks, Piece, bytes_of, lock, pieces, whole};
use super::forward::forward;
use super::marks::Marks;
use super::recent::Recent;
use super::switch::Switch;
use super::temporary::Temporary;
use crate::block::{Block, Extent, Limits, Zero, check_range};
use crate::error::{Error, Result};

/// The smallest block, in bytes; and the usual one.
const MIN_BLOCK: u64 = 4096;
const DEFAULT_BLOCK: u64 = 64 * 1024;
/// Larger blocks would only be read in vain.
const MAX_BLOCK: u64 = 1 << 30;
/// Blocks that one request gives up at most when there are too many.
const EVICTED_AT_ONCE: usize = 8;

/// When writes reach what lies below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// When flushed.
    #[default]
    WriteBack,
    /// At once.
    WriteThrough,
    /// When the cache is full, or never.
    Unsafe,
}

/// How a cache behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// When writes reach what lies below.
    pub mode: Mode,
    /// Blocks that were only read are kept as well.
    pub keep_read: Switch,
    /// The smallest size of blocks, in bytes: a power of two, 4096 or more.
    pub min_block: u64,
    /// Bytes that are kept at most, more or less.
    pub max_size: Option<u64>,
    /// Percents of `max_size` at which blocks begin to be given up, and at which enough were.
    pub thresholds: Range<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            mode: Mode::default(),
            keep_read: Switch::Fixed(false),
            min_block: DEFAULT_BLOCK,
            max_size: None,
            thresholds: 80..95,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Absent,
    Clean,
    Dirty,
}

/// What is kept; several devices over the same bytes may share it.
pub struct Kept {
    file: Temporary,
    block: u64,
    options: Options,
    states: RwLock<Marks<State>>,
    locks: BlockLocks,
    /// The order in which blocks were used, where their number is limited.
    recent: Option<Mutex<Recent>>,
}

impl Kept {
    /// Keeps nothing yet.
    ///
    /// # Errors
    /// When the options make no sense, or there is no place for temporary files.
    pub fn new(options: Options) -> Result<Self> {
        let invalid = |text: &str| Err(Error::Invalid(text.to_owned()));
        if !options.min_block.is_power_of_two() || !(MIN_BLOCK..=MAX_BLOCK).contains(&options.min_block) {
            return invalid("cache-min-block-size is not a power of 2, or is too small or too large");
        }
        if options.thresholds.end == 0 {
            return invalid("cache-high-threshold must be greater than zero");
        }
        if options.thresholds.start == 0 {
            return invalid("cache-low-threshold must be greater than zero");
        }
        if options.thresholds.is_empty() {
            return invalid("cache-low-threshold must be less than cache-high-threshold");
        }
        if options.max_size.is_some_and(|size| size < MIN_BLOCK) {
            return invalid("cache-max-size is too small");
        }
        let file = Temporary::new()?;
        let block = options.min_block.max(file.block).next_power_of_two().min(MAX_BLOCK);
        let recent = options.max_size.map(|size| {
            let part =
                |percent: u32| (u128::from(size) * u128::from(percent) / 100 / u128::from(block)) as usize;
            Mutex::new(Recent::new(part(options.thresholds.start), part(options.thresholds.end)))
        });
        Ok(Kept { file, block, options, states: RwLock::new(Marks::new()), locks: BlockLocks::new(), recent })
    }

    fn run(&self, block: u64, end: u64) -> (State, u64) {
        self.states.read().unwrap_or_else(PoisonError::into_inner).run(block, end)
    }

    fn set(&self, blocks: Range<u64>, state: State) {
        self.states.write().unwrap_or_else(PoisonError::into_inner).set(blocks, state);
    }

    fn of(&self, block: u64) -> State {
        self.run(block, u64::MAX).0
    }

    fn used(&self, block: u64) {
        if let Some(recent) = &self.recent {
            lock(recent).used(block);
        }
    }
}

/// A device with its cache.
pub struct Cache {
    below: Arc<dyn Block>,
    kept: Arc<Kept>,
    size: u64,
}

impl Cache {
    /// Shows `below` through what is `kept` of it.
    pub fn new(below: Arc<dyn Block>, kept: Arc<Kept>) -> Self {
        let size = below.size();
        Cache { below, kept, size }
    }

    fn bytes(&self, block: u64) -> Range<u64> {
        bytes_of(&(block..block.saturating_add(1)), self.kept.block, self.size)
    }

    /// Reads a part of one block, keeping all of it if `keep`.
    fn read_piece(&self, piece: Piece, buf: &mut [u8], keep: bool) -> Result<()> {
        {
            let _lock = self.kept.locks.read(piece.block);
            if self.kept.of(piece.block) != State::Absent {
                self.kept.used(piece.block);
                return self.kept.file.read(buf, piece.start);
            }
            if !keep {
                return self.below.read_at(buf, piece.start);
            }
        }
        let _lock = self.kept.locks.write(piece.block);
        if self.kept.of(piece.block) == State::Absent {
            let bytes = self.bytes(piece.block);
            let mut all = vec![0; (bytes.end - bytes.start) as usize];
            self.below.read_at(&mut all, bytes.start)?;
            self.kept.file.write(&all, bytes.start)?;
            self.kept.set(piece.block..piece.block + 1, State::Clean);
        }
        self.kept.used(piece.block);
        self.kept.file.read(buf, piece.start)
    }

    fn write_piece(&self, piece: Piece, part: &[u8]) -> Result<()> {
        let kept = &*self.kept;
        let _lock = kept.locks.write(piece.block);
        let bytes = self.bytes(piece.block);
        let through = kept.options.mode == Mode::WriteThrough;
        let old = kept.of(piece.block);
        let is_whole = part.len() as u64 == bytes.end - bytes.start;
        if through {
            // Until both have it, nobody can say which of them is right.
            if old != State::Absent {
                kept.set(piece.block..piece.block + 1, State::Absent);
            }
            self.below.write_at(part, piece.start)?;
        }
        if old != State::Absent || is_whole {
            kept.file.write(part, piece.start)?;
        } else {
            let mut all = vec![0; (bytes.end - bytes.start) as usize];
            self.below.read_at(&mut all, bytes.start)?;
            let inside = (piece.start - bytes.start) as usize;
            if let Some(place) = all.get_mut(inside..inside + part.len()) {
                place.copy_from_slice(part);
            }
            kept.file.write(&all, bytes.start)?;
        }
        kept.set(piece.block..piece.block + 1, if through { State::Clean } else { State::Dirty });
        kept.used(piece.block);
        Ok(())
    }

    /// Writes a block below if it is dirty. The caller has its lock.
    fn clean(&self, block: u64) -> Result<()> {
        if self.kept.of(block) == State::Dirty {
            let bytes = self.bytes(block);
            let mut all = vec![0; (bytes.end - bytes.start) as usize];
            self.kept.file.read(&mut all, bytes.start)?;
            self.below.write_at(&all, bytes.start)?;
            self.kept.set(block..block + 1, State::Clean);
        }
        Ok(())
    }

    /// Gives up blocks that were not used for long, where there are too many.
    fn make_room(&self) -> Result<()> {
        let Some(recent) = &self.kept.recent else { return Ok(()) };
        for _ in 0..EVICTED_AT_ONCE {
            let Some(block) = lock(recent).take_oldest() else { break };
            let _lock = self.kept.locks.write(block);
            if let Err(error) = self.clean(block) {
                lock(recent).used(block);
                return Err(error);
            }
            self.kept.set(block..block + 1, State::Absent);
            self.kept.file.forget(self.bytes(block));
        }
        Ok(())
    }

    /// Writes all dirty blocks below.
    fn write_back(&self) -> Result<()> {
        let all = 0..self.size.div_ceil(self.kept.block);
        let dirty: Vec<Range<u64>> = {
            let states = self.kept.states.read().unwrap_or_else(PoisonError::into_inner);
            states.within(all).filter(|(_, state)| *state == State::Dirty).map(|(run, _)| run).collect()
        };
        for block in dirty.into_iter().flatten() {
            let _lock = self.kept.locks.write(block);
            self.clean(block)?;
        }
        Ok(())
    }

    /// Does something below with whole blocks, of which nothing is kept afterwards. It gets the dirty ones too.
    fn pass(&self, blocks: Range<u64>, act: impl Fn(Range<u64>, bool) -> Result<()>) -> Result<()> {
        if blocks.is_empty() {
            return Ok(());
        }
        let kept = &*self.kept;
        let _locks = kept.locks.write_all();
        let runs: Vec<(Range<u64>, State)> = {
            let states = kept.states.read().unwrap_or_else(PoisonError::into_inner);
            states.within(blocks.clone()).collect()
        };
        let bytes = |blocks: &Range<u64>| bytes_of(blocks, kept.block, self.size);
        let mut at = blocks.start;
        for (run, _) in runs.iter().filter(|(_, state)| *state == State::Dirty) {
            if at < run.start {
                act(bytes(&(at..run.start)), false)?;
            }
            act(bytes(run), true)?;
            at = run.end;
        }
        if at < blocks.end {
            act(bytes(&(at..blocks.end)), false)?;
        }
        kept.set(blocks, State::Absent);
        for (run, _) in runs {
            kept.file.forget(bytes(&run));
            if let Some(recent) = &kept.recent {
                lock(recent).forget(run);
            }
        }
        Ok(())
    }
}

impl Block for Cache {
    forward!(is_read_only, name, allocated_bytes);

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(self, offset, buf.len() as u64)?;
        let end = offset + buf.len() as u64;
        let keep = self.kept.options.keep_read.is_on();
        let (mut at, mut rest) = (offset, buf);
        while at < end {
            let block = at / self.kept.block;
            let (state, until) = self.kept.run(block, end.div_ceil(self.kept.block));
            if state == State::Absent && !keep {
                // Many at once; what is written meanwhile may be seen or not.
                let until = until.saturating_mul(self.kept.block).min(end);
                let Some((part, later)) = rest.split_at_mut_checked((until - at) as usize) else { break };
                self.below.read_at(part, at)?;
                (at, rest) = (until, later);
                continue;
            }
            let Some(piece) = pieces(at..end, self.kept.block).next() else { break };
            let Some((part, later)) = rest.split_at_mut_checked(piece.length) else { break };
            self.read_piece(piece, part, keep)?;
            self.make_room()?;
            (at, rest) = (piece.end(), later);
        }
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        check_range(self, offset, buf.len() as u64)?;
        if self.is_read_only() {
            return self.below.write_at(buf, offset);
        }
        let mut rest = buf;
        for piece in pieces(offset..offset + buf.len() as u64, self.kept.block) {
            let Some((part, later)) = rest.split_at_checked(piece.length) else { break };
            self.write_piece(piece, part)?;
            self.make_room()?;
            rest = later;
        }
        Ok(())
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> Result<()> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        if self.is_read_only() {
            return self.below.write_zeroes(range, how);
        }
        let blocks = whole(&range, self.kept.block, self.size);
        let inner = bytes_of(&blocks, self.kept.block, self.size);
        let edges =
            if blocks.is_empty() { [range, 0..0] } else { [range.start..inner.start, inner.end..range.end] };
        for piece in edges.into_iter().flat_map(|edge| pieces(edge, self.kept.block)) {
            self.write_piece(piece, &vec![0; piece.length])?;
            self.make_room()?;
        }
        self.pass(blocks, |bytes, _| self.below.write_zeroes(bytes, how))
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        if self.is_read_only() {
            return self.below.discard(range);
        }
        // What is older than a dirty block must not come back.
        self.pass(whole(&range, self.kept.block, self.size), |bytes, dirty| {
            if dirty { self.below.write_zeroes(bytes, Zero::MayUnmap) } else { self.below.discard(bytes) }
        })
    }

    fn prefetch(&self, range: Range<u64>) -> Result<()> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        for piece in pieces(range, self.kept.block) {
            if self.kept.of(piece.block) == State::Absent {
                self.read_piece(piece, &mut vec![0; piece.length], true)?;
                self.make_room()?;
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        if self.kept.options.mode == Mode::Unsafe {
            return Ok(());
        }
        self.write_back()?;
        self.below.flush()
    }

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        let block = self.kept.block;
        let (state, until) = self.kept.run(range.start / block, range.end.div_ceil(block));
        let until = until.saturating_mul(block).min(range.end);
        match state {
            State::Dirty => Ok(Extent { offset: None, ..Extent::data(until - range.start, 0) }),
            State::Absent | State::Clean => self.below.status(range.start..until),
        }
    }

    fn limits(&self) -> Limits {
        let preferred = u32::try_from(self.kept.block).unwrap_or(u32::MAX);
        let below = self.below.limits();
        Limits { alignment: 1, preferred, growable: false, zero_init: below.zero_init }
    }
}

impl Drop for Cache {
    /// A client that goes without a flush loses nothing if it can be helped.
    fn drop(&mut self) {
        if self.kept.options.mode == Mode::WriteBack && !self.below.is_read_only() {
            let _ = self.write_back();
        }
    }
}

#[cfg(test)]
#[path = "cache_test.rs"]
mod tests;
