//! Cache modes, by the names that `-t` and `-T` take: whether the page cache is used, and what a flush does.

/// How written data gets to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheMode {
    /// Through the page cache; durable when flushed.
    #[default]
    Writeback,
    /// Past the page cache; durable when flushed.
    None,
    /// Through the page cache; every write is flushed.
    Writethrough,
    /// Past the page cache; every write is flushed.
    Directsync,
    /// Through the page cache; flushes are left to the kernel.
    Unsafe,
}

impl CacheMode {
    /// The mode called `name`.
    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "writeback" => CacheMode::Writeback,
            "none" | "off" => CacheMode::None,
            "writethrough" => CacheMode::Writethrough,
            "directsync" => CacheMode::Directsync,
            "unsafe" => CacheMode::Unsafe,
            _ => return None,
        })
    }

    /// The page cache is passed by.
    pub fn is_direct(self) -> bool {
        matches!(self, CacheMode::None | CacheMode::Directsync)
    }

    /// Every write is durable when it returns.
    pub fn is_write_through(self) -> bool {
        matches!(self, CacheMode::Writethrough | CacheMode::Directsync)
    }

    /// Flushes are left to the kernel.
    pub fn is_unsafe(self) -> bool {
        self == CacheMode::Unsafe
    }
}
