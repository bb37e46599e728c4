//! What is done to a disk or to the machine so that somebody outside can watch it.

use super::{count, exactly};
use crate::disks::Device;
use crate::worker::Worker;
use guestd_api::actions::system::Server as _;
use guestd_api::{Failure, GuestString};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::{Duration, Instant};

/// How much is read or written at a time.
const PIECE: usize = 1 << 20;
/// How long a disk's speed is measured if nothing else is asked for.
const SPEED_TIME: Duration = Duration::from_secs(10);
/// The longest that it can be measured, in seconds.
const MAX_TIME: usize = 3600;
/// The sectors that mark the beginning and the end of a trace, in the order in which they are read.
const MARKS: [(&str, [u64; 4]); 2] = [("on", [2, 21, 15, 16]), ("off", [2, 15, 21, 16])];
/// Everything that the kernel keeps of disks.
const ALL_CACHES: i32 = 3;
/// Bytes in a sector of a trace's mark.
const SECTOR: u64 = 512;

/// Memory that direct reads and writes may use.
#[repr(align(4096))]
struct Aligned([u8; 4096]);

impl Worker {
    fn device_of(&self, word: &GuestString) -> Result<Device, Failure> {
        self.agent.disks.find(word)
    }

    fn open_to_read(&self, device: &Device) -> Result<File, Failure> {
        File::open(&device.node).map_err(|error| device.failure(error))
    }

    /// Overwrites a device from its beginning, again and again, and counts the bytes.
    pub(super) fn device_speed(&self, words: &[GuestString]) -> Result<GuestString, Failure> {
        let (device, time) = match words {
            [device] => (device, SPEED_TIME),
            [device, seconds] => {
                let seconds = count("device_speed", "seconds", std::slice::from_ref(seconds))?;
                (device, Duration::from_secs(seconds.min(MAX_TIME) as u64))
            }
            _ => return Err(Failure::new("device_speed: expecting a device and perhaps seconds")),
        };
        let device = self.device_of(device)?;
        let failed = |error| device.failure(error);
        let mut file = OpenOptions::new().write(true).open(&device.node).map_err(failed)?;
        let size = file.seek(SeekFrom::End(0)).map_err(failed)?;
        let piece = vec![0x55; usize::try_from(size).unwrap_or(PIECE).min(PIECE)];
        if piece.is_empty() {
            return Err(Failure::new("device_speed: there is no room on the device"));
        }
        let (start, mut written, mut at) = (Instant::now(), 0u64, 0);
        while start.elapsed() < time {
            self.task.check()?;
            if size - at < piece.len() as u64 {
                at = 0;
            }
            file.write_all_at(&piece, at).map_err(failed)?;
            at += piece.len() as u64;
            written = written.saturating_add(piece.len() as u64);
        }
        file.flush().and_then(|()| file.sync_all()).map_err(failed)?;
        Ok(written.to_string().into())
    }

    /// Reads a few sectors past all caches, in an order that whoever traces the disk can find.
    pub(super) fn mark_trace(&self, words: &[GuestString]) -> Result<GuestString, Failure> {
        let usage = || Failure::new("qtrace: expecting a device and on or off");
        let [device, state] = exactly(words).ok_or_else(usage)?;
        let marks =
            MARKS.iter().find(|(name, _)| *state == **name).map(|(_, marks)| marks).ok_or_else(usage)?;
        let device = self.device_of(device)?;
        self.drop_caches(ALL_CACHES)?;
        let open = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&device.node);
        let file = open.map_err(|error| device.failure(error))?;
        let mut sector = Box::new(Aligned([0; 4096]));
        for mark in marks {
            let mut buffer = sector.0.get_mut(..SECTOR as usize).unwrap_or_default();
            while !buffer.is_empty() {
                let done = SECTOR - buffer.len() as u64;
                let read = file.read_at(buffer, mark * SECTOR + done).map_err(|e| device.failure(e))?;
                if read == 0 {
                    return Err(Failure::new("qtrace: the device is too small"));
                }
                buffer = buffer.get_mut(read..).unwrap_or_default();
            }
        }
        Ok("ok".into())
    }

    /// Opens a device that `bmap` shall read.
    pub(super) fn map_device(&self, words: &[GuestString]) -> Result<GuestString, Failure> {
        let [device] = exactly(words).ok_or_else(|| Failure::new("bmap_device: expecting a device"))?;
        self.agent.session.mapped.open(self.open_to_read(&self.device_of(device)?)?);
        Ok("ok".into())
    }

    /// Opens a file or directory of the guest that `bmap` shall read.
    pub(super) fn map_file(&self, words: &[GuestString]) -> Result<GuestString, Failure> {
        let [path] = exactly(words).ok_or_else(|| Failure::new("bmap_file: expecting a path"))?;
        let opened = {
            let _inside = self.guest()?;
            File::open(path.as_os_str()).map_err(|error| Failure::io(path, &error))?
        };
        self.agent.session.mapped.open(opened);
        Ok("ok".into())
    }

    /// Reads all of what was opened, from the disk.
    pub(super) fn read_mapped(&self, words: &[GuestString]) -> Result<GuestString, Failure> {
        let [] = exactly(words).ok_or_else(|| Failure::new("bmap: expecting no argument"))?;
        self.drop_caches(ALL_CACHES)?;
        let read = self.agent.session.mapped.with("bmap: call bmap_file or bmap_device first", |file| {
            let failed = |error| Failure::io("bmap", &error);
            if file.metadata().map_err(failed)?.is_dir() {
                let mut entries = rustix::fs::Dir::read_from(&*file).map_err(|e| failed(e.into()))?;
                return entries.try_for_each(|entry| entry.map(drop).map_err(|e| failed(e.into())));
            }
            file.rewind().map_err(failed)?;
            let mut piece = vec![0; PIECE];
            while file.read(&mut piece).map_err(failed)? > 0 {
                self.task.check()?;
            }
            Ok(())
        });
        self.agent.session.mapped.close();
        read.map(|()| "ok".into())
    }

    /// Has the kernel keep the memory of programs that die, in files of this pattern.
    pub(super) fn core_pattern(&self, words: &[GuestString]) -> Result<GuestString, Failure> {
        let [pattern] = exactly(words).ok_or_else(|| Failure::new("core_pattern: expecting a pattern"))?;
        let file = "/proc/sys/kernel/core_pattern";
        std::fs::write(file, pattern.as_bytes()).map_err(|error| Failure::io(file, &error))?;
        use rustix::process::{Resource, Rlimit, setrlimit};
        setrlimit(Resource::Core, Rlimit { current: None, maximum: None })
            .map_err(|error| Failure::io("core_pattern", &error.into()))?;
        Ok("ok".into())
    }

    /// The libraries that a program of the appliance would load.
    pub(super) fn libraries(&self, words: &[GuestString]) -> Result<GuestString, Failure> {
        let [program] = exactly(words).ok_or_else(|| Failure::new("ldd: expecting a program"))?;
        let text = self
            .tool("sh")?
            .args(["-c", "LD_TRACE_LOADED_OBJECTS=1 exec \"$0\""])
            .arg(program.as_os_str())
            .run()?;
        Ok(text.into())
    }

    /// Sets a variable of the environment of every program that is started from now on.
    pub(super) fn set_variable(&self, words: &[GuestString]) -> Result<GuestString, Failure> {
        let usage = || Failure::new("setenv: expecting a variable and its value");
        let [name, value] = exactly(words).ok_or_else(usage)?;
        let plain =
            !name.is_empty() && !name.as_bytes().iter().chain(value.as_bytes()).any(|byte| *byte == 0);
        if !plain || name.as_bytes().contains(&b'=') {
            return Err(usage());
        }
        let mut variables = self.agent.session.environment();
        variables.insert(name.as_os_str().to_owned(), value.as_os_str().to_owned());
        Ok("ok".into())
    }
}
