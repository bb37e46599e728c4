//! User-mode networking: passt, a program that turns the guest's frames into ordinary connections of this
//! user, and back. It needs no privileges.
//!
//! It shuts itself in: no files, no other processes, a short list of system calls. It lives no longer than
//! the socket between it and the machine, which closes with this process, however that ends.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use guestd_api::network::{ADDRESS, GATEWAY, NAME_SERVER, PREFIX};

use crate::backend::GUEST_MAC;
use crate::launch::find_program;
use crate::log::{KernelLog, LogReader};

/// Who the guest sees at the other end of its link.
const HOST_MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x64, 0x77, 0x02];
/// How long passt may take to answer its first question.
const PATIENCE: Duration = Duration::from_secs(10);
/// Newer versions do not accept one of the standard streams as their socket.
const START: &str = "exec \"$@\" 3<&0 </dev/null";

/// Why there is no network.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not installed.
    #[error("The network needs passt, which is not installed (package passt)")]
    Missing,
    /// It cannot be run.
    #[error("Could not start passt for the network")]
    Start(#[from] io::Error),
    /// It ended at once.
    #[error("passt, which makes the network, does not work here: {0}")]
    Ended(String),
}

/// A running passt. Dropping it ends it.
pub(crate) struct Passt {
    child: Child,
    _log: LogReader,
}

impl Passt {
    /// Starts it, and waits until it answers; with it comes the other end of its stream of frames.
    pub(crate) fn start() -> Result<(UnixStream, Passt), Error> {
        let program = find_program("passt").ok_or(Error::Missing)?;
        let (ours, theirs) = UnixStream::pair()?;
        let (output, log_end) = io::pipe()?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", START, "passt"]).arg(program);
        command.args(["--foreground", "--fd", "3", "--ipv4-only"]);
        // Nothing of the host's becomes a port of the guest.
        command.args(["-t", "none", "-u", "none", "--no-dhcp"]);
        let mac = HOST_MAC.map(|byte| format!("{byte:02x}")).join(":");
        command.args(["--mac-addr", &mac, "--netmask", &PREFIX.to_string()]);
        command.args(["--address", &ADDRESS.to_string(), "--gateway", &GATEWAY.to_string()]);
        command.args(["--dns-forward", &NAME_SERVER.to_string()]);
        if !has_default_route() {
            // What there is can be reached all the same: this host.
            command.args(["--interface", "lo"]);
        }
        command.env_clear().current_dir("/").process_group(0);
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(log_end);
        let child = command.spawn()?;
        // Its copies of the ends go with it.
        drop(command);
        let (log, reader) = KernelLog::collect(output, None)?;
        let mut passt = Passt { child, _log: reader };
        match first_answer(&ours) {
            Ok(()) => Ok((ours, passt)),
            Err(error) => {
                passt.end();
                drop(passt);
                let said = log.text();
                // What it says last, without what it could not say to the system's log.
                let words = |line: &&str| !line.trim().is_empty() && !line.contains("syslog");
                let said = said.lines().rev().find(words).map(str::to_owned);
                Err(Error::Ended(said.unwrap_or_else(|| error.to_string())))
            }
        }
    }

    fn end(&mut self) {
        // Either fails only when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Passt {
    fn drop(&mut self) {
        self.end();
    }
}

/// Asks passt for the gateway's address, in the guest's name, and reads the answer.
fn first_answer(mut stream: &UnixStream) -> io::Result<()> {
    const BROADCAST: [u8; 6] = [0xff; 6];
    const ARP: [u8; 2] = [0x08, 0x06];
    /// Ethernet, IPv4, their lengths, a request.
    const REQUEST: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];
    let (ours, gateway) = (ADDRESS.octets(), GATEWAY.octets());
    let frame = [&BROADCAST[..], &GUEST_MAC, &ARP, &REQUEST, &GUEST_MAC, &ours, &[0; 6], &gateway].concat();
    let length = u32::try_from(frame.len()).unwrap_or_default().to_be_bytes();
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&[&length[..], &frame].concat())?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if !(28..=1518).contains(&length) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it sent {length} bytes at once")));
    }
    io::copy(&mut stream.take(length.into()), &mut io::sink())?;
    stream.set_read_timeout(None)
}

/// Whether packets to anywhere find their way. Fields of the table: interface, destination, gateway, flags...
fn has_default_route() -> bool {
    let table = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    table.lines().any(|line| line.split_whitespace().nth(1) == Some("00000000"))
}
