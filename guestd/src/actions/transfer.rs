//! Streams between a host file and a file or device of the guest, and checksums.

use crate::disks::Device;
use crate::passing::Passing;
use crate::task::{Input, Output};
use crate::worker::{DevOrPath, GuestPath, Worker};
use guestd_api::actions::transfer::Server;
use guestd_api::exchange::PIECE;
use guestd_api::{Failure, GuestString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};

impl Worker {
    fn open_either(&self, place: &DevOrPath, options: &OpenOptions) -> Result<File, Failure> {
        match place {
            DevOrPath::Device(device) => options.open(&device.node).map_err(|e| device.failure(e)),
            DevOrPath::Path(path) => self.open_with(path, options),
        }
    }

    /// Copies a stream of which `total` bytes are expected, 0 if that is not known.
    fn copy_stream(
        &self,
        from: &mut dyn Read,
        to: &mut dyn Write,
        total: u64,
        subject: &DevOrPath,
    ) -> Result<u64, Failure> {
        let failed = |e: io::Error| Failure::io(name(subject), &e);
        let mut buffer = vec![0; PIECE];
        let mut done = 0u64;
        loop {
            self.task.check()?;
            match from.read(&mut buffer) {
                Ok(0) => return Ok(done),
                Ok(count) => {
                    to.write_all(buffer.get(..count).unwrap_or_default()).map_err(failed)?;
                    done = done.saturating_add(count as u64);
                    self.task.progress(done, total);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    fn receive(
        &self,
        mut from: Input,
        place: &DevOrPath,
        options: &OpenOptions,
        offset: u64,
    ) -> Result<(), Failure> {
        let mut file = self.open_either(place, options)?;
        let failed = |e: io::Error| Failure::io(name(place), &e);
        if offset > 0 {
            file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        }
        let mut file = Passing::written(file, offset);
        self.copy_stream(&mut from, &mut file, 0, place)?;
        // What the caller was told is written can be read by its device as well.
        if matches!(place, DevOrPath::Device(_)) { file.file().sync_all().map_err(failed) } else { Ok(()) }
    }

    fn sum(&self, kind: &GuestString, file: File) -> Result<GuestString, Failure> {
        let text = self.tool(sum_program(kind)?)?.stdin(file).run()?;
        let sum = text.split(|byte| *byte == b' ').next().unwrap_or_default();
        Ok(sum.trim_ascii().into())
    }
}

/// The program for a type of checksum.
pub(super) fn sum_program(kind: &GuestString) -> Result<&'static str, Failure> {
    match kind.to_str() {
        Some("crc") => Ok("cksum"),
        Some("md5") => Ok("md5sum"),
        Some("sha1") => Ok("sha1sum"),
        Some("sha224") => Ok("sha224sum"),
        Some("sha256") => Ok("sha256sum"),
        Some("sha384") => Ok("sha384sum"),
        Some("sha512") => Ok("sha512sum"),
        _ => {
            let why = "unknown checksum type, expecting crc|md5|sha1|sha224|sha256|sha384|sha512";
            Err(Failure::new(format!("{kind}: {why}")).with_errno(libc::EINVAL))
        }
    }
}

fn name(place: &DevOrPath) -> GuestString {
    match place {
        DevOrPath::Device(device) => device.shown.clone(),
        DevOrPath::Path(path) => path.as_ref().into(),
    }
}

fn size(file: &mut File) -> io::Result<u64> {
    let size = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    Ok(size)
}

impl Server for Worker {
    fn upload(&self, filename: Input, remotefilename: DevOrPath) -> Result<(), Failure> {
        let mut options = File::options();
        options.write(true);
        if matches!(remotefilename, DevOrPath::Path(_)) {
            options.create(true).truncate(true);
        }
        self.receive(filename, &remotefilename, &options, 0)
    }

    fn upload_offset(&self, filename: Input, remotefilename: DevOrPath, offset: i64) -> Result<(), Failure> {
        let offset =
            u64::try_from(offset).map_err(|_| Failure::new("offset: offset in destination is negative"))?;
        let mut options = File::options();
        options.write(true).create(matches!(remotefilename, DevOrPath::Path(_)));
        self.receive(filename, &remotefilename, &options, offset)
    }

    fn download(&self, remotefilename: DevOrPath, mut filename: Output) -> Result<(), Failure> {
        let mut file = self.open_either(&remotefilename, File::options().read(true))?;
        let failed = |e: io::Error| Failure::io(name(&remotefilename), &e);
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(failed(io::Error::from_raw_os_error(libc::EISDIR)));
        }
        // A pipe has no size and cannot be rewound.
        let total = size(&mut file).unwrap_or(0);
        self.copy_stream(&mut Passing::read(file, 0), &mut filename, total, &remotefilename).map(|_| ())
    }

    fn download_offset(
        &self,
        remotefilename: DevOrPath,
        mut filename: Output,
        offset: i64,
        size: i64,
    ) -> Result<(), Failure> {
        let offset = u64::try_from(offset).map_err(|_| Failure::new("offset is negative"))?;
        let size = u64::try_from(size).map_err(|_| Failure::new("size is negative"))?;
        let mut file = self.open_either(&remotefilename, File::options().read(true))?;
        let failed = |e: io::Error| Failure::io(name(&remotefilename), &e);
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let done = self.copy_stream(
            &mut Passing::read(file, offset).take(size),
            &mut filename,
            size,
            &remotefilename,
        )?;
        if done < size {
            return Err(Failure::new(format!(
                "{}: short read, {done} of {size} bytes",
                name(&remotefilename)
            )));
        }
        Ok(())
    }

    fn checksum(&self, csumtype: GuestString, path: GuestPath) -> Result<GuestString, Failure> {
        self.sum(&csumtype, self.open(&path)?)
    }

    fn checksum_device(&self, csumtype: GuestString, device: Device) -> Result<GuestString, Failure> {
        let file = File::open(&device.node).map_err(|e| device.failure(e))?;
        self.sum(&csumtype, file)
    }
}
