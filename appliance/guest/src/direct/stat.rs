//! What things are: owners, sizes and times, and the space around them.

use std::collections::HashSet;

use guestd_api::actions::stat;
use guestd_api::forms::stat::{in_seconds, no_file};
use guestd_api::structs::{Statns, Statvfs, Struct};
use guestd_api::{Context, GuestString, Value};
use libimage::fs::system::{Attributes, Kind};

use super::vfs::{Found, Vfs, join};
use super::{MAX_DEPTH, Served, aside, check, structs};

/// Answers a call of this group.
pub(super) fn answer(vfs: &Vfs, call: &stat::Call, context: &mut Context<'_>) -> Served<Value> {
    use stat::Call;
    match call {
        Call::stat { path } => Ok(Value::Struct(in_seconds(&of_path(vfs, path, true)?).into_fields())),
        Call::lstat { path } => Ok(Value::Struct(in_seconds(&of_path(vfs, path, false)?).into_fields())),
        Call::statns { path } => Ok(Value::Struct(of_path(vfs, path, true)?.into_fields())),
        Call::lstatns { path } => Ok(Value::Struct(of_path(vfs, path, false)?.into_fields())),
        Call::lstatnslist { path, names } => Ok(structs(of_names(vfs, path, names)?)),
        Call::lstatlist { path, names } => Ok(structs(of_names(vfs, path, names)?.iter().map(in_seconds))),
        Call::filesize { file } => Ok(Value::Int(vfs.existing(file)?.size()?.cast_signed())),
        Call::statvfs { path } => space(vfs, path),
        Call::du { path } => blocks_below(vfs, path, context),
        Call::df {} | Call::df_h {} => aside("its table has the appliance's own devices"),
    }
}

fn of_path(vfs: &Vfs, path: &GuestString, follow: bool) -> Served<Statns> {
    let found = vfs.there(path, follow)?;
    Ok(of(&found.attributes()?, vfs.device_number(found.place()?)))
}

/// Names in a directory; one that is not there is no error.
fn of_names(vfs: &Vfs, path: &GuestString, names: &[GuestString]) -> Served<Vec<Statns>> {
    let directory = vfs.names_in(path, names)?;
    vfs.existing(path)?;
    let mut all = Vec::with_capacity(names.len());
    for name in names {
        all.push(match directory.find(name)? {
            Some(place) => of(&vfs.attributes(place, path.as_bytes())?, vfs.device_number(place)),
            None => no_file(),
        });
    }
    Ok(all)
}

/// The kernel's number for a device. It is the one that the first driver of the appliance's kernel gets; what numbers
/// btrfs gives its subvolumes is made up anew by each mount, and so are the numbers of files on FAT.
pub(super) fn device_number((major, minor): (u32, u32)) -> i64 {
    rustix::fs::makedev(major, minor).cast_signed()
}

fn of(what: &Attributes, device: i64) -> Statns {
    Statns {
        st_dev: device,
        st_ino: what.inode.cast_signed(),
        st_mode: i64::from(what.kind.mode() | what.permissions),
        st_nlink: what.links.into(),
        st_uid: what.user.into(),
        st_gid: what.group.into(),
        st_rdev: device_number(what.device),
        st_size: what.size.cast_signed(),
        st_blksize: what.block_size.into(),
        st_blocks: what.blocks.cast_signed(),
        st_atime_sec: what.accessed.seconds,
        st_atime_nsec: what.accessed.nanoseconds.into(),
        st_mtime_sec: what.modified.seconds,
        st_mtime_nsec: what.modified.nanoseconds.into(),
        st_ctime_sec: what.changed.seconds,
        st_ctime_nsec: what.changed.nanoseconds.into(),
        st_spare1: 0,
        st_spare2: 0,
        st_spare3: 0,
        st_spare4: 0,
        st_spare5: 0,
        st_spare6: 0,
    }
}

fn space(vfs: &Vfs, path: &GuestString) -> Served<Value> {
    let found = vfs.existing(path)?;
    let place = found.place()?;
    let Some(id) = vfs.file_system_id(place) else {
        return aside("the number of the file system is the kernel's to make");
    };
    let what = found.ask(|fs, _| fs.statistics())?;
    let size = what.block_size.cast_signed();
    let space = Statvfs {
        bsize: size,
        frsize: size,
        blocks: what.blocks.cast_signed(),
        bfree: what.free.cast_signed(),
        bavail: what.available.cast_signed(),
        files: what.files.cast_signed(),
        ffree: what.files_free.cast_signed(),
        favail: what.files_free.cast_signed(),
        fsid: id.cast_signed(),
        flag: vfs.mount_flags(place),
        namemax: what.name_length.cast_signed(),
    };
    Ok(Value::Struct(space.into_fields()))
}

/// The space of everything below, in units of 1024 bytes; what has several names counts once.
fn blocks_below(vfs: &Vfs, path: &GuestString, context: &Context<'_>) -> Served<Value> {
    let top: Found<'_> = vfs.there(path, false)?;
    let mut seen = HashSet::new();
    let mut blocks = 0u64;
    let mut ahead = vec![(top.place()?, top.path.clone(), path.as_bytes().to_vec(), 0)];
    while let Some((place, path, asked, depth)) = ahead.pop() {
        check(context)?;
        let what = vfs.attributes(place, &asked)?;
        if what.kind != Kind::Directory {
            if what.links > 1 && !seen.insert(vfs.identity(place)) {
                continue;
            }
        } else if depth > MAX_DEPTH {
            return aside("the tree is too deep");
        } else {
            for named in vfs.list(place, &path, &asked)? {
                let (path, asked) = (join(&path, &named.name), join(&asked, &named.name));
                ahead.push((named.place, path, asked, depth + 1));
            }
        }
        blocks = blocks.saturating_add(what.blocks);
    }
    Ok(Value::Int(blocks.div_ceil(2).cast_signed()))
}
