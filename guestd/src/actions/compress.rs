//! Compressed copies for the host.

use super::regular::about;
use crate::disks::Device;
use crate::task::Output;
use crate::worker::{GuestPath, Worker};
use guestd_api::actions::compress::{CompressDeviceOutOptions, CompressOutOptions, Server};
use guestd_api::{Failure, GuestString};
use std::fs::File;

/// The programs, each with its smallest level if it has any.
const PROGRAMS: &[(&str, Option<i32>)] =
    &[("compress", None), ("gzip", Some(1)), ("bzip2", Some(1)), ("xz", Some(0)), ("lzop", Some(1))];

/// The program for a type, and its option for a level.
fn filter(ctype: &GuestString, level: Option<i32>) -> Result<(&'static str, Option<String>), Failure> {
    let Some((program, least)) = PROGRAMS.iter().find(|(name, _)| *ctype == **name) else {
        return Err(Failure::new("unknown compression type"));
    };
    let option = match (level, least) {
        (None, _) => None,
        (Some(_), None) => {
            return Err(Failure::new(format!(
                "{program}: cannot use optional level parameter with this compression type"
            )));
        }
        (Some(level), Some(least)) if (*least..=9).contains(&level) => Some(format!("-{level}")),
        _ => return Err(Failure::new(format!("{program}: incorrect value for level parameter"))),
    };
    Ok((program, option))
}

impl Worker {
    fn compress(
        &self,
        ctype: &GuestString,
        level: Option<i32>,
        subject: &GuestString,
        open: impl FnOnce() -> Result<File, Failure>,
        to: &mut Output,
    ) -> Result<(), Failure> {
        let known = PROGRAMS.iter().find(|(name, _)| *ctype == **name);
        if let Some((program, _)) = known
            && self.agent.tools.find(program)?.is_none()
        {
            return Err(Failure::new(format!(
                "compression type {program} is not supported, because external program '{program}' is not \
                 available in the appliance"
            ))
            .with_errno(libc::ENOTSUP));
        }
        let (program, option) = filter(ctype, level)?;
        let program = self.tool(program)?.arg("-c").args(option).stdin(open()?);
        program.finish_with(None, Some(to))?.success().map_err(about(subject))
    }
}

impl Server for Worker {
    fn compress_out(
        &self,
        ctype: GuestString,
        file: GuestPath,
        mut zfile: Output,
        opts: CompressOutOptions,
    ) -> Result<(), Failure> {
        self.compress(&ctype, opts.level, &file.as_ref().into(), || self.open_regular(&file), &mut zfile)
    }

    fn compress_device_out(
        &self,
        ctype: GuestString,
        device: Device,
        mut zdevice: Output,
        opts: CompressDeviceOutOptions,
    ) -> Result<(), Failure> {
        self.compress(&ctype, opts.level, &device.shown, || device.open(), &mut zdevice)
    }
}
