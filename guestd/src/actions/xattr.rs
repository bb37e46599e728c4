//! Extended attributes, access control lists and capabilities of files.

use crate::worker::{GuestPath, Worker};
use guestd_api::actions::xattr::{CopyAttributesOptions, Server};
use guestd_api::forms::acl;
use guestd_api::structs::Xattr;
use guestd_api::{Failure, GuestString};
use rustix::fs::XattrFlags;
use rustix::io::Errno;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// The most that the kernel keeps in one attribute, and in a list of names.
const MAX_XATTR: usize = 64 << 10;

/// Whether a symbolic link stands for itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Links {
    Follow,
    Stay,
}

fn read_value(path: &Path, name: &[u8], links: Links) -> rustix::io::Result<Vec<u8>> {
    let mut value = vec![0; MAX_XATTR];
    let length = match links {
        Links::Follow => rustix::fs::getxattr(path, name, &mut value[..])?,
        Links::Stay => rustix::fs::lgetxattr(path, name, &mut value[..])?,
    };
    value.truncate(length);
    Ok(value)
}

/// All attributes with their values, in the kernel's order.
fn read_all(path: &Path, links: Links) -> rustix::io::Result<Vec<Xattr>> {
    let mut names = vec![0u8; MAX_XATTR];
    let length = match links {
        Links::Follow => rustix::fs::listxattr(path, &mut names[..])?,
        Links::Stay => rustix::fs::llistxattr(path, &mut names[..])?,
    };
    names.truncate(length);
    let mut all = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        match read_value(path, name, links) {
            Ok(value) => all.push(Xattr { attrname: name.into(), attrval: value.into() }),
            // Removed since it was listed.
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

impl Worker {
    fn value(&self, path: &GuestPath, name: &GuestString, links: Links) -> Result<Vec<u8>, Failure> {
        let _guest = self.guest()?;
        read_value(path.path(), name.as_bytes(), links).map_err(|e| Failure::io("getxattr", &e.into()))
    }

    fn attributes(&self, path: &GuestPath, links: Links) -> Result<Vec<Xattr>, Failure> {
        let _guest = self.guest()?;
        let subject = || GuestString::from([b"listxattr: ", path.as_ref()].concat());
        read_all(path.path(), links).map_err(|e| Failure::io(subject(), &e.into()))
    }

    fn set_attribute(
        &self,
        name: &GuestString,
        value: &GuestString,
        length: i32,
        path: &GuestPath,
        links: Links,
    ) -> Result<(), Failure> {
        let length = usize::try_from(length)
            .map_err(|_| Failure::io("setxattr", &std::io::Error::from_raw_os_error(libc::E2BIG)))?;
        let value = value.as_bytes().get(..length).ok_or_else(|| {
            Failure::new(format!("vallen: {length} is more than the {} bytes of the value", value.len()))
        })?;
        let _guest = self.guest()?;
        let name = name.as_bytes();
        match links {
            Links::Follow => rustix::fs::setxattr(path.path(), name, value, XattrFlags::empty()),
            Links::Stay => rustix::fs::lsetxattr(path.path(), name, value, XattrFlags::empty()),
        }
        .map_err(|e| Failure::io("setxattr", &e.into()))
    }
}

/// The attribute that holds a list of this type.
fn list_name(acltype: &GuestString) -> Result<&'static str, Failure> {
    match acltype.to_str() {
        Some("access") => Ok("system.posix_acl_access"),
        Some("default") => Ok("system.posix_acl_default"),
        _ => Err(Failure::new(format!("invalid acltype parameter: {acltype}"))),
    }
}

impl Server for Worker {
    fn getxattr(&self, path: GuestPath, name: GuestString) -> Result<Vec<u8>, Failure> {
        self.value(&path, &name, Links::Follow)
    }

    fn lgetxattr(&self, path: GuestPath, name: GuestString) -> Result<Vec<u8>, Failure> {
        self.value(&path, &name, Links::Stay)
    }

    fn getxattrs(&self, path: GuestPath) -> Result<Vec<Xattr>, Failure> {
        self.attributes(&path, Links::Follow)
    }

    fn lgetxattrs(&self, path: GuestPath) -> Result<Vec<Xattr>, Failure> {
        self.attributes(&path, Links::Stay)
    }

    fn setxattr(
        &self,
        xattr: GuestString,
        val: GuestString,
        vallen: i32,
        path: GuestPath,
    ) -> Result<(), Failure> {
        self.set_attribute(&xattr, &val, vallen, &path, Links::Follow)
    }

    fn lsetxattr(
        &self,
        xattr: GuestString,
        val: GuestString,
        vallen: i32,
        path: GuestPath,
    ) -> Result<(), Failure> {
        self.set_attribute(&xattr, &val, vallen, &path, Links::Stay)
    }

    fn removexattr(&self, xattr: GuestString, path: GuestPath) -> Result<(), Failure> {
        let _guest = self.guest()?;
        rustix::fs::removexattr(path.path(), xattr.as_bytes())
            .map_err(|e| Failure::io("removexattr", &e.into()))
    }

    fn lremovexattr(&self, xattr: GuestString, path: GuestPath) -> Result<(), Failure> {
        let _guest = self.guest()?;
        rustix::fs::lremovexattr(path.path(), xattr.as_bytes())
            .map_err(|e| Failure::io("removexattr", &e.into()))
    }

    fn lxattrlist(&self, path: GuestPath, names: Vec<GuestString>) -> Result<Vec<Xattr>, Failure> {
        let _guest = self.guest()?;
        let mut list = Vec::new();
        for name in &names {
            let all = read_all(&path.join(name), Links::Stay);
            // A number as C writes one, with its NUL.
            let count = all.as_ref().map(|all| format!("{}\0", all.len())).unwrap_or_default();
            list.push(Xattr { attrname: GuestString::new(), attrval: count.into() });
            list.extend(all.unwrap_or_default());
        }
        Ok(list)
    }

    fn copy_attributes(
        &self,
        src: GuestPath,
        dest: GuestPath,
        opts: CopyAttributesOptions,
    ) -> Result<(), Failure> {
        let wanted = |option: Option<bool>| option.unwrap_or(opts.all.unwrap_or(false));
        let _guest = self.guest()?;
        let stat = |path: &GuestPath| {
            let subject = || GuestString::from([b"stat: ", path.as_ref()].concat());
            path.path().metadata().map_err(|e| Failure::io(subject(), &e))
        };
        let from = stat(&src)?;
        stat(&dest)?;
        let failed = |e: std::io::Error| dest.failure(e);
        // Changing the owner takes set-user bits and capabilities away, so it comes first.
        if wanted(opts.ownership) {
            std::os::unix::fs::chown(dest.path(), Some(from.uid()), Some(from.gid())).map_err(failed)?;
        }
        if wanted(opts.mode) {
            let mode = std::fs::Permissions::from_mode(from.mode() & 0o7777);
            std::fs::set_permissions(dest.path(), mode).map_err(failed)?;
        }
        if wanted(opts.xattributes) {
            for xattr in read_all(src.path(), Links::Follow).map_err(|e| src.failure(e))? {
                let value = xattr.attrval.as_bytes();
                rustix::fs::setxattr(dest.path(), xattr.attrname.as_bytes(), value, XattrFlags::empty())
                    .map_err(|e| dest.failure(e))?;
            }
        }
        Ok(())
    }

    fn acl_get_file(&self, path: GuestPath, acltype: GuestString) -> Result<GuestString, Failure> {
        let name = list_name(&acltype)?;
        let _guest = self.guest()?;
        let metadata = path.path().metadata().map_err(|e| path.failure(e))?;
        match read_value(path.path(), name.as_bytes(), Links::Follow) {
            Ok(value) => acl::parse_xattr(&value).map(|list| acl::to_text(&list).into()),
            Err(Errno::NODATA) if acltype == *"access" => {
                Ok(acl::to_text(&acl::from_mode(metadata.mode())).into())
            }
            Err(Errno::NODATA) if metadata.is_dir() => Ok(GuestString::new()),
            Err(Errno::NODATA) => Err(path.failure(Errno::ACCESS)),
            Err(error) => Err(path.failure(error)),
        }
    }

    fn acl_set_file(&self, path: GuestPath, acltype: GuestString, acl: GuestString) -> Result<(), Failure> {
        let name = list_name(&acltype)?;
        let list = acl::parse_text(&acl)?;
        if !acl::is_valid(&list) {
            return Err(path.failure(Errno::INVAL));
        }
        let _guest = self.guest()?;
        rustix::fs::setxattr(path.path(), name, &acl::to_xattr(&list), XattrFlags::empty())
            .map_err(|e| path.failure(e))
    }

    fn acl_delete_def_file(&self, dir: GuestPath) -> Result<(), Failure> {
        let _guest = self.guest()?;
        match rustix::fs::removexattr(dir.path(), "system.posix_acl_default") {
            Ok(()) | Err(Errno::NODATA) => Ok(()),
            Err(error) => Err(dir.failure(error)),
        }
    }

    fn cap_get_file(&self, path: GuestPath) -> Result<GuestString, Failure> {
        {
            let _guest = self.guest()?;
            match read_value(path.path(), b"security.capability", Links::Follow) {
                Ok(_) => {}
                Err(Errno::NODATA) => return Ok(GuestString::new()),
                Err(error) => return Err(path.failure(error)),
            }
        }
        let place = self.outside_plain(&path)?;
        let text = self.tool("getcap")?.arg(&place).run()?;
        let text = text.trim_ascii_end().strip_prefix(place.as_os_str().as_encoded_bytes()).unwrap_or(&text);
        Ok(text.trim_ascii().into())
    }

    fn cap_set_file(&self, path: GuestPath, cap: GuestString) -> Result<(), Failure> {
        let unreadable = || {
            let why = "cap_from_text: Invalid argument";
            Failure::new(format!("could not parse cap string: {cap}: {why}")).with_errno(libc::EINVAL)
        };
        // An option could otherwise stand in the place of the capabilities.
        if cap.as_bytes().starts_with(b"-") {
            return Err(unreadable());
        }
        {
            let _guest = self.guest()?;
            path.path().metadata().map_err(|e| path.failure(e))?;
        }
        let place = self.outside_regular(&path)?;
        let done = self.tool("setcap")?.arg(cap.as_os_str()).arg(place).finish()?;
        done.success().map_err(|failure| match failure.message.to_string_lossy().lines().next() {
            Some(said) if !said.starts_with("fatal error") => Failure::new(format!("{cap}: {said}")),
            _ => unreadable(),
        })
    }
}
