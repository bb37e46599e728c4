//! Commands that make images and add them.

use std::io::Write;

use anyhow::Result;
use guestd_api::GuestString;
use guestd_api::actions::host_disk::DiskCreateOptions;
use guestd_api::actions::launch::AddDriveOptions;
use guestd_api::prelude::*;
use guestd_api::words::integer;

use super::Flow;
use crate::session::Session;
use crate::shell::{Shell, Usage};

pub(super) fn alloc(
    _: &mut Shell,
    session: &mut Session,
    words: &[GuestString],
    _: &mut dyn Write,
) -> Result<Flow> {
    make(session, "alloc", words, "full")
}

pub(super) fn sparse(
    _: &mut Shell,
    session: &mut Session,
    words: &[GuestString],
    _: &mut dyn Write,
) -> Result<Flow> {
    make(session, "sparse", words, "sparse")
}

fn make(session: &Session, name: &str, words: &[GuestString], space: &str) -> Result<Flow> {
    let [file, size] = words else {
        return Err(Usage(format!("use '{name} file size' to create an image")).into());
    };
    let not_a_size = || Usage(format!("'{size}' is not a size, such as 100M"));
    let bytes = integer("size", size).ok().filter(|bytes| *bytes >= 0).ok_or_else(not_a_size)?;
    let opts = DiskCreateOptions::default().preallocation(space);
    session.guest.disk_create(file, "raw", bytes, opts)?;
    session.guest.add_drive(file, AddDriveOptions::default().format("raw"))?;
    Ok(Flow::Go)
}
