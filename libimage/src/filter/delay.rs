//! A device that takes its time: each kind of call waits before it is done.

use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use super::around::{Around, Call, Kind, Outcome, Wrapped};
use crate::block::Block;
use crate::error::Result;

/// How long each kind of call waits. All are zero by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delays {
    calls: [Duration; Kind::ALL.len()],
    /// Before a device is shown.
    pub open: Duration,
    /// Before it is given up.
    pub close: Duration,
}

impl Delays {
    /// Lets calls of a kind wait.
    pub fn set(&mut self, kind: Kind, delay: Duration) {
        self.calls[kind.index()] = delay;
    }
}

struct Delay(Delays);

impl Around for Delay {
    fn around<T: Outcome>(
        &self,
        below: &dyn Block,
        call: Call,
        run: &mut dyn FnMut(&dyn Block) -> Result<T>,
    ) -> Result<T> {
        wait(self.0.calls[call.kind.index()]);
        run(below)
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        wait(self.0.close);
    }
}

fn wait(time: Duration) {
    if !time.is_zero() {
        sleep(time);
    }
}

/// Shows `below`, with delays.
pub fn delay(below: Arc<dyn Block>, delays: Delays) -> Arc<dyn Block> {
    wait(delays.open);
    Arc::new(Wrapped::new(below, Delay(delays)))
}
