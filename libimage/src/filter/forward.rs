//! The methods of a [`Block`](crate::Block) that a filter leaves as they are: one line instead of one function each.
//!
//! `forward!(size, flush, ...)` within the `impl` of a filter whose field `below` is what it lies over.

macro_rules! forward {
    ($($method:ident),+ $(,)?) => { $( $crate::filter::forward::forward_one!($method); )+ };
}

macro_rules! forward_one {
    (size) => {
        fn size(&self) -> u64 {
            self.below.size()
        }
    };
    (read_at) => {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> $crate::Result<()> {
            self.below.read_at(buf, offset)
        }
    };
    (write_at) => {
        fn write_at(&self, buf: &[u8], offset: u64) -> $crate::Result<()> {
            self.below.write_at(buf, offset)
        }
    };
    (write_zeroes) => {
        fn write_zeroes(&self, range: std::ops::Range<u64>, how: $crate::Zero) -> $crate::Result<()> {
            self.below.write_zeroes(range, how)
        }
    };
    (discard) => {
        fn discard(&self, range: std::ops::Range<u64>) -> $crate::Result<()> {
            self.below.discard(range)
        }
    };
    (prefetch) => {
        fn prefetch(&self, range: std::ops::Range<u64>) -> $crate::Result<()> {
            self.below.prefetch(range)
        }
    };
    (flush) => {
        fn flush(&self) -> $crate::Result<()> {
            self.below.flush()
        }
    };
    (status) => {
        fn status(&self, range: std::ops::Range<u64>) -> $crate::Result<$crate::Extent> {
            self.below.status(range)
        }
    };
    (limits) => {
        fn limits(&self) -> $crate::Limits {
            self.below.limits()
        }
    };
    // For those that check ranges themselves.
    (fixed_limits) => {
        fn limits(&self) -> $crate::Limits {
            $crate::Limits { growable: false, ..self.below.limits() }
        }
    };
    (is_read_only) => {
        fn is_read_only(&self) -> bool {
            self.below.is_read_only()
        }
    };
    (name) => {
        fn name(&self) -> &str {
            self.below.name()
        }
    };
    (allocated_bytes) => {
        fn allocated_bytes(&self) -> Option<u64> {
            self.below.allocated_bytes()
        }
    };
    (host_range) => {
        fn host_range(&self, range: std::ops::Range<u64>) -> $crate::Result<Option<$crate::HostRange>> {
            self.below.host_range(range)
        }
    };
}

pub(crate) use {forward, forward_one};
