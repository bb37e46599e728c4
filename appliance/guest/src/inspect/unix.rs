//! Systems of the Unix kind: what tells one from data, and what its files say about it.

use guestd_api::prelude::*;
use guestd_api::{Error, Result};

use super::fstab::{self, Devices};
use super::text::{first_line, numbers, read_text, unquoted, variable, variables};
use super::{Role, System, arch, is_dir, is_file, is_plain_dir, is_plain_file, release};

/// Programs that every system has, one of which tells its architecture.
const PROGRAMS: [&str; 5] = ["/bin/bash", "/bin/ls", "/bin/echo", "/bin/rm", "/bin/sh"];

/// What the mounted file system is, if it is one of these.
pub(super) fn look(guest: &dyn Actions, device: &str, devices: &Devices) -> Result<Option<Role>> {
    let files = |paths: &[&str]| all(guest, paths, is_plain_file);
    let dirs = |paths: &[&str]| all(guest, paths, is_plain_dir);
    let root = |kind| System { root: device.to_owned(), kind, ..System::default() };
    let found = |system| Ok(Some(Role::Root(system)));
    for path in ["/grub/menu.lst", "/grub/grub.conf", "/grub2/grub.cfg"] {
        if is_plain_file(guest, path)? {
            return Ok(Some(Role::Other));
        }
    }
    let etc = is_plain_dir(guest, "/etc")?;
    if etc && dirs(&["/bin"])? && files(&["/etc/fstab"])? {
        if files(&["/etc/freebsd-update.conf"])? {
            return found(bsd(guest, root("freebsd"), devices)?);
        }
        if files(&["/netbsd", "/etc/release"])? {
            return found(bsd(guest, root("netbsd"), devices)?);
        }
        if files(&["/bsd", "/etc/motd"])? {
            return found(bsd(guest, root("openbsd"), devices)?);
        }
        if files(&["/service/vm", "/etc/version"])? {
            return found(minix(guest, root("minix"))?);
        }
    }
    if files(&["/hurd/console", "/hurd/hello", "/hurd/null"])? {
        return found(hurd(guest, root("hurd"), devices)?);
    }
    if etc && has_bin(guest)? && any(guest, &["/etc/fstab", "/etc/hosts", "/etc/os-release"], is_file)? {
        return found(linux(guest, root("linux"), devices)?);
    }
    if etc && dirs(&["/root", "/home", "/usr"])? && files(&["/etc/coreos/update.conf"])? {
        return found(coreos(guest, root("linux"))?);
    }
    if dirs(&["/bin", "/share"])? {
        return usr(guest, root("linux"), etc);
    }
    Ok(if dirs(&["/log", "/run", "/spool"])? { Some(Role::Other) } else { None })
}

type Test = fn(&dyn Actions, &str) -> Result<bool>;

fn all(guest: &dyn Actions, paths: &[&str], test: Test) -> Result<bool> {
    paths.iter().try_fold(true, |all, path| Ok(all && test(guest, path)?))
}

fn any(guest: &dyn Actions, paths: &[&str], test: Test) -> Result<bool> {
    paths.iter().try_fold(false, |any, path| Ok(any || test(guest, path)?))
}

/// A directory, or a link to one that may lie in a file system of its own.
fn has_bin(guest: &dyn Actions) -> Result<bool> {
    if is_plain_dir(guest, "/bin")? || is_dir(guest, "/usr/bin")? {
        return Ok(true);
    }
    match guest.readlink("/bin") {
        Ok(target) => Ok(target == "usr/bin" || target == "/usr/bin"),
        Err(Error::Action { .. }) => Ok(false),
        Err(other) => Err(other),
    }
}

fn linux(guest: &dyn Actions, mut system: System, devices: &Devices) -> Result<System> {
    release::of_linux(guest, &mut system)?;
    system.arch = architecture(guest)?;
    system.hostname = hostname(guest)?;
    system.has_dnf = is_file(guest, "/usr/bin/dnf")?;
    fstab::look(guest, &mut system, devices)?;
    Ok(system)
}

/// The root of CoreOS, which has its programs and its release file in another file system.
fn coreos(guest: &dyn Actions, mut system: System) -> Result<System> {
    system.distro = Some("coreos".to_owned());
    system.hostname = hostname(guest)?;
    system.mountpoints.push(("/".to_owned(), system.root.clone()));
    Ok(system)
}

/// A file system that holds `/usr`, and what it knows of the system that it is a part of.
fn usr(guest: &dyn Actions, mut system: System, etc: bool) -> Result<Option<Role>> {
    if is_plain_file(guest, "/etc/fstab")? {
        return Ok(None);
    }
    let local = is_plain_dir(guest, "/local")?;
    let is_coreos = local && is_plain_dir(guest, "/share/coreos")?;
    if !local {
        // It may hold /usr/local.
        return Ok(etc.then_some(Role::Other));
    }
    if !etc && !is_coreos && !is_plain_dir(guest, "/src")? {
        return Ok(None);
    }
    let release = read_text(guest, "/lib/os-release")?;
    if is_coreos {
        system.distro = Some("coreos".to_owned());
        if release.is_empty() {
            release::of_lsb_release(&read_text(guest, "/share/coreos/lsb-release")?, &mut system);
        }
        system.mountpoints.push(("/usr".to_owned(), system.root.clone()));
    }
    release::of_os_release(&release, &mut system);
    system.arch = architecture(guest)?;
    Ok(Some(Role::Usr(system)))
}

fn bsd(guest: &dyn Actions, mut system: System, devices: &Devices) -> Result<System> {
    let kind = system.kind;
    system.distro = Some(kind.to_owned());
    if kind == "netbsd" {
        let text = read_text(guest, "/etc/release")?;
        release::of_versioned_line(first_line(&text), kind, netbsd, &mut system);
    } else {
        // There is no better place: this is written anew at each boot.
        release::of_any_line(first_line(&read_text(guest, "/etc/motd")?), kind, &mut system);
    }
    system.arch = architecture(guest)?;
    fstab::look(guest, &mut system, devices)?;
    let own = if kind == "openbsd" { name_in(guest, "/etc/myname")? } else { None };
    system.hostname = match own {
        None => variable(&read_text(guest, "/etc/rc.conf")?, "hostname"),
        own => own,
    };
    Ok(system)
}

fn netbsd(line: &str) -> Option<(i32, i32)> {
    let (major, minor) = numbers(line.strip_prefix("NetBSD ")?)?;
    Some((major, minor?))
}

fn minix(guest: &dyn Actions, mut system: System) -> Result<System> {
    let text = read_text(guest, "/etc/version")?;
    let version = |line: &str| numbers(line).and_then(|(major, minor)| Some((major, minor?)));
    release::of_versioned_line(first_line(&text), "minix", version, &mut system);
    // There is but one, and its name is its type.
    system.distro = None;
    system.arch = architecture(guest)?;
    system.hostname = name_in(guest, "/etc/hostname.file")?;
    Ok(system)
}

fn hurd(guest: &dyn Actions, mut system: System, devices: &Devices) -> Result<System> {
    release::of_hurd(guest, &mut system)?;
    system.arch = architecture(guest)?;
    system.hostname = hostname(guest)?;
    fstab::look(guest, &mut system, devices)?;
    Ok(system)
}

fn architecture(guest: &dyn Actions) -> Result<Option<String>> {
    for program in PROGRAMS {
        if is_file(guest, program)? {
            match arch::file_architecture(guest, program) {
                Ok(name) => return Ok(Some(name)),
                Err(Error::Action { .. }) => {}
                Err(other) => return Err(other),
            }
        }
    }
    Ok(None)
}

fn hostname(guest: &dyn Actions) -> Result<Option<String>> {
    for path in ["/etc/HOSTNAME", "/etc/hostname"] {
        if let Some(name) = name_in(guest, path)? {
            return Ok(Some(name));
        }
    }
    let network = read_text(guest, "/etc/sysconfig/network")?;
    let mut names = variables(&network).filter(|(name, _)| *name == "HOSTNAME");
    Ok(names.next().map(|(_, name)| unquoted(name)).filter(|name| !name.is_empty()))
}

/// The first line of a file that is neither empty nor a comment.
fn name_in(guest: &dyn Actions, path: &str) -> Result<Option<String>> {
    let text = read_text(guest, path)?;
    let name = text.lines().find(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(name.map(str::to_owned))
}
