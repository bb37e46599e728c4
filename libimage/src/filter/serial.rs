//! One call at a time, for what lies below and cannot have several, or to see what several are worth.

use std::sync::{Arc, Mutex};

use super::around::{Around, Call, Outcome, Wrapped};
use super::blocks::lock;
use crate::block::Block;
use crate::error::Result;

struct Serial(Arc<Mutex<()>>);

impl Around for Serial {
    fn around<T: Outcome>(
        &self,
        below: &dyn Block,
        _call: Call,
        run: &mut dyn FnMut(&dyn Block) -> Result<T>,
    ) -> Result<T> {
        let _turn = lock(&self.0);
        run(below)
    }
}

/// Shows `below`, to which calls go while they have `turn`: devices that share it take turns.
pub fn serial(below: Arc<dyn Block>, turn: Arc<Mutex<()>>) -> Arc<dyn Block> {
    Arc::new(Wrapped::new(below, Serial(turn)))
}
