//! From a kernel file to a guest that is ready to run: kernel, initrd, command line, memory map, ACPI.
//!
//! An ELF `vmlinux` starts through its PVH entry point. Of a `bzImage` the kernel inside is unpacked here and
//! started the same way, which is faster than letting the guest unpack it; when its compression is unknown or
//! it has no PVH entry, the image is started by the 64-bit Linux boot protocol and unpacks itself.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

use crate::error::{Error, Result};
use crate::virtio::device::GuestMemory;

pub mod acpi;
pub mod bzimage;
pub mod elf;
pub mod layout;
pub mod linux64;
pub mod pvh;

/// Why a kernel image cannot be booted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootError {
    /// The file could not be read.
    #[error("Cannot read {length} bytes at offset {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// How much.
        length: u64,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Neither an ELF file nor a bzImage.
    #[error("Not a kernel: neither an ELF vmlinux nor a bzImage")]
    NotAKernel,
    /// A header contradicts itself or the file.
    #[error("Malformed {0}")]
    Malformed(&'static str),
    /// The ELF kernel cannot be started by PVH.
    #[error("The ELF kernel has no PVH entry point (CONFIG_PVH); use its bzImage instead")]
    NoPvhEntry,
    /// The kernel inside a bzImage has a compression that is not known here.
    #[error("The bzImage's payload has an unknown compression (it begins with {0:02x?})")]
    UnknownCompression(Vec<u8>),
    /// Decompression failed.
    #[error("Cannot unpack the {format} payload of the bzImage")]
    Unpack {
        /// Compression of the payload.
        format: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The bzImage is too old or for another processor.
    #[error("The bzImage cannot be started in 64-bit mode (boot protocol {0:#x})")]
    Not64Bit(u16),
    /// The guest has too little memory.
    #[error("The kernel needs guest memory at {start:#x}..{end:#x}, which this machine does not have")]
    OutsideMemory {
        /// First address.
        start: u64,
        /// First address behind it.
        end: u64,
    },
}

/// Where the boot processor begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// PVH: 32-bit protected mode without paging, EBX = start info.
    Pvh {
        /// Physical address of the entry point.
        address: u64,
    },
    /// Linux 64-bit boot protocol: long mode, identity-mapped, RSI = zero page.
    Linux64 {
        /// Physical address of the entry point.
        address: u64,
    },
}

/// A kernel, as a file or in memory.
pub(crate) enum Image<'a> {
    File(&'a File),
    Bytes(&'a [u8]),
}

impl Image<'_> {
    /// Reads exactly `buf.len()` bytes at `offset`.
    pub(crate) fn read(&self, buf: &mut [u8], offset: u64) -> std::result::Result<(), BootError> {
        let length = buf.len() as u64;
        match self {
            Image::File(file) => {
                file.read_exact_at(buf, offset).map_err(|source| BootError::Read { offset, length, source })
            }
            Image::Bytes(bytes) => {
                let source =
                    usize::try_from(offset).ok().and_then(|start| bytes.get(start..)?.get(..buf.len()));
                buf.copy_from_slice(
                    source.ok_or(BootError::Malformed("kernel: a part lies outside the file"))?,
                );
                Ok(())
            }
        }
    }

    /// Copies a part of the image into guest memory.
    pub(crate) fn load(
        &self,
        memory: &GuestMemory,
        address: u64,
        offset: u64,
        length: u64,
    ) -> std::result::Result<(), BootError> {
        let outside = || BootError::OutsideMemory { start: address, end: address.saturating_add(length) };
        let bytes = usize::try_from(length).map_err(|_| outside())?;
        if !memory.check_range(GuestAddress(address), bytes) {
            return Err(outside());
        }
        let target = GuestAddress(address);
        match self {
            Image::File(file) => {
                let failed = |source| BootError::Read { offset, length, source };
                let mut file: &File = file;
                file.seek(SeekFrom::Start(offset)).map_err(failed)?;
                memory
                    .read_exact_volatile_from(target, &mut file, bytes)
                    .map_err(|error| failed(io::Error::other(error)))
            }
            Image::Bytes(image) => {
                let source = usize::try_from(offset).ok().and_then(|start| image.get(start..)?.get(..bytes));
                let source = source.ok_or(BootError::Malformed("kernel: a part lies outside the file"))?;
                memory.write_slice(source, target).map_err(|_| outside())
            }
        }
    }
}

/// What is to be booted.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Kernel file: ELF `vmlinux` or `bzImage`.
    pub kernel: &'a Path,
    /// Initial RAM disk.
    pub initrd: Option<&'a Path>,
    /// Kernel command line.
    pub cmdline: &'a str,
    /// Physical address of the ACPI root pointer.
    pub rsdp: Option<u64>,
    /// Bytes of guest memory.
    pub memory_bytes: u64,
}

/// Real-mode code at the reset vector: `mov al, RESET; mov dx, PORT; out dx, al; hlt; jmp` to the `hlt`.
///
/// There is no firmware, but a kernel on a hardware-reduced ACPI machine that finds no EFI either resets by
/// jumping to where firmware would be.
fn reset_code() -> [u8; 9] {
    let [low, high] = layout::RESET_PORT.to_le_bytes();
    [0xb0, acpi::RESET_VALUE, 0xba, low, high, 0xee, 0xf4, 0xeb, 0xfd]
}

/// Puts what firmware would have left into guest memory: ACPI tables for `processors` processors, and the
/// code at the reset vector. Returns the address of the ACPI root pointer.
///
/// # Errors
/// When guest memory is too small.
pub fn place_firmware(memory: &GuestMemory, processors: u8) -> Result<u64> {
    let at = GuestAddress(layout::ACPI.start);
    memory.write_slice(&acpi::tables(processors), at).map_err(Error::place("the ACPI tables"))?;
    memory
        .write_slice(&reset_code(), GuestAddress(layout::RESET_VECTOR))
        .map_err(Error::place("the reset vector"))?;
    Ok(at.0)
}

/// Puts kernel, initrd, command line and boot structures into guest memory and says where to begin.
///
/// # Errors
/// When a file cannot be read or booted, or does not fit.
pub fn load(memory: &GuestMemory, request: &Request<'_>) -> Result<Entry> {
    let bad = |source| Error::Kernel { path: request.kernel.to_owned(), source };
    let file = File::open(request.kernel).map_err(|source| Error::File {
        what: "kernel",
        path: request.kernel.to_owned(),
        source,
    })?;
    let mut magic = [0; 4];
    Image::File(&file).read(&mut magic, 0).map_err(bad)?;
    let kernel = if &magic == elf::MAGIC {
        elf::load(memory, &Image::File(&file)).map_err(bad)?
    } else {
        load_bzimage(memory, &file).map_err(bad)?
    };
    let initrd = request.initrd.map(|path| load_initrd(memory, path, kernel.end)).transpose()?;
    write_cmdline(memory, request.cmdline)?;
    match kernel.start {
        Start::Pvh(address) => {
            pvh::write_start_info(memory, request, initrd)?;
            Ok(Entry::Pvh { address })
        }
        Start::Linux64(setup) => {
            linux64::write_boot_params(memory, request, initrd, &setup)?;
            Ok(Entry::Linux64 { address: setup.entry })
        }
    }
}

/// A kernel in guest memory.
pub(crate) struct Loaded {
    /// How it starts.
    pub(crate) start: Start,
    /// First address it does not need.
    pub(crate) end: u64,
}

pub(crate) enum Start {
    Pvh(u64),
    Linux64(linux64::Setup),
}

fn load_bzimage(memory: &GuestMemory, file: &File) -> std::result::Result<Loaded, BootError> {
    let length = file.metadata().map(|meta| meta.len());
    let length = length.map_err(|source| BootError::Read { offset: 0, length: 0, source })?;
    if length > bzimage::MAX_FILE {
        return Err(BootError::Malformed("bzImage: the file is too large"));
    }
    let mut image = vec![0; usize::try_from(length).map_err(|_| BootError::NotAKernel)?];
    Image::File(file).read(&mut image, 0)?;
    let header = bzimage::Header::parse(&image)?;
    match bzimage::vmlinux(&image) {
        Ok(vmlinux) => match elf::load(memory, &Image::Bytes(&vmlinux)) {
            Err(BootError::NoPvhEntry) => linux64::load(memory, &image, &header),
            other => other,
        },
        Err(BootError::UnknownCompression(_)) => linux64::load(memory, &image, &header),
        Err(error) => Err(error),
    }
}

/// Places the initrd as high as possible below the PCI window.
fn load_initrd(memory: &GuestMemory, path: &Path, kernel_end: u64) -> Result<(u64, u64)> {
    let failed = |source| Error::File { what: "initrd", path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let top = memory.iter().next().map_or(0, vm_memory::GuestMemoryRegion::len).min(linux64::INITRD_MAX);
    let address = top
        .checked_sub(length)
        .map(|address| address & !0xfff)
        .filter(|address| *address >= kernel_end.max(layout::HIGH_RAM_START));
    let Some(address) = address else {
        return Err(Error::Config(format!(
            "the initrd '{}' of {length} bytes does not fit into guest memory beside the kernel; give the \
             machine more memory",
            path.display()
        )));
    };
    Image::File(&file).load(memory, address, 0, length).map_err(|error| match error {
        BootError::Read { source, .. } => failed(source),
        other => failed(io::Error::other(other)),
    })?;
    Ok((address, length))
}

fn write_cmdline(memory: &GuestMemory, cmdline: &str) -> Result<()> {
    if cmdline.len() >= layout::CMDLINE_MAX || cmdline.contains('\0') {
        return Err(Error::Config(format!(
            "the kernel command line may have at most {} bytes and no NUL",
            layout::CMDLINE_MAX - 1
        )));
    }
    let mut text = cmdline.as_bytes().to_vec();
    text.push(0);
    memory.write_slice(&text, GuestAddress(layout::CMDLINE)).map_err(Error::place("the kernel command line"))
}

/// The little-endian number of `N` bytes at `offset`.
pub(crate) fn le<const N: usize>(bytes: &[u8], offset: usize) -> Option<u64> {
    let field = bytes.get(offset..)?.get(..N)?;
    Some(field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}
