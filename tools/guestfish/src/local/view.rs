//! Commands that show something with a program of the host.

use std::io::Write;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use guestd_api::GuestString;
use guestd_api::prelude::*;

use super::Flow;
use crate::environment;
use crate::session::Session;
use crate::shell::{Shell, Usage};

pub(super) fn more(
    shell: &mut Shell,
    session: &mut Session,
    words: &[GuestString],
    _: &mut dyn Write,
) -> Result<Flow> {
    let [path] = words else {
        return Err(Usage("use 'more filename' to page a file".to_owned()).into());
    };
    let bytes = session.guest.read_file(path.clone())?;
    let pager = match shell.typed.as_str() {
        "less" => "less".into(),
        _ => environment::get("PAGER").unwrap_or_else(|| "more".into()),
    };
    let mut child = environment::shell(pager).stdin(Stdio::piped()).spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        // Leaving the pager early is not an error.
        let _ = pipe.write_all(&bytes);
    }
    child.wait()?;
    Ok(Flow::Go)
}

pub(super) fn display(
    _: &mut Shell,
    session: &mut Session,
    words: &[GuestString],
    _: &mut dyn Write,
) -> Result<Flow> {
    let [path] = words else {
        return Err(Usage("display filename".to_owned()).into());
    };
    let name = path.to_string();
    // Viewers go by the ending of the name.
    let ending = name.rsplit_once('.').map(|(_, ending)| ending).filter(|ending| !ending.contains('/'));
    let suffix = ending.map(|ending| format!(".{ending}")).unwrap_or_default();
    let directory = session.guest.get_tmpdir()?;
    let mut copy =
        tempfile::Builder::new().prefix("guestfish-").suffix(&suffix).tempfile_in(directory.as_os_str())?;
    session.guest.download(path, copy.as_file_mut())?;
    let mut line = environment::get("GUESTFISH_DISPLAY_IMAGE").unwrap_or_else(|| "display".into());
    line.push(" \"$1\"");
    let status = environment::shell(line).arg("sh").arg(copy.path()).status()?;
    if !status.success() {
        bail!("display: the viewer failed: {status}");
    }
    Ok(Flow::Go)
}

pub(super) fn manual(
    _: &mut Shell,
    _: &mut Session,
    words: &[GuestString],
    _: &mut dyn Write,
) -> Result<Flow> {
    if !words.is_empty() {
        return Err(Usage("use ‘man’ without parameters to open the manual".to_owned()).into());
    }
    let status = environment::command("man").args(["1", "guestfish"]).status().context("man")?;
    if !status.success() {
        bail!("man: there is no manual page of guestfish here: 'help' lists all commands");
    }
    Ok(Flow::Go)
}
