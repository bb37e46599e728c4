//! What is there already and has its size, as the place of a new image: an export of a server.

use std::sync::Arc;

use super::forward::forward;
use crate::block::{Block, Limits, Preallocation};
use crate::error::{Error, Result};

/// A storage in which a new image is laid out from the beginning, as on a block device: what lies behind it stays.
pub struct Existing {
    below: Arc<dyn Block>,
}

impl Existing {
    /// The place is `below`, with whatever is in it.
    pub fn new(below: Arc<dyn Block>) -> Self {
        Existing { below }
    }
}

impl Block for Existing {
    forward!(
        size,
        read_at,
        write_at,
        write_zeroes,
        discard,
        prefetch,
        flush,
        status,
        is_read_only,
        name,
        allocated_bytes,
        host_range
    );

    fn limits(&self) -> Limits {
        Limits { growable: false, zero_init: false, ..self.below.limits() }
    }

    fn resize(&self, size: u64, preallocation: Preallocation) -> Result<()> {
        if preallocation != Preallocation::Off {
            return Err(Error::Invalid(format!("Unsupported preallocation mode '{}'", preallocation.name())));
        }
        match size <= self.size() {
            true => Ok(()),
            false => Err(Error::Invalid("Cannot grow NBD nodes".to_owned())),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;
    use crate::storage::Memory;

    #[test]
    fn it_keeps_its_size() {
        let below = Arc::new(Memory::new(8192));
        below.write_at(&[7; 512], 4096).unwrap();
        let place = Existing::new(below);
        place.resize(0, Preallocation::Off).unwrap();
        place.resize(8192, Preallocation::Off).unwrap();
        assert_eq!(place.size(), 8192);
        assert!(!place.limits().growable && !place.limits().zero_init);
        let mut bytes = [0; 512];
        place.read_at(&mut bytes, 4096).unwrap();
        assert_eq!(bytes, [7; 512]);
        let wrong = place.resize(8193, Preallocation::Off).unwrap_err().to_string();
        assert!(wrong.starts_with("Cannot grow"), "{wrong}");
        let wrong = place.resize(4096, Preallocation::Full).unwrap_err().to_string();
        assert_eq!(wrong, "Unsupported preallocation mode 'full'");
    }
}
