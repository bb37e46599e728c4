//! Everything below a directory of a guest with what is known about it, in order of names.

use anyhow::Result;
use guestd_api::prelude::*;
use guestd_api::structs::{Statns, Xattr};

use crate::fields::{is_directory, is_link};

/// Names that are asked about at once.
const MOST: usize = 5000;

/// Something in a tree.
pub struct File {
    /// Its path in the guest.
    pub path: Vec<u8>,
    /// What `lstat` says.
    pub what: Statns,
    /// Its attributes, if they were asked for.
    pub xattrs: Vec<Xattr>,
    /// Where it leads if it is a link.
    pub link: Option<GuestString>,
}

/// Calls for the directory itself (or a file alone) and everything below it, each directory before what is in it.
///
/// # Errors
/// When the guest cannot be read, and what is called for fails with.
pub fn walk(
    guest: &dyn Actions,
    top: &GuestString,
    xattrs: bool,
    seen: &mut dyn FnMut(File) -> Result<()>,
) -> Result<()> {
    let what = guest.lstatns(top.clone())?;
    let of_top = if xattrs { guest.lgetxattrs(top.clone())? } else { Vec::new() };
    let link = if is_link(what.st_mode) { Some(guest.readlink(top.clone())?) } else { None };
    let is_tree = is_directory(what.st_mode);
    seen(File { path: top.as_bytes().to_vec(), what, xattrs: of_top, link })?;
    if !is_tree {
        return Ok(());
    }
    // What is still to be told, the next one last.
    let mut ahead = children(guest, top.as_bytes(), xattrs)?;
    ahead.reverse();
    while let Some(file) = ahead.pop() {
        let directory = is_directory(file.what.st_mode).then(|| file.path.clone());
        seen(file)?;
        if let Some(path) = directory {
            let mut inside = children(guest, &path, xattrs)?;
            inside.reverse();
            ahead.append(&mut inside);
        }
    }
    Ok(())
}

fn children(guest: &dyn Actions, directory: &[u8], xattrs: bool) -> Result<Vec<File>> {
    let name = GuestString::from(directory);
    let names = guest.ls(name.clone())?;
    let mut all = Vec::with_capacity(names.len());
    for part in names.chunks(MOST) {
        let stats = guest.lstatnslist(name.clone(), part)?;
        let mut attributes =
            if xattrs { guest.lxattrlist(name.clone(), part)? } else { Vec::new() }.into_iter();
        let linked = part.iter().zip(&stats).filter(|(_, what)| is_link(what.st_mode));
        let linked: Vec<GuestString> = linked.map(|(name, _)| name.clone()).collect();
        let mut links = match linked.is_empty() {
            true => Vec::new(),
            false => guest.readlinklist(name.clone(), &linked)?,
        }
        .into_iter();
        for (name, what) in part.iter().zip(stats) {
            let link = if is_link(what.st_mode) { links.next() } else { None };
            // First how many there are, as text.
            let count = attributes.next().and_then(|count| {
                let text = count.attrval.to_string_lossy().into_owned();
                text.trim_end_matches('\0').parse::<usize>().ok()
            });
            let xattrs = attributes.by_ref().take(count.unwrap_or(0)).collect();
            // Removed since it was listed.
            if what.st_ino != -1 {
                all.push(File { path: join(directory, name.as_bytes()), what, xattrs, link });
            }
        }
    }
    Ok(all)
}

/// The path of a name in a directory.
fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if directory.ends_with(b"/") { b"" } else { b"/" };
    [directory, slash, name].concat()
}
