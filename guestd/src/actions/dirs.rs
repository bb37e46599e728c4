//! Making, removing and listing directories.

use crate::worker::{GuestPath, Worker};
use guestd_api::actions::dirs::Server;
use guestd_api::structs::Dirent;
use guestd_api::{Failure, GuestString};
use rustix::fs::{CWD, FileType, Mode};
use std::io::{self, Read};
use std::path::Path;

impl Worker {
    /// Makes a directory with a mode, of which the umask is taken off.
    fn make_directory(&self, path: &GuestPath, mode: u32) -> Result<(), Failure> {
        let _guest = self.guest()?;
        rustix::fs::mkdirat(CWD, path.path(), Mode::from_raw_mode(mode)).map_err(|e| path.failure(e))
    }
}

impl Worker {
    /// Makes something whose name is a template with its last six letters replaced by random ones, and then a
    /// suffix. `make` is called inside the guest.
    pub(super) fn make_unique(
        &self,
        tmpl: &GuestPath,
        suffix: &[u8],
        make: impl Fn(&Path) -> rustix::io::Result<()>,
    ) -> Result<GuestString, Failure> {
        let Some(stem) = tmpl.as_ref().strip_suffix(b"XXXXXX") else {
            return Err(tmpl.failure(io::Error::from_raw_os_error(libc::EINVAL)));
        };
        // Opened before the guest's root is entered: the guest's own device files are not trusted.
        let mut random = std::fs::File::open("/dev/urandom").map_err(|e| Failure::io("/dev/urandom", &e))?;
        let _guest = self.guest()?;
        for _ in 0..100 {
            let mut bytes = [0; 6];
            random.read_exact(&mut bytes).map_err(|e| Failure::io("/dev/urandom", &e))?;
            let mut name = stem.to_vec();
            name.extend(bytes.iter().map(|byte| b'a' + byte % 26));
            name.extend_from_slice(suffix);
            let name = GuestString::from(name);
            match make(Path::new(name.as_os_str())) {
                Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(Failure::io(&name, &error.into())),
                Ok(()) => return Ok(name),
            }
        }
        Err(tmpl.failure(io::Error::from_raw_os_error(libc::EEXIST)))
    }

    /// A directory or file as `ls` with some options shows it.
    fn listing(&self, options: &str, directory: &GuestPath) -> Result<GuestString, Failure> {
        {
            let _guest = self.guest()?;
            directory.path().symlink_metadata().map_err(|e| directory.failure(e))?;
        }
        let place = self.outside(directory)?;
        let sysroot = self.agent.tools.sysroot_text(&self.agent.sysroot);
        let text = self.tool("ls")?.arg(options).arg("--").arg(place).run()?;
        Ok(crate::run::without_sysroot(&text, &sysroot).into())
    }
}

impl Server for Worker {
    fn ls(&self, directory: GuestPath) -> Result<Vec<GuestString>, Failure> {
        let _guest = self.guest()?;
        let entries = std::fs::read_dir(directory.path()).map_err(|e| directory.failure(e))?;
        let mut names = Vec::new();
        for entry in entries {
            names.push(GuestString::from(entry.map_err(|e| directory.failure(e))?.file_name()));
        }
        names.sort_unstable();
        Ok(names)
    }

    fn ll(&self, directory: GuestPath) -> Result<GuestString, Failure> {
        self.listing("-lan", &directory)
    }

    fn llz(&self, directory: GuestPath) -> Result<GuestString, Failure> {
        self.listing("-lanZ", &directory)
    }

    fn readdir(&self, dir: GuestPath) -> Result<Vec<Dirent>, Failure> {
        let _guest = self.guest()?;
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let fd = rustix::fs::open(dir.path(), flags, Mode::empty()).map_err(|e| dir.failure(e))?;
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::read_from(fd).map_err(|e| dir.failure(e))? {
            let entry = entry.map_err(|e| dir.failure(e))?;
            let ftyp = match entry.file_type() {
                FileType::BlockDevice => b'b',
                FileType::CharacterDevice => b'c',
                FileType::Directory => b'd',
                FileType::Fifo => b'f',
                FileType::Symlink => b'l',
                FileType::RegularFile => b'r',
                FileType::Socket => b's',
                FileType::Unknown => b'u',
            };
            let name = entry.file_name().to_bytes().into();
            entries.push(Dirent { ino: entry.ino().cast_signed(), ftyp, name });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn mkdir(&self, path: GuestPath) -> Result<(), Failure> {
        self.make_directory(&path, 0o777)
    }

    fn mkdir_p(&self, path: GuestPath) -> Result<(), Failure> {
        let _guest = self.guest()?;
        std::fs::create_dir_all(path.path()).map_err(|e| path.failure(e))
    }

    fn mkdir_mode(&self, path: GuestPath, mode: i32) -> Result<(), Failure> {
        let mode = u32::try_from(mode).map_err(|_| Failure::new("mode: negative mode"))?;
        self.make_directory(&path, mode & 0o7777)
    }

    fn mkdtemp(&self, tmpl: GuestPath) -> Result<GuestString, Failure> {
        self.make_unique(&tmpl, b"", |path| rustix::fs::mkdirat(CWD, path, Mode::RWXU))
    }

    fn rmdir(&self, path: GuestPath) -> Result<(), Failure> {
        let _guest = self.guest()?;
        std::fs::remove_dir(path.path()).map_err(|e| path.failure(e))
    }
}
