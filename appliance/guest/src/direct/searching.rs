//! Finding files, and lines in them.

use std::io::{BufWriter, Write};

use guestd_api::actions::search;
use guestd_api::actions::search::GrepOptions;
use guestd_api::forms::pattern;
use guestd_api::{Context, Failure, GuestString, Value};
use libimage::fs::system::Kind;

use super::reading::{lines, open, pieces};
use super::vfs::{Named, Place, Vfs, join};
use super::{MAX_CONTENT, MAX_DEPTH, Refusal, Served, aside, check};

/// Answers a call of this group.
pub(super) fn answer(vfs: &Vfs, call: &search::Call, context: &mut Context<'_>) -> Served<Value> {
    use search::Call;
    match call {
        Call::find { directory } => find(vfs, directory, context),
        Call::find0 { directory, .. } => find_out(vfs, directory, context),
        Call::ls0 { dir, .. } => super::listing::names_out(vfs, dir, context),
        Call::glob_expand { pattern, opts } => {
            let slash = opts.directoryslash.unwrap_or(true);
            expand(vfs, pattern, slash, context)
        }
        Call::grep { regex, path, opts } => grep(vfs, regex, path, opts, context),
        Call::egrep { regex, path } => {
            grep(vfs, regex, path, &GrepOptions::default().extended(true), context)
        }
        Call::fgrep { pattern, path } => {
            grep(vfs, pattern, path, &GrepOptions::default().fixed(true), context)
        }
        _ => aside("that is for the program grep to say"),
    }
}

/// A directory to be walked: where it is, its path in the whole tree, and from where the walk began.
struct Ahead {
    place: Place,
    path: Vec<u8>,
    relative: Vec<u8>,
    depth: usize,
}

/// Calls for everything below a directory with the path relative to it: all names of a directory one after the
/// other, the last of its directories next.
fn walk(
    vfs: &Vfs,
    directory: &GuestString,
    context: &Context<'_>,
    mut found: impl FnMut(&[u8]) -> Served<()>,
) -> Served<()> {
    let start = vfs.existing(directory)?;
    let (place, path) = (start.place()?, start.path.clone());
    let mut ahead = vec![Ahead { place, path, relative: Vec::new(), depth: 0 }];
    let mut shown = Vec::new();
    while let Some(Ahead { place, path, relative, depth }) = ahead.pop() {
        check(context)?;
        // Directories that contain each other have no end, and are found out by the kernel.
        if depth > MAX_DEPTH {
            return aside("the tree is too deep");
        }
        let asked = join_from(directory.as_bytes(), &relative);
        for Named { name, place, kind, .. } in vfs.list(place, &path, &asked)? {
            shown.clear();
            if !relative.is_empty() {
                shown.extend_from_slice(&relative);
                shown.push(b'/');
            }
            shown.extend_from_slice(&name);
            found(&shown)?;
            if kind == Kind::Directory {
                let relative = shown.clone();
                ahead.push(Ahead { place, path: join(&path, &name), relative, depth: depth + 1 });
            }
        }
    }
    Ok(())
}

fn join_from(directory: &[u8], relative: &[u8]) -> Vec<u8> {
    if relative.is_empty() { directory.to_vec() } else { join(directory, relative) }
}

/// All names below a directory, sorted.
fn find(vfs: &Vfs, directory: &GuestString, context: &Context<'_>) -> Served<Value> {
    let mut names = Vec::new();
    let mut bytes = 0;
    walk(vfs, directory, context, |name| {
        bytes += name.len() as u64;
        if bytes > MAX_CONTENT {
            return aside("there are too many names");
        }
        names.push(GuestString::from(name));
        Ok(())
    })?;
    names.sort_unstable();
    Ok(Value::StringList(names))
}

/// All names below a directory as they come, each with a NUL.
///
/// The names are found before the first is written: what an appliance is asked for then must not have been
/// answered in part.
fn find_out(vfs: &Vfs, directory: &GuestString, context: &mut Context<'_>) -> Served<Value> {
    let mut names = Vec::new();
    walk(vfs, directory, context, |name| {
        names.extend_from_slice(name);
        names.push(0);
        if names.len() as u64 > MAX_CONTENT {
            return aside("there are too many names");
        }
        Ok(())
    })?;
    let Some(output) = context.output.as_mut() else { return aside("there is nowhere to write to") };
    let mut output = BufWriter::with_capacity(64 << 10, output);
    let written = output.write_all(&names).and_then(|()| output.flush());
    written.map_err(|e| Failure::io("Could not send the paths", &e))?;
    Ok(Value::Void)
}

/// The paths that match a pattern, sorted.
fn expand(vfs: &Vfs, pattern: &GuestString, slash: bool, context: &Context<'_>) -> Served<Value> {
    vfs.resolve(b"/", true)?;
    if !pattern.as_bytes().starts_with(b"/") {
        return aside("it is not an absolute path");
    }
    let mut paths = vec![b"/".to_vec()];
    for part in pattern.as_bytes().split(|b| *b == b'/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for path in &paths {
            check(context)?;
            expand_part(vfs, path, part, &mut next)?;
        }
        paths = next;
    }
    paths.sort_unstable();
    let wants_directory = pattern.as_bytes().ends_with(b"/");
    let mut all = Vec::with_capacity(paths.len());
    for mut path in paths {
        let is_directory =
            seen(vfs.resolve(&path, true))?.is_some_and(|found| found.kind() == Some(Kind::Directory));
        if wants_directory && !is_directory {
            continue;
        }
        if is_directory && (slash || wants_directory) && !path.ends_with(b"/") {
            path.push(b'/');
        }
        all.push(GuestString::from(path));
    }
    Ok(Value::StringList(all))
}

/// Adds what one part of a pattern matches in a directory.
fn expand_part(vfs: &Vfs, directory: &[u8], part: &[u8], into: &mut Vec<Vec<u8>>) -> Served<()> {
    if !part.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\')) {
        let path = join(directory, part);
        if seen(vfs.resolve(&path, false))?.is_some_and(|found| found.kind().is_some()) {
            into.push(path);
        }
        return Ok(());
    }
    let Some(found) = seen(vfs.resolve(directory, true))? else { return Ok(()) };
    if found.kind() != Some(Kind::Directory) {
        return Ok(());
    }
    for named in vfs.list(found.place()?, &found.path, directory)? {
        let hidden = named.name.starts_with(b".") && !part.starts_with(b".");
        if !hidden && pattern::matches(part, &named.name) {
            into.push(join(directory, &named.name));
        }
    }
    Ok(())
}

/// What cannot be seen does not match.
fn seen<T>(found: Served<T>) -> Served<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Refusal::Failure(_)) => Ok(None),
        Err(aside) => Err(aside),
    }
}

/// Lines that match an expression so plain that every kind of expression takes it for the same: letters and digits,
/// perhaps bound to the beginning or the end of the line.
fn grep(
    vfs: &Vfs,
    regex: &GuestString,
    path: &GuestString,
    opts: &GrepOptions,
    context: &Context<'_>,
) -> Served<Value> {
    let on = |option: Option<bool>| option.unwrap_or(false);
    let fixed = on(opts.fixed);
    let mut plain = regex.as_bytes();
    let (mut at_start, mut at_end) = (false, false);
    if !fixed {
        if let Some(rest) = plain.strip_prefix(b"^") {
            (plain, at_start) = (rest, true);
        }
        if let Some(rest) = plain.strip_suffix(b"$") {
            (plain, at_end) = (rest, true);
        }
    }
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b" !\"#%&',-/:;<=>@_~".contains(byte);
    let is_known = !plain.is_empty() && plain.iter().all(is_plain);
    if on(opts.insensitive) || on(opts.compressed) || (on(opts.extended) && fixed) || !is_known {
        return aside("that is for the program grep to say");
    }
    let found = open(vfs, path)?;
    if found.size()? > MAX_CONTENT {
        return aside("the file is large");
    }
    let mut content = Vec::new();
    pieces(&found, context, |piece| {
        content.extend_from_slice(piece);
        Ok(())
    })?;
    let matches = |line: &[u8]| match (at_start, at_end) {
        (true, true) => line == plain,
        (true, false) => line.starts_with(plain),
        (false, true) => line.ends_with(plain),
        (false, false) => line.windows(plain.len()).any(|part| part == plain),
    };
    let mut matching = Vec::new();
    for line in content.strip_suffix(b"\n").unwrap_or(&content).split(|byte| *byte == b'\n') {
        if !content.is_empty() && matches(line) {
            matching.extend_from_slice(line);
            matching.push(b'\n');
        }
    }
    Ok(Value::StringList(lines(&matching)))
}
