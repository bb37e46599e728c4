//! Checksums of whole trees, and comparing files.

use crate::task::Output;
use crate::worker::{GuestPath, Worker};
use guestd_api::actions::checksum::Server;
use guestd_api::{Failure, GuestString};
use std::fs::File;
use std::io::{self, BufRead, BufReader};

/// Runs a program with all regular files below a directory, as many at a time as fit.
const SCRIPT: &str = "cd -- \"$1\" && find . -type f -print0 | xargs -0 -r \"$2\"";

/// Compares two files to the first difference.
fn same(first: File, second: File) -> io::Result<bool> {
    let mut first = BufReader::with_capacity(64 << 10, first);
    let mut second = BufReader::with_capacity(64 << 10, second);
    loop {
        let (a, b) = (first.fill_buf()?, second.fill_buf()?);
        let length = a.len().min(b.len());
        if length == 0 {
            return Ok(a.len() == b.len());
        }
        if a.get(..length) != b.get(..length) {
            return Ok(false);
        }
        first.consume(length);
        second.consume(length);
    }
}

impl Server for Worker {
    fn checksums_out(
        &self,
        csumtype: GuestString,
        directory: GuestPath,
        mut sumsfile: Output,
    ) -> Result<(), Failure> {
        let program = super::transfer::sum_program(&csumtype)?;
        let place = self.outside(&directory)?;
        {
            let _guest = self.guest()?;
            if !directory.path().metadata().map_err(|e| directory.failure(e))?.is_dir() {
                let why = "not a directory";
                return Err(Failure::new(format!("{}: {why}", GuestString::from(directory.as_ref()))));
            }
        }
        // The words after the script are its $0, $1 and $2.
        let bash = self.tool("bash")?.arg("-c").arg(SCRIPT).arg("bash").arg(place).arg(program);
        bash.finish_with(None, Some(&mut sumsfile))?.success()
    }

    fn equal(&self, file1: GuestPath, file2: GuestPath) -> Result<bool, Failure> {
        let (first, second) = (self.open(&file1)?, self.open(&file2)?);
        same(first, second).map_err(|e| file1.failure(e))
    }
}
