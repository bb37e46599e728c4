//! The conversation with the kernel over one mount: several threads read requests and answer them.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use guestd_api::fuse::{self as protocol, InHeader, InitIn, InitOut, MAX_MESSAGE, OUT_HEADER, op};
use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What answers the kernel's requests, from several threads at once.
pub trait Server: Send + Sync + 'static {
    /// What is used of the kernel's abilities, if it has them: flags of [`protocol::init`].
    fn wanted(&self) -> u64;

    /// Carries out a request, whose own part is `rest`, and adds what is to be said to `answer`, which begins with room
    /// for a header of [`OUT_HEADER`] bytes.
    ///
    /// # Errors
    /// The number of the error that whoever asked gets.
    fn carry_out(&self, header: &InHeader, rest: &[u8], answer: &mut Vec<u8>) -> Result<(), Errno>;

    /// The mount can be used now.
    fn ready(&self) {}

    /// The mount was taken off, or can be served no longer. Each thread says so.
    fn over(&self) {}
}

/// Begins to serve a mount with so many threads. They end when it is taken off.
///
/// # Errors
/// When there are no more threads to be had.
pub fn start<S: Server>(kernel: OwnedFd, server: &Arc<S>, threads: usize) -> io::Result<Vec<JoinHandle<()>>> {
    let kernel = Arc::new(File::from(kernel));
    let spawn = |number: usize| {
        let (kernel, server) = (Arc::clone(&kernel), Arc::clone(server));
        let serve = move || serve(&kernel, &*server);
        std::thread::Builder::new().name(format!("mount-{number}")).spawn(serve)
    };
    (0..threads).map(spawn).collect()
}

fn serve(kernel: &File, server: &impl Server) {
    let mut buffer = vec![0; MAX_MESSAGE];
    let mut reply = Vec::new();
    let mut from = kernel;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => answer(kernel, server, buffer.get(..count).unwrap_or_default(), &mut reply),
            // Whoever asked has given up before this was read.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::Interrupted) => {}
            Err(_) => break,
        }
    }
    server.over();
}

fn answer(mut kernel: &File, server: &impl Server, message: &[u8], answer: &mut Vec<u8>) {
    let Ok((header, rest)) = InHeader::read_from_prefix(message) else { return };
    answer.clear();
    answer.resize(OUT_HEADER, 0);
    let done = match header.opcode {
        op::INIT => {
            answer.extend_from_slice(InitOut::to(&InitIn::of(rest), server.wanted()).as_bytes());
            Ok(())
        }
        _ => server.carry_out(&header, rest, answer),
    };
    if protocol::is_one_way(header.opcode) {
        return;
    }
    let mut head = protocol::answer(header.unique, 0);
    if let Err(error) = done {
        head.error = error.raw_os_error().saturating_neg();
        answer.truncate(OUT_HEADER);
    }
    head.len = u32::try_from(answer.len()).unwrap_or(u32::MAX);
    if let Some(place) = answer.get_mut(..OUT_HEADER) {
        place.copy_from_slice(head.as_bytes());
    }
    // Who has asked may not wait any more.
    let _ = kernel.write(answer);
    if header.opcode == op::INIT {
        server.ready();
    }
}

/// The next part of a request.
///
/// # Errors
/// `EINVAL` when the request is too short for it.
pub fn take<T: FromBytes + KnownLayout + Immutable>(rest: &mut &[u8]) -> Result<T, Errno> {
    let (part, after) = T::read_from_prefix(rest).map_err(|_| Errno::INVAL)?;
    *rest = after;
    Ok(part)
}

/// A name in a request, up to its end mark.
///
/// # Errors
/// `EINVAL` when it has no end.
pub fn name<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Errno> {
    let name = CStr::from_bytes_until_nul(rest).map_err(|_| Errno::INVAL)?.to_bytes();
    *rest = rest.get(name.len().saturating_add(1)..).unwrap_or_default();
    Ok(name)
}
