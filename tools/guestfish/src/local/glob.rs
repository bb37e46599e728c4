//! `glob`: a command for every name that wildcards match.

use std::io::Write;

use anyhow::Result;
use guestd_api::GuestString;
use guestd_api::actions::search::GlobExpandOptions;
use guestd_api::prelude::*;

use super::{Flow, text};
use crate::session::Session;
use crate::shell::{Shell, Usage};

/// Every combination of what the arguments match; an argument that matches nothing stays as it is.
pub(super) fn glob(
    shell: &mut Shell,
    session: &mut Session,
    words: &[GuestString],
    out: &mut dyn Write,
) -> Result<Flow> {
    let Some((command, arguments)) = words.split_first() else {
        return Err(Usage("use 'glob command [args...]'".to_owned()).into());
    };
    let mut lines = vec![vec![command.clone()]];
    for argument in arguments {
        let is_pattern = argument.as_bytes().iter().any(|b| b"*?[".contains(b));
        let matches = match (is_pattern, argument.as_bytes()) {
            (true, bytes) if bytes.starts_with(b"/dev/") => device_matches(session, text(argument)?)?,
            (true, bytes) if bytes.starts_with(b"/") => {
                session.guest.glob_expand(argument.clone(), GlobExpandOptions::default())?
            }
            _ => Vec::new(),
        };
        let matches = if matches.is_empty() { vec![argument.clone()] } else { matches };
        lines = lines
            .iter()
            .flat_map(|line| matches.iter().map(move |m| [&line[..], std::slice::from_ref(m)].concat()))
            .collect();
    }
    for line in lines {
        if let Flow::Quit = shell.run(session, &line, out)? {
            return Ok(Flow::Quit);
        }
    }
    Ok(Flow::Go)
}

/// Devices whose name matches; only `*` and `?` make sense in device names.
fn device_matches(session: &Session, pattern: &str) -> Result<Vec<GuestString>> {
    let guest = &session.guest;
    let mut devices = guest.list_devices()?;
    devices.extend(guest.list_partitions()?);
    let is_volume = pattern.get(5..).is_some_and(|rest| rest.contains('/'));
    if is_volume && guest.feature_available(&["lvm2"])? {
        devices.extend(guest.lvs()?);
    }
    Ok(devices.into_iter().filter(|d| matches(pattern.as_bytes(), d.as_bytes())).collect())
}

fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skip| matches(rest, &text[skip..])),
        Some((b'?', rest)) => !text.is_empty() && matches(rest, &text[1..]),
        Some((letter, rest)) => text.first() == Some(letter) && matches(rest, &text[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_patterns() {
        assert!(matches(b"/dev/sd?*", b"/dev/sda1") && matches(b"/dev/sda*", b"/dev/sda"));
        assert!(!matches(b"/dev/sda?", b"/dev/sda") && !matches(b"/dev/sdb*", b"/dev/sda1"));
    }
}
