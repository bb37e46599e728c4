//! The host's side of uploads and downloads: files, `-`, and text that stands in the script itself.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use anyhow::{Context, Result};
use guestd_api::GuestString;

/// The marker that begins text in the script: `upload -<<END /file`.
pub(crate) const HERE: &str = "-<<";

/// Opens what is uploaded. `here` is the text that followed the command, where it asked for that.
pub(crate) fn input(word: &GuestString, here: Option<&str>) -> Result<Box<dyn Read>> {
    if let Some(text) = here {
        return Ok(Box::new(Cursor::new(text.to_owned().into_bytes())));
    }
    if word == "-" {
        return Ok(Box::new(io::stdin()));
    }
    let path = Path::new(word.as_os_str());
    let file = File::open(path).with_context(|| format!("open: {}", path.display()))?;
    Ok(Box::new(file))
}

/// Opens where a download goes; `None` is for where the output of commands goes.
pub(crate) fn output(word: &GuestString) -> Result<Option<File>> {
    if word == "-" {
        return Ok(None);
    }
    let path = Path::new(word.as_os_str());
    File::create(path).map(Some).with_context(|| path.display().to_string())
}

/// Standard input by way of the library's buffer, which keys and uploads from it share.
pub(crate) struct Unbuffered;

impl Read for Unbuffered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        io::stdin().read(buffer)
    }
}
