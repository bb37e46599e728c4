//! Sizes, times and space.

use crate::worker::{GuestPath, Worker};
use guestd_api::actions::stat::Server;
use guestd_api::forms::stat::{in_seconds, no_file};
use guestd_api::structs::{Stat, Statns, Statvfs};
use guestd_api::{Failure, GuestString};
use std::collections::HashSet;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

fn statns(m: &Metadata) -> Statns {
    let signed = u64::cast_signed;
    Statns {
        st_dev: signed(m.dev()),
        st_ino: signed(m.ino()),
        st_mode: m.mode().into(),
        st_nlink: signed(m.nlink()),
        st_uid: m.uid().into(),
        st_gid: m.gid().into(),
        st_rdev: signed(m.rdev()),
        st_size: signed(m.size()),
        st_blksize: signed(m.blksize()),
        st_blocks: signed(m.blocks()),
        st_atime_sec: m.atime(),
        st_atime_nsec: m.atime_nsec(),
        st_mtime_sec: m.mtime(),
        st_mtime_nsec: m.mtime_nsec(),
        st_ctime_sec: m.ctime(),
        st_ctime_nsec: m.ctime_nsec(),
        st_spare1: 0,
        st_spare2: 0,
        st_spare3: 0,
        st_spare4: 0,
        st_spare5: 0,
        st_spare6: 0,
    }
}

impl Worker {
    /// The table of `df` for what the guest has mounted, with names as the user knows them.
    fn table_of_space(&self, option: Option<&str>) -> Result<GuestString, Failure> {
        let mounts = self.agent.guest_mounts()?;
        if mounts.is_empty() && !self.agent.directory_is_guest {
            return Ok(GuestString::new());
        }
        let base = &self.agent.sysroot;
        let tools = &self.agent.tools;
        let place = |path: &[u8]| {
            let path = PathBuf::from(GuestString::from(path).as_os_str());
            tools.guest_path(base, &path)
        };
        let mut places: Vec<PathBuf> = mounts.iter().map(|mount| place(&mount.path)).collect();
        if places.is_empty() {
            places.push(place(b"/"));
        }
        let text = self.tool("df")?.args(option).arg("--").args(places).run()?;
        let text = crate::run::without_sysroot(&text, &tools.sysroot_text(base));
        Ok(self.agent.disks.shown_text(&text).into())
    }

    /// Adds up the blocks below a path; the thread is inside the guest.
    fn blocks_below(&self, top: &Path) -> Result<u64, (PathBuf, io::Error)> {
        let mut seen = HashSet::new();
        let mut todo = vec![top.to_owned()];
        let (mut blocks, mut files) = (0u64, 0u64);
        while let Some(path) = todo.pop() {
            let at = |e| (path.clone(), e);
            self.task.check().map_err(|_| at(io::Error::from_raw_os_error(libc::ECANCELED)))?;
            let metadata = path.symlink_metadata().map_err(at)?;
            if metadata.nlink() > 1 && !metadata.is_dir() && !seen.insert((metadata.dev(), metadata.ino())) {
                continue;
            }
            blocks = blocks.saturating_add(metadata.blocks());
            files = files.saturating_add(1);
            if files.is_multiple_of(1024) {
                self.task.progress(files, 0);
            }
            if metadata.is_dir() {
                for entry in std::fs::read_dir(&path).map_err(at)? {
                    todo.push(entry.map_err(at)?.path());
                }
            }
        }
        Ok(blocks)
    }
}

impl Server for Worker {
    fn stat(&self, path: GuestPath) -> Result<Stat, Failure> {
        self.statns(path).map(|stat| in_seconds(&stat))
    }

    fn lstat(&self, path: GuestPath) -> Result<Stat, Failure> {
        self.lstatns(path).map(|stat| in_seconds(&stat))
    }

    fn statns(&self, path: GuestPath) -> Result<Statns, Failure> {
        let _guest = self.guest()?;
        path.path().metadata().map(|m| statns(&m)).map_err(|e| path.failure(e))
    }

    fn lstatns(&self, path: GuestPath) -> Result<Statns, Failure> {
        let _guest = self.guest()?;
        path.path().symlink_metadata().map(|m| statns(&m)).map_err(|e| path.failure(e))
    }

    fn lstatnslist(&self, path: GuestPath, names: Vec<GuestString>) -> Result<Vec<Statns>, Failure> {
        let _guest = self.guest()?;
        path.path().metadata().map_err(|e| path.failure(e))?;
        let one = |name| path.join(name).symlink_metadata().map_or_else(|_| no_file(), |m| statns(&m));
        Ok(names.iter().map(one).collect())
    }

    fn statvfs(&self, path: GuestPath) -> Result<Statvfs, Failure> {
        let _guest = self.guest()?;
        let s = rustix::fs::statvfs(path.path()).map_err(|e| path.failure(e))?;
        let signed = u64::cast_signed;
        Ok(Statvfs {
            bsize: signed(s.f_bsize),
            frsize: signed(s.f_frsize),
            blocks: signed(s.f_blocks),
            bfree: signed(s.f_bfree),
            bavail: signed(s.f_bavail),
            files: signed(s.f_files),
            ffree: signed(s.f_ffree),
            favail: signed(s.f_favail),
            fsid: signed(s.f_fsid),
            flag: signed(s.f_flag.bits()),
            namemax: signed(s.f_namemax),
        })
    }

    fn filesize(&self, file: GuestPath) -> Result<i64, Failure> {
        let _guest = self.guest()?;
        file.path().metadata().map(|m| m.size().cast_signed()).map_err(|e| file.failure(e))
    }

    fn df(&self) -> Result<GuestString, Failure> {
        self.table_of_space(None)
    }

    fn df_h(&self) -> Result<GuestString, Failure> {
        self.table_of_space(Some("-h"))
    }

    fn du(&self, path: GuestPath) -> Result<i64, Failure> {
        let _guest = self.guest()?;
        let blocks = self
            .blocks_below(path.path())
            .map_err(|(at, error)| Failure::io(at.as_os_str().as_encoded_bytes(), &error))?;
        Ok(blocks.div_ceil(2).cast_signed())
    }

    fn lstatlist(&self, path: GuestPath, names: Vec<GuestString>) -> Result<Vec<Stat>, Failure> {
        Ok(self.lstatnslist(path, names)?.iter().map(in_seconds).collect())
    }
}
