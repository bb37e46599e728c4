//! The side that sends commands.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, Result, bail};
use guestd_api::GuestString;

use super::{Reply, Request, frame, socket_path};
use crate::local::Flow;
use crate::shell::{Silent, Usage};

/// A connection to a server.
pub(crate) struct Client {
    stream: UnixStream,
}

impl Client {
    /// Connects to the server with this number.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn connect(pid: u32) -> Result<Self> {
        let path = socket_path(pid)?;
        match UnixStream::connect(&path) {
            Ok(stream) => Ok(Client { stream }),
            Err(_) => Err(Usage("guestfish: remote: looks like the server is not running".to_owned()).into()),
        }
    }

    /// Lets the server run a command whose output goes to `out`.
    ///
    /// # Errors
    /// When the command failed, which it has told itself, or the server is gone.
    pub(crate) fn run(
        &mut self,
        words: &[GuestString],
        text: Option<String>,
        ignore_errors: bool,
        out: BorrowedFd<'_>,
    ) -> Result<Flow> {
        let request = Request {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            words: words.iter().map(|word| word.as_bytes().to_vec()).collect(),
            text,
            ignore_errors,
        };
        let (input, errors) = (std::io::stdin(), std::io::stderr());
        let gone = "The guestfish that was to run the command has ended";
        frame::send(&mut self.stream, &request, &[input.as_fd(), out, errors.as_fd()]).context(gone)?;
        match frame::receive(&mut self.stream).context(gone)? {
            Some((Reply::Done, _)) => Ok(Flow::Go),
            Some((Reply::Quit, _)) => Ok(Flow::Quit),
            Some((Reply::Failed, _)) => Err(Silent.into()),
            Some((Reply::Version(theirs), _)) => bail!(
                "remote: the server is guestfish {theirs}, this is {}: both must be the same",
                env!("CARGO_PKG_VERSION")
            ),
            None => bail!("{gone}"),
        }
    }
}
