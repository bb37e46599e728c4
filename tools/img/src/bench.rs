//! `img bench`: how fast requests to an image are served, with as many of them at once as are asked for.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use libimage::open::{CacheMode, OpenOptions};
use libimage::{Block, Error};

use crate::arguments::{Command, FORCE_SHARE, FORMAT, HELP, IMAGE_OPTS, OBJECT, Output, QUIET, Usage, Words};
use crate::image::Source;
use crate::options::size_argument;
use crate::text;
use cli::getopt::{Name, opt, ours};

pub(crate) const COMMAND: Command = Command {
    name: "bench",
    about: "Run simple image benchmark",
    operands: "FILENAME",
    options: &[
        HELP,
        QUIET,
        ours("output", "human|json", "how to print (default human)"),
        FORMAT,
        IMAGE_OPTS,
        opt('t', "cache", "MODE", "cache mode of the image (default writeback)"),
        opt('c', "count", "COUNT", "number of requests (default 75000)"),
        opt('s', "buffer-size", "SIZE", "size of a request (default 4k)"),
        opt('d', "depth", "DEPTH", "requests at the same time (default 64)"),
        opt('o', "offset", "OFFSET", "where the first request begins"),
        opt('S', "step-size", "SIZE", "how far the next request is from the last (default: its size)"),
        opt('i', "aio", "AIO", "how QEMU would wait: threads, native or io_uring"),
        opt('n', "native", "", "the same as -i native"),
        opt('w', "write", "", "write instead of reading"),
        opt('\0', "pattern", "BYTE", "what is written (default 0)"),
        opt('\0', "flush-interval", "COUNT", "flush after so many requests"),
        opt('\0', "no-drain", "", "go on with requests while flushing"),
        FORCE_SHARE,
        OBJECT,
    ],
    run,
};

/// Threads that wait for requests: deeper queues than this gain nothing.
const MAX_THREADS: u64 = 256;

/// What is measured.
struct Plan {
    count: u64,
    depth: u64,
    size: u64,
    offset: u64,
    step: Option<u64>,
    write: bool,
    pattern: u8,
    flush_interval: u64,
    drain: bool,
    cache: CacheMode,
    native: bool,
}

impl Plan {
    fn set(&mut self, name: Name, value: &OsString) -> Result<()> {
        let number = |what, min, max| size_argument(what, &value.to_string_lossy(), min, max);
        let int = i32::MAX as u64;
        match name {
            Name::Letter('c') => self.count = number("request count", 1, int)?,
            Name::Letter('d') => self.depth = number("queue depth", 1, int)?,
            Name::Letter('o') => self.offset = number("offset", 0, i64::MAX as u64)?,
            Name::Letter('s') => self.size = number("buffer size", 1, int)?,
            Name::Letter('S') => self.step = Some(number("step size", 0, int)?),
            Name::Letter('i') => match value.to_str() {
                Some(aio @ ("threads" | "native" | "io_uring")) => self.native = aio == "native",
                _ => bail!("Invalid aio option: {}", value.display()),
            },
            Name::Letter('n') => self.native = true,
            Name::Letter('t') => {
                let mode = value.to_str().and_then(CacheMode::by_name);
                self.cache = mode.ok_or_else(|| anyhow!("Invalid cache mode"))?;
            }
            Name::Letter('w') => self.write = true,
            Name::Long("pattern") => self.pattern = number("pattern byte", 0, 0xff)? as u8,
            Name::Long("flush-interval") => self.flush_interval = number("flush interval", 0, int)?,
            Name::Long("no-drain") => self.drain = false,
            _ => {}
        }
        Ok(())
    }
}

fn run(words: Words) -> Result<ExitCode> {
    let (mut source, mut output) = (Source::default(), Output::Human);
    let mut plan = Plan {
        count: 75_000,
        depth: 64,
        size: 4096,
        offset: 0,
        step: None,
        write: false,
        pattern: 0,
        flush_interval: 0,
        drain: true,
        cache: CacheMode::default(),
        native: false,
    };
    let operands = words.read(|name, value| {
        match name {
            Name::Letter('f') => source.set_format(value)?,
            Name::Letter('U') => source.force_share = true,
            Name::Long("image-opts") => source.image_opts = true,
            Name::Long("output") => output = Output::parse("bench", value)?,
            other => plan.set(other, value)?,
        }
        Ok(())
    })?;
    let [file] = &operands[..] else { return Err(Usage::error("bench", "Expecting one image file name")) };
    if !plan.write && plan.flush_interval > 0 {
        bail!("--flush-interval is only available in write tests");
    }
    if plan.flush_interval > 0 && plan.flush_interval < plan.depth {
        bail!("Flush interval can't be smaller than depth");
    }
    if plan.native && !source.image_opts && !plan.cache.is_direct() {
        bail!(
            "Could not open '{}': aio=native was specified, but it requires cache.direct=on, which was not specified.",
            file.display()
        );
    }
    let options = OpenOptions { read_only: !plan.write, cache: plan.cache, ..OpenOptions::default() };
    let image = source.open(file, options)?;
    let block = image.block();
    let Plan { count, size, depth, offset, .. } = plan;
    let kind = if plan.write { "write" } else { "read" };
    let step = plan.step.filter(|&step| step > 0).unwrap_or(size);
    let mut about = format!(
        "Sending {count} {kind} requests, {size} bytes each, {depth} in parallel (starting at offset {offset}, step size {step})\n"
    );
    if plan.flush_interval > 0 {
        about += &format!("Sending flush every {} requests\n", plan.flush_interval);
    }
    if output == Output::Human {
        cli::print(&about)?;
    }
    let bench = Bench { block: &*block, plan: &plan, step, state: Mutex::default(), changed: Condvar::new() };
    let started = Instant::now();
    bench.run().map_err(|error| anyhow!("Failed request: {}", reason(error)))?;
    let seconds = started.elapsed().as_secs_f64();
    cli::print(&match output {
        Output::Human => format!("Run completed in {seconds:.3} seconds.\n"),
        Output::Json => text::json(&serde_json::json!({
            "requests": count,
            "kind": kind,
            "size": size,
            "depth": depth,
            "seconds": seconds,
            "done": true,
        })),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Why a request failed, as the system calls it.
fn reason(error: Error) -> String {
    match error {
        Error::Io { source, .. } => libimage::error::plain(&source),
        _ => "Input/output error".to_owned(),
    }
}

/// The run itself.
struct Bench<'a> {
    block: &'a dyn Block,
    plan: &'a Plan,
    step: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Requests that were begun, and those of them that are done.
    begun: u64,
    done: u64,
    /// Requests that the last flush came after.
    flushed: u64,
    flushing: bool,
    failure: Option<Error>,
}

impl Bench<'_> {
    fn run(self) -> Result<(), Error> {
        let threads = self.plan.depth.min(self.plan.count).min(MAX_THREADS);
        thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|| self.work());
            }
            self.work();
        });
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        state.failure.map_or(Ok(()), Err)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves requests until there are no more.
    fn work(&self) {
        let mut buffer = vec![self.plan.pattern; self.plan.size as usize];
        while let Some(number) = self.begin() {
            let at = self.place(number);
            let result = match self.plan.write {
                true => self.block.write_at(&buffer, at),
                false => self.block.read_at(&mut buffer, at),
            };
            let result = result.and_then(|()| self.end());
            if let Err(error) = result {
                self.lock().failure.get_or_insert(error);
                self.changed.notify_all();
            }
        }
    }

    /// Takes the next request; waits while a flush wants the queue to be empty.
    fn begin(&self) -> Option<u64> {
        let interval = self.plan.flush_interval;
        let mut state = self.lock();
        while self.plan.drain
            && interval > 0
            && state.failure.is_none()
            && (state.flushing || state.begun >= state.flushed + interval)
            && state.begun < self.plan.count
        {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.failure.is_some() || state.begun >= self.plan.count {
            return None;
        }
        state.begun += 1;
        Some(state.begun - 1)
    }

    /// A request is done; whoever completes an interval flushes.
    fn end(&self) -> Result<(), Error> {
        let interval = self.plan.flush_interval;
        let mut state = self.lock();
        state.done += 1;
        let due = interval > 0 && state.done >= state.flushed + interval && !state.flushing;
        if !due || state.done >= self.plan.count {
            return Ok(());
        }
        state.flushing = true;
        state.flushed += interval;
        drop(state);
        let result = self.block.flush();
        self.lock().flushing = false;
        self.changed.notify_all();
        result
    }

    /// Where a request begins: each a step behind the one before, and around at the end.
    fn place(&self, number: u64) -> u64 {
        if number == 0 {
            return self.plan.offset;
        }
        let room = self.block.size().saturating_sub(self.plan.size);
        let at = u128::from(self.plan.offset) + u128::from(number) * u128::from(self.step);
        if room == 0 { 0 } else { (at % u128::from(room)) as u64 }
    }
}
