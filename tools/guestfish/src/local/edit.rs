//! `edit` and `hexedit`: a file goes to the host, through an editor, and back if it changed.

use std::ffi::OsString;
use std::fs;
use std::io::Write;

use anyhow::{Result, bail};
use guestd_api::GuestString;
use guestd_api::prelude::*;
use guestd_api::words::integer;

use super::Flow;
use crate::environment;
use crate::session::Session;
use crate::shell::{Shell, Usage};

/// More is not edited without saying which part.
const MAX_HEX: i64 = 64 << 20;
/// More does not fit into one message of the appliance.
const PIECE: usize = 1 << 20;

/// Downloads a file, lets the user edit it, and puts it back if it changed, with its attributes.
pub(super) fn edit(
    shell: &mut Shell,
    session: &mut Session,
    words: &[GuestString],
    _: &mut dyn Write,
) -> Result<Flow> {
    let [path] = words else {
        return Err(Usage("use 'edit filename' to edit a file".to_owned()).into());
    };
    let guest = &session.guest;
    // Of a link, what it leads to: the link stays.
    let path = guest.realpath(path.clone())?;
    let before = guest.read_file(path.clone())?;
    let editor = match shell.typed.as_str() {
        "vi" => "vi".into(),
        "emacs" => "emacs -nw".into(),
        _ => environment::get("EDITOR").unwrap_or_else(|| "vi".into()),
    };
    let after = through_editor(guest, editor, &before)?;
    if after == before {
        return Ok(Flow::Go);
    }
    // A new file takes the old one's place in one step, so that a guest never finds half of it. It begins
    // as a copy, because that has the owner, the mode and all other attributes.
    let new = GuestString::from([path.as_bytes(), b".guestfish-edit"].concat());
    if guest.exists(new.clone())? {
        bail!("edit: '{new}' is in the way, perhaps left by an edit that was cut short");
    }
    let replace = || {
        guest.cp_a(path.clone(), new.clone())?;
        guest.upload(&mut &after[..], new.clone())?;
        guest.mv(new.clone(), path.clone())
    };
    let done = replace();
    if done.is_err() {
        // The first error is the one to be told.
        let _ = guest.rm_f(new.clone());
    }
    done?;
    Ok(Flow::Go)
}

/// The same for bytes, in place.
pub(super) fn hexedit(
    _: &mut Shell,
    session: &mut Session,
    words: &[GuestString],
    _: &mut dyn Write,
) -> Result<Flow> {
    let number = |word: &GuestString| {
        let number = integer("size", word).ok().filter(|number| *number >= 0);
        number.ok_or_else(|| Usage(format!("hexedit: '{word}' is not a size")))
    };
    let (name, start, max) = match words {
        [name] => (name, 0, None),
        [name, max] => (name, 0, Some(number(max)?)),
        [name, start, max] => (name, number(start)?, Some(number(max)?)),
        _ => return Err(Usage("hexedit (device|filename) [max | start max]".to_owned()).into()),
    };
    let guest = &session.guest;
    let is_device = name.as_bytes().starts_with(b"/dev/");
    let size = if is_device { guest.blockdev_getsize64(name)? } else { guest.filesize(name)? };
    if max.is_none() && size > MAX_HEX {
        bail!("hexedit: '{name}' has {size} bytes: say which part is to be edited");
    }
    let length = max.unwrap_or(size).min(size.saturating_sub(start)).max(0);
    if length > MAX_HEX {
        bail!("hexedit: {length} bytes are too many at once");
    }
    let mut before = Vec::new();
    while (before.len() as i64) < length {
        let at = start.saturating_add(before.len() as i64);
        let count = i32::try_from((length - before.len() as i64).min(PIECE as i64)).unwrap_or(i32::MAX);
        let piece =
            if is_device { guest.pread_device(name, count, at)? } else { guest.pread(name, count, at)? };
        if piece.is_empty() {
            break;
        }
        before.extend(piece);
    }
    let editor = environment::get("HEXEDITOR").unwrap_or_else(|| "hexedit".into());
    let after = through_editor(guest, editor, &before)?;
    if after.len() != before.len() {
        bail!(
            "hexedit: the editor changed the size from {} to {} bytes: nothing was written",
            before.len(),
            after.len()
        );
    }
    for (index, (old, new)) in before.chunks(PIECE).zip(after.chunks(PIECE)).enumerate() {
        if old == new {
            continue;
        }
        let mut done = 0;
        while let Some(rest) = new.get(done..).filter(|rest| !rest.is_empty()) {
            let at = start.saturating_add((index * PIECE + done) as i64);
            let count = if is_device {
                guest.pwrite_device(name, rest, at)?
            } else {
                guest.pwrite(name, rest, at)?
            };
            done += usize::try_from(count).ok().filter(|count| *count > 0).unwrap_or(rest.len());
        }
    }
    Ok(Flow::Go)
}

/// What an editor makes of some bytes.
fn through_editor(guest: &guest::Guest, editor: OsString, before: &[u8]) -> Result<Vec<u8>> {
    let mut copy =
        tempfile::Builder::new().prefix("guestfish-").tempfile_in(guest.get_tmpdir()?.as_os_str())?;
    copy.write_all(before)?;
    copy.flush()?;
    let mut line = editor.clone();
    line.push(" \"$1\"");
    let status = environment::shell(line).arg("sh").arg(copy.path()).status()?;
    if !status.success() {
        bail!("edit: '{}' failed: {status}", editor.display());
    }
    Ok(fs::read(copy.path())?)
}
