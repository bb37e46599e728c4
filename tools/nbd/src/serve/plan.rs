//! What is to be served, and how: as command lines and configuration files say it.

use std::ffi::OsString;
use std::path::PathBuf;

use libimage::open::CacheMode;

use super::listen::Place;

/// One export.
#[derive(Debug, Clone, Default)]
pub(super) struct ExportPlan {
    /// Its name for clients; that of the file if not given and there are several.
    pub(super) name: Option<String>,
    /// What it is, for people.
    pub(super) description: Option<String>,
    /// The image, as a name or as options.
    pub(super) image: OsString,
    /// `image` is a list of options.
    pub(super) image_opts: bool,
    pub(super) format: Option<String>,
    pub(super) read_only: bool,
    /// Clients may change its size.
    pub(super) resizable: bool,
    /// Writes go to a temporary overlay.
    pub(super) temporary: bool,
    /// An internal snapshot is served.
    pub(super) snapshot: Option<String>,
    /// Bytes left out at the beginning.
    pub(super) offset: u64,
    /// A partition, by its number.
    pub(super) partition: Option<u32>,
    /// `qemu:allocation-depth` is told.
    pub(super) allocation_depth: bool,
    /// Bitmaps that are told.
    pub(super) bitmaps: Vec<String>,
    pub(super) cache: CacheMode,
    /// `aio=native` was asked for, which goes past the page cache only.
    pub(super) native_aio: bool,
    /// `discard=` of the image.
    pub(super) discard: Option<String>,
    /// `detect-zeroes=` of the image.
    pub(super) detect_zeroes: Option<String>,
    /// What lies between the image and the clients, the outermost first.
    pub(super) filters: Vec<String>,
}

/// With what connections are encrypted.
#[derive(Debug, Clone, Default)]
pub(super) struct TlsPlan {
    /// `off`, `on` (clients may do without) or `require`; by itself as soon as there are credentials.
    pub(super) mode: Option<String>,
    /// A directory with certificates.
    pub(super) certificates: Option<PathBuf>,
    /// A file with keys.
    pub(super) psk: Option<PathBuf>,
    /// Credentials among the objects of the command line.
    pub(super) object: Option<String>,
    /// The object that says of whom certificates are accepted.
    pub(super) authorization: Option<String>,
    /// Clients need certificates too.
    pub(super) verify_peer: bool,
}

/// A whole server.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) exports: Vec<ExportPlan>,
    pub(super) places: Vec<Place>,
    /// The kernel is the only client, and makes it this device.
    pub(super) device: Option<PathBuf>,
    /// One client, on standard input and output.
    pub(super) inetd: bool,
    /// Clients at once.
    pub(super) shared: Option<usize>,
    pub(super) persistent: bool,
    pub(super) fork: bool,
    pub(super) pid_file: Option<PathBuf>,
    pub(super) handshake_seconds: u64,
    pub(super) verbose: bool,
    pub(super) oldstyle: bool,
    pub(super) simple_replies: bool,
    /// Run this with `$uri` and its kin, and end with it.
    pub(super) run: Option<String>,
    pub(super) tls: TlsPlan,
    /// Addresses that may come, or may not.
    pub(super) ip: Vec<String>,
}
