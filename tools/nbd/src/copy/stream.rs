//! Copying from a stream, whose length nobody knows before its end.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};

use anyhow::Result;
use libimage::Error;
use libimage::block::{Block, Zero};
use libimage::job::zero::leading_run;

use super::Options;
use super::ends::Opened;
use super::run::too_small;

/// Copies all of `input`.
///
/// # Errors
/// When it cannot be read, or the destination not be written, or is too small.
pub(super) fn copy(input: &mut File, name: &str, destination: &Opened, options: &Options) -> Result<()> {
    let mut buffer = vec![0; options.request_size];
    let mut at = 0u64;
    loop {
        let length = fill(input, &mut buffer).map_err(|error| Error::io_at("read", name, at, error))?;
        let bytes = buffer.get(..length).unwrap_or_default();
        if bytes.is_empty() {
            return finish(destination, at, options);
        }
        let end = at + length as u64;
        match destination {
            Opened::Null => {}
            Opened::Stream(out, name) => {
                let mut out: &File = out;
                out.write_all(bytes).map_err(|error| Error::io_at("write to", name, at, error))?;
            }
            Opened::New(file) => place(&**file, bytes, at, true, options)?,
            Opened::Block(block, _) if end > block.size() => return Err(too_small(block.size(), end)),
            Opened::Block(block, _) => place(&**block, bytes, at, options.destination_is_zero, options)?,
        }
        at = end;
    }
}

/// Fills `buffer`, or less of it at the end of the input.
fn fill(input: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes bytes that follow those of before; zeroes among them become holes where that is wanted.
fn place(block: &dyn Block, bytes: &[u8], start: u64, is_zero: bool, options: &Options) -> Result<()> {
    if options.sparse == 0 {
        return Ok(block.write_at(bytes, start)?);
    }
    let mut done = 0;
    while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
        let at = start + done as u64;
        let (length, zero) = leading_run(rest, options.sparse);
        match (zero, options.allocated) {
            (true, true) => block.write_zeroes(at..at + length as u64, Zero::KeepAllocated)?,
            (true, false) if is_zero => {}
            (true, false) => block.write_zeroes(at..at + length as u64, Zero::MayUnmap)?,
            (false, _) => block.write_at(rest.get(..length).unwrap_or_default(), at)?,
        }
        done += length;
    }
    Ok(())
}

fn finish(destination: &Opened, size: u64, options: &Options) -> Result<()> {
    match destination {
        Opened::New(file) => {
            // Zeroes at the end were left out.
            file.resize(size, libimage::block::Preallocation::Off)?;
            if options.flush {
                file.flush()?;
            }
        }
        Opened::Block(block, _) if options.flush || options.destination_format.is_some() => block.flush()?,
        _ => {}
    }
    Ok(())
}
