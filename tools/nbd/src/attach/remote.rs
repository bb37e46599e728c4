//! Connections to a server of the network that the kernel goes on with: this process only shakes hands.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nbd_protocol::client::{self, ExportInfo, Wishes};
use nbd_protocol::stream::Stream;
use nbd_protocol::uri::Address;
use nbd_protocol::wire::Flags;

/// First and longest pause between two tries to connect anew.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Connections on which the handshake is done.
pub(super) struct Remote {
    pub(super) info: ExportInfo,
    streams: Vec<Arc<Stream>>,
}

impl Remote {
    /// Connects to the export at `address`, more than once if that is good for it.
    ///
    /// # Errors
    /// When the server cannot be reached, or refuses.
    pub(super) fn connect(address: &Address, most: usize) -> Result<Self> {
        let first = connect(address)?;
        let info = first.info().clone();
        let more = if info.flags.has(Flags::MULTI_CONN) { most.saturating_sub(1) } else { 0 };
        let mut streams = vec![first.into_stream()];
        for _ in 0..more {
            // A server may allow fewer than it lets hope for.
            let Ok(connection) = connect(address) else { break };
            if connection.info().size != info.size {
                bail!("The server at {} says different things about '{}'", address.target, address.export);
            }
            streams.push(connection.into_stream());
        }
        Ok(Remote { info, streams })
    }

    /// The sockets.
    pub(super) fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        self.streams.iter().map(|stream| stream.input()).collect()
    }
}

fn connect(address: &Address) -> Result<client::Connection> {
    let failed = || format!("Could not connect to '{}'", address.target);
    let stream = client::connect(&address.target).with_context(failed)?;
    // The kernel knows nothing else.
    let wishes = Wishes {
        extended: false,
        structured: false,
        contexts: Vec::new(),
        ..Wishes::new(address.export.clone())
    };
    client::negotiate(stream, &wishes).with_context(failed)
}

/// Connects once more in place of a connection that broke, and gives the socket to `hand_over`. Tries again until it is too
/// late, or `is_over`.
///
/// # Errors
/// When it is too late, or there is another export now.
pub(super) fn again(
    address: &Address,
    size: u64,
    patience: Duration,
    mut hand_over: impl FnMut(&[BorrowedFd<'_>]) -> std::io::Result<()>,
    mut is_over: impl FnMut() -> bool,
) -> Result<()> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let tried = Remote::connect(address, 1).and_then(|remote| {
            if remote.info.size != size {
                bail!("The export has {} bytes now, and had {size}", remote.info.size);
            }
            hand_over(&remote.sockets()).context("The kernel does not take the new connection")
        });
        match tried {
            Ok(()) => return Ok(()),
            Err(_) if is_over() => return Ok(()),
            Err(error) if start.elapsed() > patience => {
                return Err(anyhow!(error).context("A connection broke, and there is no other"));
            }
            Err(_) => {}
        }
        sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
