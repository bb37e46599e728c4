//! Puts together what was found on several file systems of one operating system.

use super::names::device_of;
use super::{Role, System};

/// The systems that there are, in the order in which their roots were found.
pub(super) fn systems(roles: Vec<Role>) -> Vec<System> {
    let mut roots: Vec<System> = Vec::new();
    let mut parts = Vec::new();
    for role in roles {
        match role {
            Role::Root(system) => {
                // A default subvolume is found under two names, the second being its own.
                let twin = roots.iter_mut().find(|found| is_same_subvolume(found, &system));
                match twin {
                    Some(found) => *found = system,
                    None => roots.push(system),
                }
            }
            Role::Usr(part) => parts.push(part),
            Role::Other => {}
        }
    }
    join_coreos(&mut roots, &parts);
    drop_bsd_shadow(&mut roots);
    for root in &mut roots {
        let belongs = |part: &&System| {
            let same = part.distro == root.distro || part.distro.is_none() || root.distro.is_none();
            same && root.filesystems.contains(&part.root)
        };
        if let Some(part) = parts.iter().find(belongs).filter(|_| !is_coreos(root)) {
            fill(root, part);
        }
    }
    roots
}

fn is_coreos(system: &System) -> bool {
    system.distro.as_deref() == Some("coreos")
}

fn is_same_subvolume(one: &System, other: &System) -> bool {
    other.root.starts_with("btrfsvol:")
        && device_of(&other.root) == one.root
        && one.distro == other.distro
        && one.hostname == other.hostname
        && one.product_name == other.product_name
}

/// CoreOS has two file systems for `/usr`, of which the one with the newer version is in use, and names neither in a
/// table. With several roots nobody can tell whose they are.
fn join_coreos(roots: &mut [System], parts: &[System]) {
    let mut theirs: Vec<&System> = parts.iter().filter(|part| is_coreos(part)).collect();
    theirs.sort_by_key(|part| std::cmp::Reverse(part.numbers()));
    let mut of_coreos = roots.iter_mut().filter(|root| is_coreos(root) && root.product_name.is_none());
    if let (Some(root), None, Some(part)) = (of_coreos.next(), of_coreos.next(), theirs.first()) {
        fill(root, part);
        root.mountpoints.splice(..0, part.mountpoints.iter().cloned());
        root.filesystems = root.mountpoints.iter().map(|(_, device)| device.clone()).collect();
    }
}

/// What is in a BSD's slice is seen twice: as the slice, and as the partition in it.
fn drop_bsd_shadow(roots: &mut Vec<System>) {
    let is_bsd = |root: &System| matches!(root.kind, "freebsd" | "netbsd" | "openbsd");
    let Some(slice) = roots.iter().position(|root| is_bsd(root) && is_primary(&root.root)) else { return };
    let kind = roots[slice].kind;
    if roots.iter().enumerate().any(|(index, root)| index != slice && root.kind == kind) {
        roots.remove(slice);
    }
}

fn is_primary(device: &str) -> bool {
    let part =
        device.strip_prefix("/dev/sd").and_then(|rest| rest.strip_prefix(|c: char| c.is_ascii_lowercase()));
    matches!(part, Some("1" | "2" | "3" | "4"))
}

/// Fills in what is not known yet.
fn fill(root: &mut System, part: &System) {
    let or = |known: &mut Option<String>, other: &Option<String>| {
        if known.is_none() {
            known.clone_from(other);
        }
    };
    or(&mut root.distro, &part.distro);
    or(&mut root.product_name, &part.product_name);
    or(&mut root.build_id, &part.build_id);
    or(&mut root.arch, &part.arch);
    or(&mut root.hostname, &part.hostname);
    root.version = root.version.or(part.version);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(root: &str, kind: &'static str, distro: &str) -> System {
        let distro = Some(distro.to_owned()).filter(|distro| !distro.is_empty());
        System { root: root.to_owned(), kind, distro, ..System::default() }
    }

    #[test]
    fn slices_of_bsds_are_seen_once() {
        let bsd = |root| Role::Root(system(root, "freebsd", "freebsd"));
        let roots = |roles| systems(roles).into_iter().map(|s| s.root).collect::<Vec<_>>();
        assert_eq!(roots(vec![bsd("/dev/sda1"), bsd("/dev/sda5")]), ["/dev/sda5"]);
        assert_eq!(roots(vec![bsd("/dev/sda5"), bsd("/dev/sdb5")]), ["/dev/sda5", "/dev/sdb5"]);
        assert_eq!(roots(vec![bsd("/dev/sda1"), Role::Other]), ["/dev/sda1"]);
    }

    #[test]
    fn usr_belongs_to_the_root_that_mounts_it() {
        let mut root = system("/dev/sda1", "linux", "");
        root.filesystems.push("/dev/sda2".to_owned());
        let mut usr = system("/dev/sda2", "linux", "fedora");
        usr.arch = Some("x86_64".to_owned());
        let other = system("/dev/sdb1", "linux", "debian");
        let usr_of = |roles| systems(roles).into_iter().map(|s| (s.root, s.arch)).collect::<Vec<_>>();
        let found = usr_of(vec![Role::Root(other), Role::Usr(usr.clone()), Role::Root(root.clone())]);
        assert_eq!(
            found,
            [("/dev/sdb1".to_owned(), None), ("/dev/sda1".to_owned(), Some("x86_64".to_owned()))]
        );
        root.distro = Some("debian".to_owned());
        assert_eq!(usr_of(vec![Role::Usr(usr), Role::Root(root)]), [("/dev/sda1".to_owned(), None)]);
    }
}
