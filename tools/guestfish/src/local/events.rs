//! Commands about events.

use std::io::Write;

use anyhow::Result;
use guestd_api::GuestString;

use super::{Flow, text, wrong};
use crate::session::Session;
use crate::shell::{Shell, Usage};

pub(super) fn add(
    _: &mut Shell,
    session: &mut Session,
    words: &[GuestString],
    _: &mut dyn Write,
) -> Result<Flow> {
    let [name, events, script] = words else {
        return Err(
            Usage("use 'event name eventset \"command\"' to run a command on events".to_owned()).into()
        );
    };
    session.events.add(text(name)?, text(events)?, text(script)?)?;
    Ok(Flow::Go)
}

pub(super) fn delete(
    _: &mut Shell,
    session: &mut Session,
    words: &[GuestString],
    _: &mut dyn Write,
) -> Result<Flow> {
    let [name] = words else { return Err(wrong("delete-event")) };
    if !session.events.remove(text(name)?) {
        return Err(Usage(format!("delete-event: {name}: no such event handler")).into());
    }
    Ok(Flow::Go)
}

pub(super) fn list(
    _: &mut Shell,
    session: &mut Session,
    words: &[GuestString],
    out: &mut dyn Write,
) -> Result<Flow> {
    if !words.is_empty() {
        return Err(wrong("list-events"));
    }
    for line in session.events.lines() {
        writeln!(out, "{line}")?;
    }
    Ok(Flow::Go)
}
