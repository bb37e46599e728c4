//! Commands of the shell as such: words, time, help, leaving.

use std::io::Write;
use std::time::Instant;

use anyhow::Result;
use guestd_api::prelude::*;
use guestd_api::{ArgError, GuestString};

use super::{Flow, text, wrong};
use crate::session::Session;
use crate::shell::{Shell, Silent, Usage};

pub(super) fn echo(
    _: &mut Shell,
    _: &mut Session,
    words: &[GuestString],
    out: &mut dyn Write,
) -> Result<Flow> {
    let words: Vec<&[u8]> = words.iter().map(GuestString::as_bytes).collect();
    out.write_all(&words.join(&b' '))?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok(Flow::Go)
}

pub(super) fn quit(_: &mut Shell, _: &mut Session, _: &[GuestString], _: &mut dyn Write) -> Result<Flow> {
    Ok(Flow::Quit)
}

pub(super) fn reopen(
    _: &mut Shell,
    session: &mut Session,
    words: &[GuestString],
    _: &mut dyn Write,
) -> Result<Flow> {
    if !words.is_empty() {
        return Err(Usage("'reopen' command doesn't take any parameters".to_owned()).into());
    }
    session.reopen()?;
    Ok(Flow::Go)
}

pub(super) fn help(
    _: &mut Shell,
    _: &mut Session,
    words: &[GuestString],
    out: &mut dyn Write,
) -> Result<Flow> {
    let name = words.first().map(text).transpose()?;
    out.write_all(crate::help::about(name)?.as_bytes())?;
    Ok(Flow::Go)
}

pub(super) fn time(
    shell: &mut Shell,
    session: &mut Session,
    words: &[GuestString],
    out: &mut dyn Write,
) -> Result<Flow> {
    if words.is_empty() {
        return Err(Usage("use 'time command [args...]'".to_owned()).into());
    }
    let started = Instant::now();
    let flow = shell.run(session, words, out)?;
    writeln!(out, "elapsed time: {:.2} seconds", started.elapsed().as_secs_f64())?;
    Ok(flow)
}

/// Wants the command to fail. One whose words are wrong was not even tried.
pub(super) fn not(
    shell: &mut Shell,
    session: &mut Session,
    words: &[GuestString],
    out: &mut dyn Write,
) -> Result<Flow> {
    if words.is_empty() {
        return Err(Usage("use 'not command [args...]'".to_owned()).into());
    }
    match shell.run(session, words, out) {
        Ok(_) => Err(Silent.into()),
        Err(error) if matches!(error.downcast_ref(), Some(ArgError::Count)) => Err(error),
        Err(error) => {
            crate::shell::report(session, &error);
            Ok(Flow::Go)
        }
    }
}

/// What the appliance can do, feature by feature.
pub(super) fn supported(
    _: &mut Shell,
    session: &mut Session,
    words: &[GuestString],
    out: &mut dyn Write,
) -> Result<Flow> {
    if !words.is_empty() {
        return Err(wrong("supported"));
    }
    let groups = session.guest.available_all_groups()?;
    let width = groups.iter().map(|group| group.as_bytes().len()).max().unwrap_or(0);
    for group in groups {
        let there = session.guest.feature_available(&[&group])?;
        writeln!(out, "{:>width$} {}", group.to_string(), if there { "yes" } else { "no" })?;
    }
    Ok(Flow::Go)
}
