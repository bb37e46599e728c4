//! What commands of the host inherit: the directory, and the variables of the environment.
//!
//! Variables are kept in the shell and handed to each command: changing those of a running program is not safe.

use std::io::Write;

use anyhow::Result;
use guestd_api::GuestString;

use super::{Flow, text};
use crate::session::Session;
use crate::shell::{Shell, Usage};

pub(super) fn lcd(_: &mut Shell, _: &mut Session, words: &[GuestString], _: &mut dyn Write) -> Result<Flow> {
    let [directory] = words else {
        return Err(Usage("use 'lcd directory' to change local directory".to_owned()).into());
    };
    if let Err(error) = std::env::set_current_dir(directory.as_os_str()) {
        return Err(Usage(format!("{directory}: {}", guestd_api::error_text(&error))).into());
    }
    Ok(Flow::Go)
}

pub(super) fn set(_: &mut Shell, _: &mut Session, words: &[GuestString], _: &mut dyn Write) -> Result<Flow> {
    let [name, value] = words else {
        return Err(Usage("use 'setenv VAR value' to set an environment variable".to_owned()).into());
    };
    let name = text(name)?;
    if name.is_empty() || name.contains('=') {
        return Err(Usage(format!("setenv: '{name}' is not the name of a variable")).into());
    }
    crate::environment::set(name, Some(value.as_os_str()));
    Ok(Flow::Go)
}

pub(super) fn unset(
    _: &mut Shell,
    _: &mut Session,
    words: &[GuestString],
    _: &mut dyn Write,
) -> Result<Flow> {
    let [name] = words else {
        return Err(Usage("use 'unsetenv VAR' to unset an environment variable".to_owned()).into());
    };
    crate::environment::set(text(name)?, None);
    Ok(Flow::Go)
}
