//! What can go wrong while a machine is built and run.

use std::io;
use std::path::PathBuf;

/// Result of the machine's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of the machine monitor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `/dev/kvm` could not be opened.
    #[error("Cannot open /dev/kvm; the kvm module must be loaded and the user allowed to use it")]
    OpenKvm(#[source] io::Error),

    /// A request to KVM failed.
    #[error("KVM refused to {what}")]
    Kvm {
        /// What was attempted.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },

    /// The configuration asks for something that cannot be.
    #[error("Cannot build the machine: {0}")]
    Config(String),

    /// A file named by the configuration could not be read.
    #[error("Cannot read {what} '{path}'")]
    File {
        /// What the file is for.
        what: &'static str,
        /// Its name.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },

    /// The kernel image cannot be booted.
    #[error("Cannot boot kernel '{path}'")]
    Kernel {
        /// Its name.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: crate::boot::BootError,
    },

    /// Guest memory could not be set up.
    #[error("Cannot allocate {bytes} bytes of guest memory")]
    Memory {
        /// How much was asked for.
        bytes: u64,
        /// Why it failed.
        #[source]
        source: io::Error,
    },

    /// Something could not be placed in guest memory.
    #[error("Cannot place {what} in guest memory")]
    Place {
        /// What was placed.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },

    /// A thread, event or signal could not be set up.
    #[error("Cannot {what}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn kvm(what: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> Error {
        move |error| Error::Kvm { what, source: io::Error::from_raw_os_error(error.errno()) }
    }

    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::System { what, source }
    }

    pub(crate) fn place(what: &'static str) -> impl FnOnce(vm_memory::GuestMemoryError) -> Error {
        move |error| Error::Place { what, source: io::Error::other(error) }
    }
}
