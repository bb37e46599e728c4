//! Questions about files and directories.

use guestd_api::actions::{dirs, files, links, read, search, stat, transfer};
use guestd_api::{Call, Context, Failure, GuestString, Value};
use libimage::fs::system::Kind;

use super::vfs::{Found, MAX_PATH, Named, Vfs, errno, join};
use super::{Refusal, Served, aside, text};
use rustix::io::Errno;

/// Contents that are an answer are bounded as the appliance bounds them.
const MAX_CONTENT: u64 = guestd_api::wire::MAX_REPLY as u64 / 2;
/// Deeper trees than this are not walked here.
const MAX_DEPTH: usize = 1000;

pub(super) fn answer(vfs: &Vfs, call: &Call, context: &mut Context<'_>) -> Served<Value> {
    match call {
        Call::Files(call) => files_call(vfs, call),
        Call::Dirs(dirs::Call::ls { directory }) => ls(vfs, directory),
        Call::Links(links::Call::readlink { path }) => readlink(vfs, path),
        Call::Stat(stat::Call::filesize { file }) => Ok(Value::Int(existing(vfs, file)?.size()? as i64)),
        Call::Search(search::Call::find { directory }) => find(vfs, directory),
        Call::Read(call) => read_call(vfs, call),
        Call::Transfer(transfer::Call::download { remotefilename, .. }) => {
            download(vfs, remotefilename, context)
        }
        _ => aside("the direct reader does not answer it"),
    }
}

fn files_call(vfs: &Vfs, call: &files::Call) -> Served<Value> {
    use files::Call;
    let is = |path: &GuestString, follow: Option<bool>, kind: Kind| {
        let found = reachable(vfs, path, follow.unwrap_or(false), &[Errno::NOENT, Errno::NOTDIR])?;
        Ok(Value::Bool(found.is_some_and(|f| f.kind() == Some(kind))))
    };
    match call {
        Call::exists { path } => {
            // A loop of links leads to nothing.
            let nothing = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP];
            Ok(Value::Bool(reachable(vfs, path, true, &nothing)?.is_some_and(|f| f.kind().is_some())))
        }
        Call::is_file { path, opts } => is(path, opts.followsymlinks, Kind::File),
        Call::is_dir { path, opts } => is(path, opts.followsymlinks, Kind::Directory),
        Call::is_symlink { path } => is(path, Some(false), Kind::Symlink),
        // The C library looks at the parts of a path that is too long for the kernel as a whole.
        Call::realpath { path } if path.as_bytes().len() > MAX_PATH => aside("the path is too long"),
        Call::realpath { path } => Ok(text(existing(vfs, path)?.path)),
        _ => aside("the direct reader does not answer it"),
    }
}

fn read_call(vfs: &Vfs, call: &read::Call) -> Served<Value> {
    use read::Call;
    match call {
        Call::cat { path } => {
            let bytes = contents(vfs, path)?;
            // Text ends where C ends it.
            let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
            Ok(text(&bytes[..end]))
        }
        Call::read_file { path } => Ok(Value::Buffer(contents(vfs, path)?.into())),
        _ => aside("the direct reader does not answer it"),
    }
}

fn ls(vfs: &Vfs, directory: &GuestString) -> Served<Value> {
    let found = existing(vfs, directory)?;
    let all = vfs.list(found.place()?, &found.path, directory.as_bytes())?;
    let mut names: Vec<GuestString> = all.into_iter().map(|named| named.name.into()).collect();
    names.sort();
    Ok(Value::StringList(names))
}

fn readlink(vfs: &Vfs, path: &GuestString) -> Served<Value> {
    let found = vfs.resolve(path.as_bytes(), false)?;
    if found.kind().is_none() {
        return Err(errno(path.as_bytes(), Errno::NOENT));
    }
    Ok(text(found.ask(|fs, node| fs.read_link(node))?))
}

/// All names below a directory, relative to it, sorted.
fn find(vfs: &Vfs, directory: &GuestString) -> Served<Value> {
    let start = existing(vfs, directory)?;
    let mut names = Vec::new();
    let mut bytes = 0;
    // Each with its path in the whole tree, and from where the search began.
    let mut ahead = vec![(start.place()?, start.path.clone(), Vec::new(), 0)];
    while let Some((place, path, relative, depth)) = ahead.pop() {
        if depth > MAX_DEPTH {
            return aside("the tree is too deep");
        }
        let asked =
            if depth == 0 { directory.as_bytes().to_vec() } else { join(directory.as_bytes(), &relative) };
        for Named { name, place, kind } in vfs.list(place, &path, &asked)? {
            let shown = if relative.is_empty() { name.clone() } else { join(&relative, &name) };
            if kind == Kind::Directory {
                ahead.push((place, join(&path, &name), shown.clone(), depth + 1));
            }
            // Directories that contain each other have no end, and are found out by the kernel.
            bytes += shown.len() as u64;
            if bytes > MAX_CONTENT {
                return aside("there are too many names");
            }
            names.push(GuestString::from(shown));
        }
    }
    names.sort();
    Ok(Value::StringList(names))
}

fn download(vfs: &Vfs, path: &GuestString, context: &mut Context<'_>) -> Served<Value> {
    if path.as_bytes().starts_with(b"/dev/") {
        return aside("it is a device");
    }
    let found = existing(vfs, path)?;
    match found.kind() {
        Some(Kind::File) => {}
        Some(Kind::Directory) => return Err(errno(path.as_bytes(), Errno::ISDIR)),
        _ => return aside("it is not a regular file"),
    }
    let Some(output) = context.output.as_mut() else { return aside("there is nowhere to write to") };
    let cancel = context.cancel;
    let mut failed = None;
    found.read_file(&mut |bytes| {
        if cancel.is_some_and(|c| c.is_cancelled()) {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        output.write_all(bytes).inspect_err(|e| failed = Some(e.to_string()))
    })?;
    match failed {
        None => Ok(Value::Void),
        Some(why) => Err(Failure::new(why).into()),
    }
}

fn contents(vfs: &Vfs, path: &GuestString) -> Served<Vec<u8>> {
    let found = existing(vfs, path)?;
    match found.kind() {
        Some(Kind::File) if found.size()? <= MAX_CONTENT => {}
        Some(Kind::File) => {
            let why = format!("{path}: file is too large for this action, use download");
            return Err(Failure::new(why).with_errno(Errno::FBIG.raw_os_error()).into());
        }
        Some(Kind::Directory) => return Err(errno(path.as_bytes(), Errno::ISDIR)),
        _ => return aside("it is not a regular file"),
    }
    let mut bytes = Vec::new();
    found.read_file(&mut |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(bytes)
}

fn existing<'a>(vfs: &'a Vfs, path: &GuestString) -> Served<Found<'a>> {
    let found = vfs.resolve(path.as_bytes(), true)?;
    if found.kind().is_some() { Ok(found) } else { Err(errno(path.as_bytes(), Errno::NOENT)) }
}

/// `None` where the way fails with one of the errors in `nothing`.
fn reachable<'a>(
    vfs: &'a Vfs,
    path: &GuestString,
    follow: bool,
    nothing: &[Errno],
) -> Served<Option<Found<'a>>> {
    match vfs.resolve(path.as_bytes(), follow) {
        Ok(found) => Ok(Some(found)),
        Err(Refusal::Failure(failure)) if nothing.iter().any(|e| e.raw_os_error() == failure.errno) => {
            Ok(None)
        }
        Err(other) => Err(other),
    }
}
