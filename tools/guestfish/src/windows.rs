//! Paths as Windows writes them, `win:C:\Users`, in the place of any path of the guest.

use anyhow::{Context, Result, bail};
use guest::Guest;
use guestd_api::kind::ArgKind;
use guestd_api::prelude::*;
use guestd_api::{CommandSpec, GuestString};

use crate::shell::Usage;

/// The words of a command with such paths replaced by those that the guest has; nothing if there are none.
///
/// # Errors
/// When a drive is not known or not mounted, or there is no such path.
pub(crate) fn translated(
    guest: &Guest,
    command: &CommandSpec,
    words: &[GuestString],
) -> Result<Option<Vec<GuestString>>> {
    // Keys are not among the words.
    let mut kinds = command.args.iter().map(|arg| arg.kind).filter(|kind| *kind != ArgKind::Key);
    let mut found = false;
    let translate = |word: &GuestString| {
        let is_path =
            matches!(kinds.next(), Some(ArgKind::Pathname | ArgKind::DevOrPath | ArgKind::MountableOrPath));
        match after_prefix(word.as_bytes()).filter(|_| is_path) {
            Some(path) => {
                found = true;
                resolve(guest, path)
            }
            None => Ok(word.clone()),
        }
    };
    let words = words.iter().map(translate).collect::<Result<Vec<_>>>()?;
    Ok(found.then_some(words))
}

fn after_prefix(word: &[u8]) -> Option<&[u8]> {
    let (prefix, rest) = word.split_at_checked(4)?;
    prefix.eq_ignore_ascii_case(b"win:").then_some(rest)
}

fn resolve(guest: &Guest, path: &[u8]) -> Result<GuestString> {
    let (mut whole, rest) = match path {
        [letter, b':', rest @ ..] if letter.is_ascii_alphabetic() => {
            (mount_point(guest, char::from(letter.to_ascii_lowercase()))?.into_bytes(), rest)
        }
        rest => (Vec::new(), rest),
    };
    whole.push(b'/');
    whole.extend(rest.iter().map(|&byte| if byte == b'\\' { b'/' } else { byte }));
    // What was mounted on / begins with two slashes otherwise, and a root alone ends with none.
    let mut path: Vec<u8> = Vec::new();
    for byte in whole {
        if byte != b'/' || path.last() != Some(&b'/') {
            path.push(byte);
        }
    }
    Ok(guest.case_sensitive_path(GuestString::from(path))?)
}

/// Where a drive is mounted.
fn mount_point(guest: &Guest, letter: char) -> Result<String> {
    let roots = guest.inspect_get_roots().unwrap_or_default();
    let Some(first) = roots.first() else {
        bail!(Usage(
            "guestfish: to use Windows drive letters, you must inspect the guest (\"-i\" option or run \"inspect-os\" command)"
                .to_owned()
        ));
    };
    let mut device = None;
    for root in &roots {
        let drives = guest.inspect_get_drive_mappings(root)?;
        let is_it = |name: &GuestString| name.to_string().eq_ignore_ascii_case(&letter.to_string());
        device =
            device.or_else(|| drives.into_iter().find(|(name, _)| is_it(name)).map(|(_, device)| device));
    }
    let Some(device) = device else {
        bail!(Usage(format!(
            "guestfish: drive '{letter}:' not found.  To list available drives do:\n  inspect-get-drive-mappings {first}"
        )));
    };
    let mounted = guest.mountpoints().context("what is mounted cannot be listed")?;
    match mounted.into_iter().find(|(theirs, _)| *theirs == device) {
        Some((_, point)) => Ok(point.to_string()),
        None => bail!(Usage(format!(
            "guestfish: to access '{letter}:', mount {device} first.  One way to do this is:\n  umount-all\n  mount {device} /"
        ))),
    }
}
