//! What a path is, and where it leads.

use guestd_api::actions::{files, links};
use guestd_api::{Failure, GuestString, Value};
use libimage::fs::system::Kind;
use rustix::io::Errno;

use super::vfs::{Found, MAX_PATH, Vfs, errno, join};
use super::{Refusal, Served, aside, text};

/// Answers a call of the group of files.
pub(super) fn answer(vfs: &Vfs, call: &files::Call) -> Served<Value> {
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
        Call::is_chardev { path, opts } => is(path, opts.followsymlinks, Kind::CharDevice),
        Call::is_blockdev { path, opts } => is(path, opts.followsymlinks, Kind::BlockDevice),
        Call::is_fifo { path, opts } => is(path, opts.followsymlinks, Kind::Fifo),
        Call::is_socket { path, opts } => is(path, opts.followsymlinks, Kind::Socket),
        Call::is_symlink { path } => is(path, Some(false), Kind::Symlink),
        // The C library looks at the parts of a path that is too long for the kernel as a whole.
        Call::realpath { path } if path.as_bytes().len() > MAX_PATH => aside("the path is too long"),
        Call::realpath { path } => Ok(text(vfs.existing(path)?.path)),
        Call::case_sensitive_path { path } => true_path(vfs, path),
        // What an appliance has at first; one that is told otherwise runs from then on.
        Call::get_umask {} => Ok(Value::Int(0o022)),
        _ => aside("it writes"),
    }
}

/// Answers a call of the group of links.
pub(super) fn links(vfs: &Vfs, call: &links::Call) -> Served<Value> {
    use links::Call;
    match call {
        Call::readlink { path } => {
            let found = vfs.there(path, false)?;
            Ok(text(found.ask(|fs, node| fs.read_link(node))?))
        }
        Call::readlinklist { path, names } => {
            let directory = vfs.names_in(path, names)?;
            vfs.existing(path)?;
            let asked = path.as_bytes();
            let target = |name| match directory.find(name)? {
                Some(place) if vfs.attributes(place, asked)?.kind == Kind::Symlink => {
                    Ok(vfs.ask(place, asked, |fs, node| fs.read_link(node))?.into())
                }
                _ => Ok(GuestString::new()),
            };
            Ok(Value::StringList(names.iter().map(target).collect::<Served<_>>()?))
        }
        _ => aside("it writes"),
    }
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

/// The spelling of a path whose case is not known.
fn true_path(vfs: &Vfs, path: &GuestString) -> Served<Value> {
    // Nothing can be said before something is mounted.
    vfs.resolve(b"/", true)?;
    let mut parts = path.as_bytes().split(|byte| *byte == b'/').filter(|part| !part.is_empty()).peekable();
    let mut real = b"/".to_vec();
    while let Some(part) = parts.next() {
        let missing = || {
            let failure = Failure::new(format!("{}: not found", GuestString::from(part)));
            Refusal::from(failure.with_errno(Errno::NOENT.raw_os_error()))
        };
        if matches!(part, b"." | b"..") {
            return Err(missing());
        }
        match true_name(vfs, &real, part)? {
            Some(name) => real = join(&real, &name),
            // The last part may be new.
            None if parts.peek().is_none() => real = join(&real, part),
            None => return Err(missing()),
        }
    }
    Ok(text(real))
}

/// A name in a directory that is the same but for the case of ASCII letters; one that is the very same wins.
fn true_name(vfs: &Vfs, directory: &[u8], name: &[u8]) -> Served<Option<Vec<u8>>> {
    let shown = directory.rsplit(|&b| b == b'/').next().filter(|name| !name.is_empty()).unwrap_or(directory);
    let not_entered = |refusal: Refusal| refusal.with_subject([b"chdir: ", shown].concat());
    let found = vfs.resolve(directory, true).map_err(not_entered)?;
    match found.kind() {
        Some(Kind::Directory) => {}
        Some(_) => return Err(not_entered(errno(directory, Errno::NOTDIR))),
        None => return Err(not_entered(errno(directory, Errno::NOENT))),
    }
    match vfs.resolve(&join(directory, name), false) {
        Ok(exact) if exact.kind().is_some() => return Ok(Some(name.to_vec())),
        Err(Refusal::StepAside(why)) => return aside(why),
        _ => {}
    }
    let all = vfs.list(found.place()?, &found.path, directory).map_err(not_entered)?;
    Ok(all.into_iter().map(|named| named.name).find(|found| found.eq_ignore_ascii_case(name)))
}
