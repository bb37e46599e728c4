//! Extended attributes and access control lists.

use guestd_api::actions::xattr;
use guestd_api::forms::acl;
use guestd_api::structs::Xattr;
use guestd_api::{Failure, GuestString, Value};
use libimage::fs::system::Kind;
use rustix::io::Errno;

use super::vfs::{Found, Place, Vfs, errno};
use super::{Refusal, Served, aside, structs, text};

/// Answers a call of this group.
pub(super) fn answer(vfs: &Vfs, call: &xattr::Call) -> Served<Value> {
    use xattr::Call;
    match call {
        Call::getxattr { path, name } => value(vfs, path, name, true),
        Call::lgetxattr { path, name } => value(vfs, path, name, false),
        Call::getxattrs { path } => all(vfs, path, true),
        Call::lgetxattrs { path } => all(vfs, path, false),
        Call::lxattrlist { path, names } => of_names(vfs, path, names),
        Call::acl_get_file { path, acltype } => list(vfs, path, acltype),
        Call::cap_get_file { path } => {
            let found = vfs.existing(path)?;
            match read(&found, b"security.capability")? {
                None if keeps_attributes(vfs.kind_of(found.place()?)) => Ok(text("")),
                None => aside("its file system may have no attributes"),
                Some(_) => aside("capabilities are for the program getcap to show"),
            }
        }
        _ => aside("it writes"),
    }
}

/// File systems of which every file can have attributes and access control lists, whatever the kernel was built with.
fn keeps_attributes(kind: &str) -> bool {
    matches!(kind, "ext2" | "ext3" | "ext4" | "xfs")
}

fn read(found: &Found<'_>, name: &[u8]) -> Served<Option<Vec<u8>>> {
    found.ask(|fs, node| fs.xattr(node, name))
}

/// Attributes with their values, in the kernel's order.
fn read_all(vfs: &Vfs, place: Place, asked: &[u8]) -> Served<Vec<Xattr>> {
    let mut all = Vec::new();
    for name in vfs.ask(place, asked, |fs, node| fs.xattr_names(node))? {
        match vfs.ask(place, asked, |fs, node| fs.xattr(node, &name))? {
            Some(value) => all.push(Xattr { attrname: name.into(), attrval: value.into() }),
            None => return aside("an attribute that is listed is not there"),
        }
    }
    Ok(all)
}

fn value(vfs: &Vfs, path: &GuestString, name: &GuestString, follow: bool) -> Served<Value> {
    let named = |refusal: Refusal| refusal.with_subject("getxattr");
    let found = vfs.there(path, follow).map_err(named)?;
    if let Some(value) = read(&found, name.as_bytes()).map_err(named)? {
        return Ok(Value::Buffer(value.into()));
    }
    // What is missing is one thing for the kernel, what could not be there is another.
    let keeps = keeps_attributes(vfs.kind_of(found.place()?));
    let is_known = [&b"user."[..], b"trusted.", b"security."].iter().any(|prefix| {
        name.as_bytes().strip_prefix(*prefix).is_some_and(|rest| !rest.is_empty() && name.len() <= 255)
    });
    if keeps && is_known {
        return Err(errno(b"getxattr", Errno::NODATA));
    }
    aside("only the kernel knows why it has no such attribute")
}

fn all(vfs: &Vfs, path: &GuestString, follow: bool) -> Served<Value> {
    let subject = [b"listxattr: ", path.as_bytes()].concat();
    let named = |refusal: Refusal| refusal.with_subject(&subject);
    let found = vfs.there(path, follow).map_err(named)?;
    let all = read_all(vfs, found.place()?, path.as_bytes()).map_err(named)?;
    Ok(structs(all))
}

fn of_names(vfs: &Vfs, path: &GuestString, names: &[GuestString]) -> Served<Value> {
    let mut list = Vec::new();
    let directory = vfs.names_in(path, names)?;
    for name in names {
        let place = directory.find(name)?;
        let all = place.map(|place| read_all(vfs, place, path.as_bytes())).transpose()?;
        // A number as C writes one, with its NUL.
        let count = all.as_ref().map(|all| format!("{}\0", all.len())).unwrap_or_default();
        list.push(Xattr { attrname: GuestString::new(), attrval: count.into() });
        list.extend(all.unwrap_or_default());
    }
    Ok(structs(list))
}

fn list(vfs: &Vfs, path: &GuestString, acltype: &GuestString) -> Served<Value> {
    let access = match acltype.to_str() {
        Some("access") => true,
        Some("default") => false,
        _ => return Err(Failure::new(format!("invalid acltype parameter: {acltype}")).into()),
    };
    let found = vfs.existing(path)?;
    if !keeps_attributes(vfs.kind_of(found.place()?)) {
        return aside("its file system may have no access control lists");
    }
    let name: &[u8] = if access { b"system.posix_acl_access" } else { b"system.posix_acl_default" };
    match read(&found, name)? {
        Some(value) => Ok(text(acl::to_text(&acl::parse_xattr(&value)?))),
        None if access => Ok(text(acl::to_text(&acl::from_mode(found.attributes()?.permissions)))),
        None if found.kind() == Some(Kind::Directory) => Ok(text("")),
        None => Err(errno(path.as_bytes(), Errno::ACCESS)),
    }
}
