//! Calls that failed are tried again, on a device that was opened anew: for what lies behind an unreliable network.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use rustix::io::Errno;

use super::around::{Around, Call, Kind, Outcome, Wrapped};
use super::blocks::lock;
use crate::block::Block;
use crate::error::{Error, Result};

/// Opens what lies below; the argument asks for reading only.
pub type Open = Arc<dyn Fn(bool) -> Result<Arc<dyn Block>> + Send + Sync>;

/// How often, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Times that a call is tried again before its error counts.
    pub retries: u32,
    /// The wait before the first of them.
    pub delay: Duration,
    /// Each wait is twice the one before.
    pub exponential: bool,
    /// After the first failure nothing is written any more.
    pub read_only: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { retries: 5, delay: Duration::from_secs(2), exponential: true, read_only: false }
    }
}

impl Options {
    /// Waits before the try of this number, from 0.
    fn wait(&self, number: u32) {
        let factor = if self.exponential { 1_u32.checked_shl(number).unwrap_or(u32::MAX) } else { 1 };
        sleep(self.delay.saturating_mul(factor));
    }
}

/// The device as it was opened last; `None` after that failed.
struct Opened {
    device: Option<Arc<dyn Block>>,
    /// How often it was opened.
    times: u64,
}

struct Retry {
    options: Options,
    /// `None` where the same device is simply asked again.
    open: Option<Open>,
    opened: Mutex<Opened>,
    size: u64,
    name: String,
    refusing: AtomicBool,
}

/// Whether the same call could turn out otherwise the next time.
fn may_change(error: &Error) -> bool {
    match error {
        Error::Context { source, .. } => may_change(source),
        Error::ReadOnly { .. } | Error::OutOfRange { .. } | Error::Cancelled => false,
        _ => true,
    }
}

impl Retry {
    /// Opens again, unless another call did since it was opened for the `seen`th time.
    fn open_again(&self, open: &Open, seen: u64) -> Result<()> {
        let mut opened = lock(&self.opened);
        if opened.times != seen {
            return Ok(());
        }
        // The old one may hold what the new one needs.
        opened.device = None;
        let again = |error| Error::io("open again", &self.name, io::Error::other(error));
        let device = open(self.refusing.load(Ordering::Relaxed)).map_err(again)?;
        if device.size() != self.size {
            return Err(Error::unsupported(&self.name, "its size is another one since it was opened again"));
        }
        *opened = Opened { device: Some(device), times: seen.saturating_add(1) };
        Ok(())
    }

    fn device(&self) -> (Option<Arc<dyn Block>>, u64) {
        let opened = lock(&self.opened);
        (opened.device.clone(), opened.times)
    }
}

impl Around for Retry {
    fn around<T: Outcome>(
        &self,
        _below: &dyn Block,
        call: Call,
        run: &mut dyn FnMut(&dyn Block) -> Result<T>,
    ) -> Result<T> {
        let writes = matches!(call.kind, Kind::Write | Kind::Zero | Kind::Trim);
        let mut number = 0;
        loop {
            if writes && self.refusing.load(Ordering::Relaxed) {
                return Err(Error::ReadOnly { file: self.name.clone() });
            }
            let (device, seen) = self.device();
            let result = match (&device, &self.open) {
                (Some(device), _) => run(&**device),
                // The last attempt to open it failed: once more.
                (None, Some(open)) => self.open_again(open, seen).and_then(|()| match self.device().0 {
                    Some(device) => run(&*device),
                    None => Err(Error::io("open", &self.name, io::Error::from(Errno::IO))),
                }),
                (None, None) => Err(Error::io("open", &self.name, io::Error::from(Errno::IO))),
            };
            drop(device);
            match result {
                Err(error) if number < self.options.retries && may_change(&error) => {}
                other => return other,
            }
            if self.options.read_only {
                self.refusing.store(true, Ordering::Relaxed);
            }
            self.options.wait(number);
            number += 1;
            if let Some(open) = &self.open {
                // If that fails, the next round tries it again and reports it.
                let _ = self.open_again(open, self.device().1);
            }
        }
    }

    fn refuses_writes(&self) -> bool {
        self.refusing.load(Ordering::Relaxed)
    }
}

/// Shows what `open` opens, and opens it again when a call fails.
///
/// # Errors
/// When it cannot be opened, as often as that may be tried.
pub fn retry(open: Open, options: Options) -> Result<Arc<dyn Block>> {
    let mut number = 0;
    let device = loop {
        match open(false) {
            Ok(device) => break device,
            Err(error) if number < options.retries && may_change(&error) => options.wait(number),
            Err(error) => return Err(error),
        }
        number += 1;
    };
    Ok(over(device, Some(open), options))
}

/// Shows `below`, and asks it again when a call fails.
pub fn retry_request(below: Arc<dyn Block>, retries: u32, delay: Duration) -> Arc<dyn Block> {
    over(below, None, Options { retries, delay, exponential: false, read_only: false })
}

fn over(device: Arc<dyn Block>, open: Option<Open>, options: Options) -> Arc<dyn Block> {
    let retry = Retry {
        options,
        open,
        size: device.size(),
        name: device.name().to_owned(),
        opened: Mutex::new(Opened { device: Some(Arc::clone(&device)), times: 0 }),
        refusing: AtomicBool::new(false),
    };
    let face = Arc::new(Face {
        size: retry.size,
        limits: device.limits(),
        read_only: device.is_read_only(),
        name: retry.name.clone(),
    });
    Arc::new(Wrapped::new(face, retry))
}

/// What is known of a device while it is not open. No call reaches it.
struct Face {
    size: u64,
    limits: crate::block::Limits,
    read_only: bool,
    name: String,
}

impl Face {
    fn closed<T>(&self) -> Result<T> {
        Err(Error::io("use", &self.name, io::Error::from(Errno::BADF)))
    }
}

impl Block for Face {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, _buf: &mut [u8], _offset: u64) -> Result<()> {
        self.closed()
    }

    fn write_at(&self, _buf: &[u8], _offset: u64) -> Result<()> {
        self.closed()
    }

    fn write_zeroes(&self, _range: std::ops::Range<u64>, _how: crate::block::Zero) -> Result<()> {
        self.closed()
    }

    fn discard(&self, _range: std::ops::Range<u64>) -> Result<()> {
        self.closed()
    }

    fn flush(&self) -> Result<()> {
        self.closed()
    }

    fn status(&self, _range: std::ops::Range<u64>) -> Result<crate::block::Extent> {
        self.closed()
    }

    fn limits(&self) -> crate::block::Limits {
        self.limits
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
#[path = "retry_test.rs"]
mod tests;
