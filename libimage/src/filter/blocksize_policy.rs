//! The sizes of requests that clients are told to use, and an error for those that do not listen.

use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use super::around::{Around, Call, Kind, Outcome, Wrapped};
use super::forward::forward;
use crate::block::{Block, Limits};
use crate::error::{Error, Result};

/// What clients are told. `None` leaves what lies below says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Constraints {
    /// Bytes that offsets and lengths are multiples of: a power of two, up to 64 KiB.
    pub minimum: Option<u32>,
    /// Bytes that cost least: a power of two, from 512 on up to 32 MiB.
    pub preferred: Option<u32>,
    /// Bytes of a request, at most.
    pub maximum: Option<u32>,
    /// Others get an error.
    pub strict: bool,
}

impl Constraints {
    /// Whether they make sense together.
    ///
    /// # Errors
    /// When they do not.
    pub fn check(&self) -> Result<()> {
        let invalid = |text: &str| Err(Error::Invalid(text.to_owned()));
        if let Some(minimum) = self.minimum {
            if !minimum.is_power_of_two() {
                return invalid("blocksize-minimum must be a power of 2");
            }
            if minimum > 65_536 {
                return invalid("blocksize-minimum must be between 1 and 64K");
            }
        }
        if let Some(preferred) = self.preferred {
            if !preferred.is_power_of_two() {
                return invalid("blocksize-preferred must be a power of 2");
            }
            if !(512..=32 << 20).contains(&preferred) {
                return invalid("blocksize-preferred must be between 512 and 32M");
            }
        }
        let minimum = self.minimum.unwrap_or(1);
        if self.preferred.is_some_and(|preferred| preferred < minimum) {
            return invalid("blocksize-minimum must be <= blocksize-preferred");
        }
        if let Some(maximum) = self.maximum
            && maximum != u32::MAX
        {
            if maximum == 0 || !maximum.is_multiple_of(minimum) {
                return invalid("blocksize-maximum must be a multiple of blocksize-minimum");
            }
            if self.preferred.is_some_and(|preferred| preferred > maximum) {
                return invalid("blocksize-preferred must be <= blocksize-maximum");
            }
        }
        Ok(())
    }
}

/// A device that says other sizes than the one below.
struct Told {
    below: Arc<dyn Block>,
    constraints: Constraints,
}

impl Block for Told {
    forward!(size, read_at, write_at, write_zeroes, discard, prefetch, flush, status);
    forward!(is_read_only, name, host_range, allocated_bytes);

    fn limits(&self) -> Limits {
        let below = self.below.limits();
        let alignment = self.constraints.minimum.unwrap_or(below.alignment);
        let preferred = self.constraints.preferred.unwrap_or(below.preferred).max(alignment);
        Limits { alignment, preferred, ..below }
    }
}

struct Strict {
    minimum: u64,
    maximum: u64,
}

impl Around for Strict {
    fn around<T: Outcome>(
        &self,
        below: &dyn Block,
        call: Call,
        run: &mut dyn FnMut(&dyn Block) -> Result<T>,
    ) -> Result<T> {
        let has_data = matches!(call.kind, Kind::Read | Kind::Write);
        let aligned = call.offset.is_multiple_of(self.minimum) && call.count.is_multiple_of(self.minimum);
        if call.kind != Kind::Flush && (!aligned || (has_data && call.count > self.maximum)) {
            let source = io::Error::from(Errno::INVAL);
            return Err(Error::io_at("do a request of that size to", below.name(), call.offset, source));
        }
        run(below)
    }
}

/// Shows `below`, with the sizes that clients are told.
///
/// # Errors
/// When the constraints make no sense.
pub fn blocksize_policy(below: Arc<dyn Block>, constraints: Constraints) -> Result<Arc<dyn Block>> {
    constraints.check()?;
    let told = Told { below, constraints };
    if !constraints.strict {
        return Ok(Arc::new(told));
    }
    let minimum = u64::from(told.limits().alignment.max(1));
    let maximum = u64::from(constraints.maximum.unwrap_or(u32::MAX));
    Ok(Arc::new(Wrapped::new(Arc::new(told), Strict { minimum, maximum })))
}
