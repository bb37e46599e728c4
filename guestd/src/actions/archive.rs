//! Archives in and out.

use super::regular::{about, shown};
use crate::tar::pack::Packer;
use crate::tar::unpack::{Ended, Unpacker};
use crate::task::{Input, Output};
use crate::worker::{GuestPath, Worker};
use guestd_api::actions::archive::{CpioOutOptions, MksquashfsOptions, Server, TarInOptions, TarOutOptions};
use guestd_api::forms::tar::Names;
use guestd_api::{Failure, GuestString, Worker as _};
use rustix::fs::{Mode, OFlags};
use std::ffi::OsString;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The option of tar for a kind of compression.
fn filter(compress: Option<&GuestString>) -> Result<Option<&'static str>, Failure> {
    let Some(kind) = compress else { return Ok(None) };
    match kind.to_str() {
        Some("compress") => Ok(Some("--compress")),
        Some("gzip") => Ok(Some("--gzip")),
        Some("bzip2") => Ok(Some("--bzip2")),
        Some("xz") => Ok(Some("--xz")),
        Some("lzop") => Ok(Some("--lzop")),
        Some("lzma") => Ok(Some("--lzma")),
        Some("zstd") => Ok(Some("--zstd")),
        _ => Err(Failure::new(format!("unknown compression type: {kind}"))),
    }
}

/// The options of tar for what is not in every archive.
fn extras(
    xattrs: Option<bool>,
    selinux: Option<bool>,
    acls: Option<bool>,
) -> impl Iterator<Item = &'static str> {
    let choices =
        [(xattrs, "--xattrs"), (xattrs, "--xattrs-include=*"), (selinux, "--selinux"), (acls, "--acls")];
    choices.into_iter().filter(|(wanted, _)| wanted.unwrap_or(false)).map(|(_, option)| option)
}

impl Worker {
    /// The place of a directory of the guest, for tar to work in.
    fn directory(&self, directory: &GuestPath) -> Result<PathBuf, Failure> {
        let place = self.outside(directory)?;
        let _guest = self.guest()?;
        if !directory.path().metadata().map_err(|e| directory.failure(e))?.is_dir() {
            return Err(Failure::new(format!("{}: not a directory", GuestString::from(directory.as_ref()))));
        }
        Ok(place)
    }
}

/// What is packed must be there; the failure of a system call says which one it was.
fn from_stat(failure: Failure) -> Failure {
    if failure.errno == 0 { failure } else { about("stat")(failure) }
}

impl Worker {
    /// Unpacks with GNU tar.
    fn tar_extract(
        &self,
        archive: &mut dyn Read,
        directory: &GuestPath,
        place: PathBuf,
        opts: &TarInOptions,
    ) -> Result<(), Failure> {
        let tar = self.tool("tar")?.arg("-x").arg("-f").arg("-").arg("-C").arg(place);
        // Half a megabyte per read and write in place of ten kilobytes: system calls are dear in some machines.
        let tar = tar.args(["-B", "-b", "1024"]);
        let tar =
            tar.args(filter(opts.compress.as_ref())?).args(extras(opts.xattrs, opts.selinux, opts.acls));
        // A stock tar keeps the owners it is given by name; the guest's names are not known to it.
        let done = tar.arg("--numeric-owner").finish_with(Some(archive), None)?;
        done.success().map_err(about(format!("tar subcommand failed on directory: {}", shown(directory))))
    }

    /// Unpacks an archive that asks for nothing special, in large part without GNU tar. False if it can do nothing
    /// here; nothing was read then.
    fn unpack_plainly(
        &self,
        archive: &mut Input,
        directory: &GuestPath,
        place: &Path,
    ) -> Result<bool, Failure> {
        let check = || self.task.check();
        let (mut unpacker, ended) = {
            let _guest = self.guest()?;
            let here = enter(directory)?;
            let _mask = Umask::none();
            let Some(mut unpacker) = Unpacker::new(here.as_fd(), &check) else { return Ok(false) };
            let ended = unpacker.run(archive)?;
            (unpacker, ended)
        };
        let rest = match ended {
            Ended::Whole => Ok(()),
            Ended::Rest(rest) => {
                let mut rest = rest.as_slice().chain(archive);
                self.tar_extract(&mut rest, directory, place.to_owned(), &TarInOptions::default())
            }
        };
        let _guest = self.guest()?;
        let _here = enter(directory)?;
        let mut complaints = std::mem::take(&mut unpacker.complaints);
        complaints.extend(unpacker.finish());
        rest?;
        let subject = format!("tar subcommand failed on directory: {}", shown(directory));
        complained(complaints).map_err(about(subject)).map(|()| true)
    }

    /// Packs a directory, large part without GNU tar. False if it can do nothing here; nothing was written then.
    fn pack_plainly(&self, directory: &GuestPath, out: &mut Output, numeric: bool) -> Result<bool, Failure> {
        let names = if numeric {
            Names::new(b"", b"")
        } else {
            let etc = self.agent.tools.root()?.join("etc");
            // What has no name is known by its number.
            let table = |name| std::fs::read(etc.join(name)).unwrap_or_default();
            Names::new(&table("passwd"), &table("group"))
        };
        let check = || self.task.check();
        let _guest = self.guest()?;
        let _here = enter(directory)?;
        let Some(packer) = Packer::new(names, out, &check) else { return Ok(false) };
        let complaints = packer.run()?;
        complained(complaints)
            .map_err(|failure| Failure::new(format!("error in tar: {}", failure.message)))?;
        Ok(true)
    }
}

/// Makes a directory of the guest the thread's working directory; it is left with the guest.
fn enter(directory: &GuestPath) -> Result<OwnedFd, Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let here = rustix::fs::open(directory.path(), flags, Mode::empty()).map_err(|e| directory.failure(e))?;
    rustix::process::fchdir(&here).map_err(|e| directory.failure(e))?;
    Ok(here)
}

/// A failure with GNU tar's last words, if there were complaints.
fn complained(mut complaints: Vec<String>) -> Result<(), Failure> {
    if complaints.is_empty() {
        return Ok(());
    }
    complaints.push("tar: Exiting with failure status due to previous errors".to_owned());
    Err(Failure::new(complaints.join("\n")))
}

/// New files get exactly the permissions they are given, until this is dropped.
struct Umask(Mode);

impl Umask {
    fn none() -> Self {
        Umask(rustix::process::umask(Mode::empty()))
    }
}

impl Drop for Umask {
    fn drop(&mut self) {
        rustix::process::umask(self.0);
    }
}

impl Server for Worker {
    fn tar_in(&self, mut tarfile: Input, directory: GuestPath, opts: TarInOptions) -> Result<(), Failure> {
        let place = self.directory(&directory)?;
        if opts == TarInOptions::default() && self.unpack_plainly(&mut tarfile, &directory, &place)? {
            return Ok(());
        }
        self.tar_extract(&mut tarfile, &directory, place, &opts)
    }

    fn tar_out(
        &self,
        directory: GuestString,
        mut tarfile: Output,
        opts: TarOutOptions,
    ) -> Result<(), Failure> {
        let directory = self.path("directory", directory)?;
        let place = self.directory(&directory).map_err(from_stat)?;
        let numeric = opts.numericowner.unwrap_or(false);
        let is_plain = TarOutOptions { numericowner: None, ..opts.clone() } == TarOutOptions::default();
        if is_plain && self.pack_plainly(&directory, &mut tarfile, numeric)? {
            return Ok(());
        }
        let mut tar = self.tool("tar")?.arg("-c").arg("-f").arg("-").arg("-C").arg(place);
        tar = tar.args(filter(opts.compress.as_ref())?).args(extras(opts.xattrs, opts.selinux, opts.acls));
        if numeric {
            tar = tar.arg("--numeric-owner");
        }
        for pattern in opts.excludes.unwrap_or_default() {
            let mut option = OsString::from("--exclude=");
            option.push(pattern.as_os_str());
            tar = tar.arg(option);
        }
        let done = tar.arg("--").arg(".").finish_with(None, Some(&mut tarfile))?;
        done.success().map_err(|failure| Failure::new(format!("error in tar: {}", failure.message)))
    }

    fn tgz_in(&self, tarball: Input, directory: GuestPath) -> Result<(), Failure> {
        self.tar_in(tarball, directory, TarInOptions::default().compress("gzip"))
    }

    fn tgz_out(&self, directory: GuestPath, tarball: Output) -> Result<(), Failure> {
        self.tar_out(shown(&directory), tarball, TarOutOptions::default().compress("gzip"))
    }

    fn txz_in(&self, tarball: Input, directory: GuestPath) -> Result<(), Failure> {
        self.tar_in(tarball, directory, TarInOptions::default().compress("xz"))
    }

    fn txz_out(&self, directory: GuestPath, tarball: Output) -> Result<(), Failure> {
        self.tar_out(shown(&directory), tarball, TarOutOptions::default().compress("xz"))
    }

    fn cpio_out(
        &self,
        directory: GuestString,
        mut cpiofile: Output,
        opts: CpioOutOptions,
    ) -> Result<(), Failure> {
        let format = opts.format.unwrap_or_else(|| "newc".into());
        if format != "newc" && format != "crc" {
            return Err(Failure::new(format!("{format}: format must be 'newc' or 'crc'")));
        }
        let directory = self.path("directory", directory)?;
        let place = self.directory(&directory).map_err(from_stat)?;
        self.tool("cpio")?;
        let script = "set -o pipefail; cd -- \"$0\" && find . -print0 | cpio --quiet -0 -o -H \"$1\"";
        let program = self.tool("bash")?.args(["-c", script]).arg(place).arg(format.as_os_str());
        program.finish_with(None, Some(&mut cpiofile))?.success().map_err(about(shown(&directory)))
    }

    fn mksquashfs(
        &self,
        path: GuestPath,
        mut filename: Output,
        opts: MksquashfsOptions,
    ) -> Result<(), Failure> {
        let place = self.outside_plain(&path)?;
        // It goes back and forth in its output, which a stream cannot.
        let thread = format!("{:?}", std::thread::current().id()).replace(['(', ')'], "-");
        let name = format!("squashfs-{}-{thread}", std::process::id());
        let (outer, inner) = self.agent.tools.shared_directory(&name)?;
        let result = (|| {
            let image = inner.join("image");
            let mut program = self.tool("mksquashfs")?.arg(place).arg(&image);
            program = program.args(["-noappend", "-no-progress", "-quiet", "-wildcards"]);
            if let Some(compress) = &opts.compress {
                program = program.arg("-comp").arg(compress.as_os_str());
            }
            let excludes = opts.excludes.unwrap_or_default();
            if !excludes.is_empty() {
                program = program.arg("-e").args(excludes.iter().map(GuestString::as_os_str));
            }
            program.run()?;
            let mut image =
                std::fs::File::open(outer.join("image")).map_err(|e| Failure::io("mksquashfs", &e))?;
            std::io::copy(&mut image, &mut filename).map_err(|e| Failure::io("mksquashfs", &e))?;
            Ok(())
        })();
        // A directory that cannot be removed is empty memory at worst.
        let _ = std::fs::remove_dir_all(&outer);
        result.map_err(about(shown(&path)))
    }

    fn base64_in(&self, mut base64file: Input, filename: GuestPath) -> Result<(), Failure> {
        let failed = about(format!("base64 subcommand failed on file: {}", shown(&filename)));
        let mut options = std::fs::File::options();
        let file = self.open_with(&filename, options.write(true).create(true).truncate(true))?;
        let program = self.tool("base64")?.args(["-d", "-i"]).stdout(file);
        program.finish_with(Some(&mut base64file), None)?.success().map_err(failed)
    }

    fn base64_out(&self, filename: GuestPath, mut base64file: Output) -> Result<(), Failure> {
        let program = self.tool("base64")?.stdin(self.open_regular(&filename).map_err(about("stat"))?);
        program.finish_with(None, Some(&mut base64file))?.success().map_err(about(shown(&filename)))
    }
}
