//! How many calls there were, how long they took, and of which sizes: written to a file when all is over, in nbdkit's
//! form.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::around::{Around, Call, Kind, Outcome, Wrapped};
use super::blocks::lock;
use crate::block::Block;
use crate::error::{Error, Result};

/// Calls of a kind.
#[derive(Default)]
struct Count {
    calls: u64,
    bytes: u64,
    time: Duration,
    /// By the number of bits of their sizes.
    sizes: BTreeMap<u32, Size>,
}

/// Calls whose sizes have the same number of bits.
#[derive(Default, Clone)]
struct Size {
    calls: u64,
    bytes: u64,
    /// By the number of zero bits at the end of their offsets.
    alignments: BTreeMap<u32, u64>,
}

/// What was counted; several devices may share it. It is written at the end, when the last one is given up at the
/// latest.
pub struct Stats {
    file: Mutex<File>,
    threshold: u32,
    began: Instant,
    written: AtomicBool,
    counts: [Mutex<Count>; Kind::ALL.len()],
}

impl Stats {
    /// Opens the file, which is emptied unless to be `append`ed. The sizes of `threshold` percent of the calls
    /// are listed, the rest in one line; 0 lists none.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn new(path: &Path, append: bool, threshold: u32) -> Result<Self> {
        let mut options = File::options();
        options.create(true).append(append).write(true).truncate(!append);
        let file =
            options.open(path).map_err(|source| Error::io("open", path.display().to_string(), source))?;
        let counts = Default::default();
        Ok(Stats {
            file: Mutex::new(file),
            threshold,
            began: Instant::now(),
            written: AtomicBool::new(false),
            counts,
        })
    }

    fn add(&self, call: &Call, time: Duration) {
        let Some(count) = self.counts.get(call.kind.index()) else { return };
        let mut count = lock(count);
        count.calls += 1;
        count.bytes = count.bytes.saturating_add(call.count);
        count.time += time;
        if self.threshold > 0 && call.kind != Kind::Flush {
            let size = count.sizes.entry(call.count.checked_ilog2().unwrap_or(0)).or_default();
            size.calls += 1;
            size.bytes = size.bytes.saturating_add(call.count);
            *size.alignments.entry(call.offset.trailing_zeros()).or_default() += 1;
        }
    }

    /// The report, for a device that was in use for `total`.
    fn report(&self, total: Duration) -> String {
        let mut text = String::new();
        let (mut calls, mut bytes) = (0_u64, 0_u64);
        for kind in Kind::ALL {
            let count = lock(&self.counts[kind.index()]);
            // What is only fetched early is no work of the client's.
            calls += if kind == Kind::Cache { 0 } else { count.calls };
            if matches!(kind, Kind::Read | Kind::Write | Kind::Trim | Kind::Zero) {
                bytes = bytes.saturating_add(count.bytes);
            }
        }
        let seconds = total.as_secs_f64();
        let _ = writeln!(
            text,
            "total: {calls} ops, {seconds:.6} s, {}, {}",
            size(bytes as f64),
            rate(bytes, total)
        );
        for kind in Kind::ALL {
            let count = lock(&self.counts[kind.index()]);
            if count.calls > 0 {
                let seconds = count.time.as_secs_f64();
                let _ = writeln!(
                    text,
                    "{}: {} ops, {seconds:.6} s, {}, {} op, {} total",
                    name(kind),
                    count.calls,
                    size(count.bytes as f64),
                    rate(count.bytes, count.time),
                    rate(count.bytes, total)
                );
                self.sizes(&mut text, &count);
            }
        }
        text
    }

    /// The sizes that make up most of the calls, the most frequent first; then the rest.
    fn sizes(&self, text: &mut String, count: &Count) {
        if count.sizes.is_empty() {
            return;
        }
        text.push_str("  Request size and alignment breakdown:\n");
        let mut sizes: Vec<(u32, &Size)> = count.sizes.iter().map(|(&bits, size)| (bits, size)).collect();
        sizes.sort_by_key(|(_, size)| std::cmp::Reverse(size.calls));
        let (mut calls, mut bytes) = (0, 0_u64);
        let enough = |calls: u64, of: u64| calls * 100 >= of * u64::from(self.threshold);
        for (bits, of_size) in sizes {
            if enough(calls, count.calls) || of_size.calls < 2 {
                break;
            }
            calls += of_size.calls;
            bytes = bytes.saturating_add(of_size.bytes);
            let share = percent(of_size.calls, count.calls);
            let shown = size(of_size.bytes as f64);
            let _ = writeln!(text, "    {bits:2} bits: {share:>4}% ({} reqs, {shown} total)", of_size.calls);
            let mut aligned = of_size.calls;
            for (bits, &exactly) in &of_size.alignments {
                if aligned * 100 < of_size.calls * u64::from(100 - self.threshold.min(100)) {
                    break;
                }
                let share = percent(aligned, of_size.calls);
                let _ = writeln!(text, "        {bits:3} bit aligned: {share:>5}% ({aligned})");
                aligned -= exactly;
            }
        }
        if calls < count.calls {
            let (left, bytes) = (count.calls - calls, count.bytes.saturating_sub(bytes));
            let share = percent(left, count.calls);
            let _ =
                writeln!(text, "    other sizes: {share:>4}% ({left} reqs, {} total)", size(bytes as f64));
        }
        text.push('\n');
    }
}

impl Stats {
    /// Writes what was counted, unless that was done before.
    pub fn write(&self) {
        if !self.written.swap(true, Ordering::AcqRel) {
            let report = self.report(self.began.elapsed());
            let _ = lock(&self.file).write_all(report.as_bytes());
        }
    }
}

impl Drop for Stats {
    fn drop(&mut self) {
        self.write();
    }
}

fn percent(part: u64, of: u64) -> String {
    format!("{:.1}", part as f64 * 100.0 / of.max(1) as f64)
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Read => "read",
        Kind::Write => "write",
        Kind::Trim => "trim",
        Kind::Zero => "zero",
        Kind::Extents => "extents",
        Kind::Cache => "cache",
        Kind::Flush => "flush",
    }
}

/// Bytes, for people.
fn size(bytes: f64) -> String {
    for (unit, name) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        let unit = (1_u64 << unit) as f64;
        if bytes >= unit {
            return format!("{:.2} {name}", bytes / unit);
        }
    }
    format!("{bytes:.0} bytes")
}

fn rate(bytes: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    format!("{}/s", size(if seconds > 0.0 { bytes as f64 / seconds } else { 0.0 }))
}

struct Counted(Arc<Stats>);

impl Around for Counted {
    fn around<T: Outcome>(
        &self,
        below: &dyn Block,
        call: Call,
        run: &mut dyn FnMut(&dyn Block) -> Result<T>,
    ) -> Result<T> {
        let began = Instant::now();
        let done = run(below)?;
        self.0.add(&call, began.elapsed());
        Ok(done)
    }
}

/// Shows `below`, and counts.
pub fn stats(below: Arc<dyn Block>, stats: Arc<Stats>) -> Arc<dyn Block> {
    Arc::new(Wrapped::new(below, Counted(stats)))
}

#[cfg(test)]
#[path = "stats_test.rs"]
mod tests;
