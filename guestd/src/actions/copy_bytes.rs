//! Copying bytes between files and devices of the guest.

use crate::worker::{DevOrPath, Worker};
use guestd_api::{Failure, GuestString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;

/// Bytes moved at a time.
const PIECE: usize = 1 << 20;
/// Blocks of zeroes of this size can be left out.
const HOLE: usize = 4096;

/// How much is copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Amount {
    /// All there is.
    #[default]
    All,
    /// So much; what is said when there is less.
    Exactly { bytes: u64, short: &'static str },
}

/// What to copy, in bytes.
#[derive(Debug, Default)]
pub(super) struct Job {
    /// Where to start reading.
    pub(super) from: u64,
    /// Where to start writing.
    pub(super) to: u64,
    pub(super) amount: Amount,
    /// Leave out blocks of zeroes.
    pub(super) sparse: bool,
    /// Keep what a file has and write behind it.
    pub(super) append: bool,
    /// Errors are put as the program dd does.
    pub(super) words_of_dd: bool,
}

impl Job {
    pub(super) fn new(
        srcoffset: Option<i64>,
        destoffset: Option<i64>,
        size: Option<i64>,
        sparse: Option<bool>,
        append: Option<bool>,
    ) -> Result<Self, Failure> {
        let positive = |name: &str, value: Option<i64>| match value.map(u64::try_from) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(_)) => Err(Failure::new(format!("{name} is negative"))),
        };
        Ok(Job {
            from: positive("srcoffset", srcoffset)?.unwrap_or(0),
            to: positive("destoffset", destoffset)?.unwrap_or(0),
            amount: match positive("size", size)? {
                Some(bytes) => Amount::Exactly { bytes, short: "input too short" },
                None => Amount::All,
            },
            sparse: sparse.unwrap_or(false),
            append: append.unwrap_or(false),
            words_of_dd: false,
        })
    }
}

fn name(place: &DevOrPath) -> GuestString {
    match place {
        DevOrPath::Device(device) => device.shown.clone(),
        DevOrPath::Path(path) => path.as_ref().into(),
    }
}

impl Worker {
    /// Copies; the destination that is a file is made if needed.
    pub(super) fn copy_bytes(&self, src: &DevOrPath, dest: &DevOrPath, job: &Job) -> Result<(), Failure> {
        let at = |place: &DevOrPath, what: &str| {
            let subject = match (job.words_of_dd, what) {
                (true, _) => format!("{}: {}: dd: failed to {what} '{}'", name(src), name(dest), name(place)),
                (false, "open") => name(place).to_string(),
                (false, _) => format!("{what}: {}", name(place)),
            };
            move |error: io::Error| Failure::io(subject, &error)
        };
        // A fifo that nobody writes to must not hold up the agent, and none is what is meant.
        let flags = libc::O_NOCTTY | libc::O_NONBLOCK;
        let mut input =
            self.place(src, File::options().read(true).custom_flags(flags)).map_err(at(src, "open"))?;
        refuse_pipes(&input).map_err(at(src, "open"))?;
        let mut options = File::options();
        options.write(true).custom_flags(flags);
        if matches!(dest, DevOrPath::Path(_)) {
            options.create(true).truncate(!job.append);
        }
        let mut output = self.place(dest, &options).map_err(at(dest, "open"))?;
        refuse_pipes(&output).map_err(at(dest, "open"))?;
        input.seek(SeekFrom::Start(job.from)).map_err(at(src, "read"))?;
        let start = match (job.append, dest) {
            (true, DevOrPath::Path(_)) => SeekFrom::End(0),
            _ => SeekFrom::Start(job.to),
        };
        output.seek(start).map_err(at(dest, "write"))?;
        let total = match job.amount {
            Amount::Exactly { bytes, .. } => bytes,
            Amount::All => left(&mut input).map_err(at(src, "read"))?,
        };
        let limit = if job.amount == Amount::All { u64::MAX } else { total };
        let mut limited = input.take(limit);
        let mut buffer = vec![0; PIECE];
        let mut done = 0u64;
        loop {
            self.task.check()?;
            let count = match limited.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(at(src, "read")(error)),
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            write_piece(&mut output, bytes, job.sparse)
                .map_err(|e| Failure::io(format!("{}: write", name(dest)), &e))?;
            done = done.saturating_add(count as u64);
            self.task.progress(done, total);
        }
        if let Amount::Exactly { bytes, short } = job.amount
            && done < bytes
        {
            return Err(Failure::new(format!("{}: {short}", name(src))));
        }
        let finished = match dest {
            // What ends in a hole has its size all the same.
            DevOrPath::Path(_) if job.sparse => output
                .stream_position()
                .and_then(|end| if output.metadata()?.len() < end { output.set_len(end) } else { Ok(()) }),
            DevOrPath::Path(_) => Ok(()),
            // What the caller was told is written can be read by its device as well.
            DevOrPath::Device(_) => output.sync_all(),
        };
        finished.map_err(at(dest, "write"))
    }

    fn place(&self, place: &DevOrPath, options: &OpenOptions) -> io::Result<File> {
        match place {
            DevOrPath::Device(device) => options.open(&device.node),
            DevOrPath::Path(path) => {
                let _guest = self.guest().map_err(|failure| io::Error::other(failure.to_string()))?;
                options.open(path.path())
            }
        }
    }
}

/// What is neither a file nor a device has no bytes of its own.
fn refuse_pipes(file: &File) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let kind = file.metadata()?.file_type();
    if kind.is_fifo() || kind.is_char_device() {
        Err(io::Error::from_raw_os_error(libc::EINVAL))
    } else {
        Ok(())
    }
}

/// How many bytes lie ahead.
fn left(file: &mut File) -> io::Result<u64> {
    let here = file.stream_position()?;
    let end = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(here))?;
    Ok(end.saturating_sub(here))
}

fn write_piece(to: &mut File, bytes: &[u8], sparse: bool) -> io::Result<()> {
    if !sparse {
        return to.write_all(bytes);
    }
    for block in bytes.chunks(HOLE) {
        if block.iter().all(|byte| *byte == 0) {
            let length = i64::try_from(block.len()).map_err(io::Error::other)?;
            to.seek(SeekFrom::Current(length))?;
        } else {
            to.write_all(block)?;
        }
    }
    Ok(())
}
