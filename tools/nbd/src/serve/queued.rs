//! What a connection has taken and its peer has not: the system's `SIOCOUTQ`.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::ioctl::{Getter, Opcode, ioctl};

/// The number in `include/uapi/linux/sockios.h`.
const SIOCOUTQ: Opcode = 0x5411;

/// Bytes that were sent over `socket` and have not been taken by its peer. The kernel may count what it needs to keep them,
/// too; 0 is 0 in any case.
///
/// # Errors
/// When the system cannot tell.
pub(super) fn queued(socket: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: the call writes one `int`, on sockets; other descriptors, of which terminals know it as well, do the same
    // or refuse it.
    let bytes = unsafe { ioctl(socket, Getter::<SIOCOUTQ, std::ffi::c_int>::new()) }?;
    u32::try_from(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    use super::*;

    fn sent_from_a_file_and_read(near: OwnedFd, far: OwnedFd) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 8192]).unwrap();
        assert_eq!(queued(near.as_fd()).unwrap(), 0);
        let mut at = 0;
        while at < 8192 {
            let left = 8192 - usize::try_from(at).unwrap();
            rustix::fs::sendfile(&near, &file, Some(&mut at), left).unwrap();
        }
        let mut far = File::from(far);
        let mut byte = [0];
        far.read_exact(&mut byte).unwrap();
        let mut rest = [0; 8191];
        far.read_exact(&mut rest).unwrap();
        let begin = Instant::now();
        while queued(near.as_fd()).unwrap() > 0 {
            assert!(begin.elapsed() < Duration::from_secs(60), "it is never told that all was read");
        }
    }

    #[test]
    fn unix_sockets_tell_what_was_not_read() {
        let (near, far) = UnixStream::pair().unwrap();
        (&near).write_all(b"x").unwrap();
        assert!(queued(near.as_fd()).unwrap() > 0);
        (&far).read_exact(&mut [0]).unwrap();
        assert_eq!(queued(near.as_fd()).unwrap(), 0);
        sent_from_a_file_and_read(near.into(), far.into());
    }

    #[test]
    fn what_was_sent_and_closed_unread_is_gone() {
        let (near, far) = UnixStream::pair().unwrap();
        (&near).write_all(b"x").unwrap();
        drop(far);
        assert_eq!(queued(near.as_fd()).unwrap(), 0);
    }

    #[test]
    fn tcp_tells_it_too() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        sent_from_a_file_and_read(near.into(), far.into());
    }

    #[test]
    fn files_tell_nothing() {
        assert!(queued(tempfile::tempfile().unwrap().as_fd()).is_err());
    }
}
