//! The table of filters: what each is called, and which parameters it takes.

use std::sync::Arc;

use super::arguments::Arguments;
use super::{Make, makes};
use crate::error::Result;
use crate::filter::extents::CacheExtents;
use crate::filter::protect::CheckWrite;
use crate::filter::readahead::{ReadAhead, Siblings};
use crate::filter::without::{NoExtents, ReadOnly};

/// A filter as users see it.
pub struct Kind {
    /// What it is called.
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// Its parameters, each with what it says.
    pub parameters: &'static [(&'static str, &'static str)],
    /// Nothing is ever written below it: what lies there may be opened for reading only.
    pub keeps_below: bool,
    /// Calls may wait in it.
    pub waits: bool,
    pub(super) make: fn(&mut Arguments) -> Result<Make>,
}

/// All filters, by name.
pub static KINDS: &[Kind] = &[
    Kind {
        name: "blocksize",
        summary: "requests in sizes that what lies below can do",
        parameters: &[
            ("minblock=SIZE", "blocks below: a power of two, up to 64k"),
            ("maxdata=SIZE", "largest read or write (64M)"),
            ("maxlen=SIZE", "largest request without data (4G)"),
        ],
        keeps_below: false,
        waits: false,
        make: makes::blocksize,
    },
    Kind {
        name: "blocksize-policy",
        summary: "tell clients which sizes of requests to use",
        parameters: &[
            ("blocksize-minimum=SIZE", "smallest block: a power of two, up to 64k"),
            ("blocksize-preferred=SIZE", "what costs least: a power of two"),
            ("blocksize-maximum=SIZE", "largest request; refused with the policy error, not told"),
            ("blocksize-error-policy=allow|error", "what other requests get"),
        ],
        keeps_below: false,
        waits: false,
        make: makes::policy,
    },
    Kind {
        name: "bzip2",
        summary: "unpack bzip2, once, to a temporary file",
        parameters: &[("bzip2-max-size=SIZE", "what may be unpacked (no limit)")],
        keeps_below: true,
        waits: false,
        make: makes::bzipped,
    },
    Kind {
        name: "cache",
        summary: "keep what was written, and perhaps what was read, in a temporary file",
        parameters: &[
            ("cache=MODE", "writeback (default), writethrough or unsafe"),
            ("cache-on-read=BOOL|/PATH", "keep what was read (while PATH exists)"),
            ("cache-min-block-size=SIZE", "blocks that are kept (64k)"),
            ("cache-max-size=SIZE", "bytes that are kept"),
            ("cache-high-threshold=PERCENT", "of the maximum, where blocks begin to be given up (95)"),
            ("cache-low-threshold=PERCENT", "of the maximum, where that ends (80)"),
        ],
        keeps_below: false,
        waits: false,
        make: makes::cache,
    },
    Kind {
        name: "cacheextents",
        summary: "remember the last answer about holes and data",
        parameters: &[],
        keeps_below: false,
        waits: false,
        make: |_| makes::over(|below| Ok(Arc::new(CacheExtents::new(below)))),
    },
    Kind {
        name: "checkwrite",
        summary: "accept only writes of what is there already",
        parameters: &[],
        keeps_below: true,
        waits: false,
        make: |_| makes::over(|below| Ok(Arc::new(CheckWrite::new(below)))),
    },
    Kind {
        name: "cow",
        summary: "writes go to a temporary file; what lies below stays as it is",
        parameters: &[
            ("cow-block-size=SIZE", "blocks of it: a power of two, 4k or more (64k)"),
            ("cow-on-cache=BOOL", "copy what is to be fetched early"),
            ("cow-on-read=BOOL|/PATH", "copy what is read (while PATH exists)"),
        ],
        keeps_below: true,
        waits: false,
        make: makes::cow,
    },
    Kind {
        name: "delay",
        summary: "let calls wait",
        parameters: &[
            ("rdelay=TIME", "reads: seconds, or with s, ms, us or ns behind the number"),
            ("wdelay=TIME", "writes, zeroes and trims"),
            ("delay-read|delay-write|delay-zero|delay-trim=TIME", "each kind by itself"),
            ("delay-extents|delay-cache=TIME", "questions about holes; fetching early"),
            ("delay-open|delay-close=TIME", "when a device is shown, and given up"),
            ("delay-fast-zero=BOOL", "false: fast zeroes are refused by the server at once"),
        ],
        keeps_below: false,
        waits: true,
        make: makes::delays,
    },
    Kind {
        name: "error",
        summary: "let calls fail at random",
        parameters: &[
            ("error=NAME", "EPERM, EIO (default), ENOMEM, EINVAL, ENOSPC, EOVERFLOW, ENOTSUP or ESHUTDOWN"),
            ("error-rate=RATE", "how many: 10%, 0.1 or 1:10"),
            ("error-file=FILE", "only while this file exists"),
            (
                "error-CALL, error-CALL-rate, error-CALL-file",
                "for one of pread pwrite trim zero extents cache",
            ),
        ],
        keeps_below: false,
        waits: false,
        make: makes::errors,
    },
    Kind {
        name: "ext2",
        summary: "a file in an ext2, ext3 or ext4 file system, for reading",
        parameters: &[("ext2file=/PATH", "the file (required)")],
        keeps_below: true,
        waits: false,
        make: makes::ext2,
    },
    Kind {
        name: "extentlist",
        summary: "say which parts are holes by a list",
        parameters: &[("extentlist=FILE", "lines of OFFSET LENGTH [hole,zero] (required)")],
        keeps_below: false,
        waits: false,
        make: makes::extent_list,
    },
    Kind {
        name: "fua",
        summary: "flush always, or never",
        parameters: &[(
            "fuamode=MODE",
            "none (default), emulate, native, pass, force (after each write) or discard",
        )],
        keeps_below: false,
        waits: false,
        make: makes::fua,
    },
    Kind {
        name: "gzip",
        summary: "unpack gzip, once, to a temporary file",
        parameters: &[("gzip-max-size=SIZE", "what may be unpacked (no limit)")],
        keeps_below: true,
        waits: false,
        make: makes::gzipped,
    },
    Kind {
        name: "log",
        summary: "write down every call",
        parameters: &[
            ("logfile=FILE", "where to"),
            ("logappend=BOOL", "keep what is there (no)"),
            ("logscript=SCRIPT", "run for every line, which it gets in variables"),
        ],
        keeps_below: false,
        waits: false,
        make: makes::logged,
    },
    Kind {
        name: "luks",
        summary: "open an encrypted disk",
        parameters: &[("passphrase=SECRET|+FILE|-FD", "the passphrase (required)")],
        keeps_below: false,
        waits: false,
        make: makes::luks,
    },
    Kind {
        name: "nocache",
        summary: "do nothing special to fetch early",
        parameters: &[("cachemode=MODE", "none (default), nop or emulate (read and forget)")],
        keeps_below: false,
        waits: false,
        make: makes::no_cache,
    },
    Kind {
        name: "noextents",
        summary: "seem to be full of data",
        parameters: &[],
        keeps_below: false,
        waits: false,
        make: |_| makes::over(|below| Ok(Arc::new(NoExtents::new(below)))),
    },
    Kind {
        name: "noparallel",
        summary: "one call at a time",
        parameters: &[(
            "serialize=MODE",
            "requests of each connection (default), all-requests or connections",
        )],
        keeps_below: false,
        waits: true,
        make: makes::no_parallel,
    },
    Kind {
        name: "nozero",
        summary: "zeroes are nothing special",
        parameters: &[
            ("zeromode=MODE", "none (default), emulate, notrim or plugin"),
            ("fastzeromode=MODE", "none, slow, ignore or default"),
        ],
        keeps_below: false,
        waits: false,
        make: makes::no_zero,
    },
    Kind {
        name: "offset",
        summary: "a part of it",
        parameters: &[("offset=SIZE", "the first byte (0)"), ("range=SIZE", "how many (all that follow)")],
        keeps_below: false,
        waits: false,
        make: makes::offset,
    },
    Kind {
        name: "partition",
        summary: "one of its partitions",
        parameters: &[("partition=NUMBER", "which one, from 1 (required)")],
        keeps_below: false,
        waits: false,
        make: makes::partition,
    },
    Kind {
        name: "protect",
        summary: "parts that cannot be changed",
        parameters: &[("protect=[~]START-END", "from the first byte to the last; with ~, all but these")],
        keeps_below: false,
        waits: false,
        make: makes::protect,
    },
    Kind {
        name: "qcow2dec",
        summary: "the disk in a qcow2 image, for reading",
        parameters: &[],
        keeps_below: true,
        waits: false,
        make: makes::qcow2,
    },
    Kind {
        name: "rate",
        summary: "limit how much is read and written in a second",
        parameters: &[
            ("rate=BITS", "in a second, in each direction, by all connections together"),
            ("connection-rate=BITS", "the same for each connection"),
            ("rate-file=FILE, connection-rate-file=FILE", "where another limit is written meanwhile"),
            ("burstiness=SECONDS", "how long a client that was idle may be faster (2)"),
        ],
        keeps_below: false,
        waits: true,
        make: makes::rates,
    },
    Kind {
        name: "readahead",
        summary: "fetch what follows while a client reads",
        parameters: &[],
        keeps_below: false,
        waits: false,
        make: |_| {
            let siblings = Arc::new(Siblings::default());
            makes::over(move |below| Ok(Arc::new(ReadAhead::new(below, Arc::clone(&siblings)))))
        },
    },
    Kind {
        name: "readonly",
        summary: "refuse to be written",
        parameters: &[],
        keeps_below: true,
        waits: false,
        make: |_| makes::over(|below| Ok(Arc::new(ReadOnly::new(below)))),
    },
    Kind {
        name: "retry",
        summary: "open again what failed, and try again",
        parameters: &[
            ("retries=NUMBER", "how often (5)"),
            ("retry-delay=SECONDS", "the first wait (2)"),
            ("retry-exponential=BOOL", "each wait is twice the one before (yes)"),
            ("retry-readonly=BOOL", "write nothing after a failure (no)"),
        ],
        keeps_below: false,
        waits: true,
        make: makes::retry,
    },
    Kind {
        name: "retry-request",
        summary: "try again what failed, without opening anything",
        parameters: &[
            ("retry-request-retries=NUMBER", "how often, from 1 to 1000 (2)"),
            ("retry-request-delay=TIME", "the wait (2 seconds)"),
            ("retry-request-open=BOOL", "accepted: what cannot be opened is not tried again here"),
        ],
        keeps_below: false,
        waits: true,
        make: makes::request_again,
    },
    Kind {
        name: "stats",
        summary: "count calls, bytes and time",
        parameters: &[
            ("statsfile=FILE", "where to, at the end (required)"),
            ("statsappend=BOOL", "keep what is there (no)"),
            ("statsthreshold=PERCENT", "calls whose sizes are listed (95); 0 for none"),
        ],
        keeps_below: false,
        waits: false,
        make: makes::counted,
    },
    Kind {
        name: "swab",
        summary: "turn words of bytes round",
        parameters: &[("swab-bits=BITS", "of a word: 8, 16 (default), 32 or 64")],
        keeps_below: false,
        waits: false,
        make: makes::swab,
    },
    Kind {
        name: "tar",
        summary: "a member of a tar archive",
        parameters: &[
            ("tar-entry=NAME", "which one (required)"),
            ("tar-limit=SIZE", "where the search for it ends (nowhere)"),
            ("tar=PROGRAM", "accepted: no program is needed"),
        ],
        keeps_below: false,
        waits: false,
        make: makes::member,
    },
    Kind {
        name: "truncate",
        summary: "another size",
        parameters: &[
            ("truncate=SIZE", "exactly this"),
            ("round-up=SIZE", "up to a multiple of a power of two"),
            ("round-down=SIZE", "down to a multiple of a power of two"),
        ],
        keeps_below: false,
        waits: false,
        make: makes::truncate,
    },
    Kind {
        name: "xz",
        summary: "unpack xz while it is read",
        parameters: &[
            ("xz-max-block=SIZE", "largest block that is accepted (512M)"),
            ("xz-max-depth=NUMBER", "unpacked blocks that are kept (8)"),
        ],
        keeps_below: true,
        waits: false,
        make: makes::xz,
    },
    Kind {
        name: "zstd",
        summary: "unpack zstd while it is read, or once to a temporary file if it is one large frame",
        parameters: &[
            ("zstd-max-frame=SIZE", "largest frame that is unpacked by itself (64M)"),
            ("zstd-max-depth=NUMBER", "unpacked frames that are kept (8)"),
            ("zstd-max-size=SIZE", "what may be unpacked to a file (no limit)"),
        ],
        keeps_below: true,
        waits: false,
        make: makes::zstd,
    },
];
