//! What goes wrong on an encrypted connection, and what the peer is told about it.

use std::{fmt, io};

/// A TLS alert: the number of a reason (RFC 8446, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Alert(pub(super) u8);

impl Alert {
    pub(super) const CLOSE_NOTIFY: Alert = Alert(0);
    pub(super) const UNEXPECTED_MESSAGE: Alert = Alert(10);
    pub(super) const BAD_RECORD_MAC: Alert = Alert(20);
    pub(super) const RECORD_OVERFLOW: Alert = Alert(22);
    pub(super) const HANDSHAKE_FAILURE: Alert = Alert(40);
    pub(super) const ILLEGAL_PARAMETER: Alert = Alert(47);
    pub(super) const DECODE_ERROR: Alert = Alert(50);
    pub(super) const DECRYPT_ERROR: Alert = Alert(51);
    pub(super) const PROTOCOL_VERSION: Alert = Alert(70);
    pub(super) const USER_CANCELED: Alert = Alert(90);

    /// The error with which this side gives up, and which tells what alert to send.
    pub(super) fn error(self, text: &str) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, Refused { alert: self, text: format!("TLS: {text}") })
    }

    /// What the peer says with this alert.
    pub(super) fn received(self) -> io::Error {
        broken(&format!("TLS: the peer ended the connection: {self}"))
    }

    /// The alert that belongs to `error`, if it was this side that gave up.
    pub(super) fn of(error: &io::Error) -> Option<Self> {
        let refused = error.get_ref()?.downcast_ref::<Refused>()?;
        Some(refused.alert)
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            0 => "it closed the connection",
            10 => "unexpected message",
            20 => "bad record MAC (it has another key?)",
            22 => "a record was too long",
            40 => {
                "handshake failure (no method that both sides know, or it wants another kind of credentials)"
            }
            42 => "bad certificate",
            43 => "unsupported certificate",
            44 => "the certificate was revoked",
            45 => "the certificate has expired",
            46 => "certificate unknown",
            47 => "illegal parameter",
            48 => "unknown certificate authority",
            49 => "access denied",
            50 => "decode error",
            51 => "decrypt error (it has another key for this user, or does not know the user)",
            70 => "it does not speak TLS 1.3",
            71 => "insufficient security",
            80 => "internal error",
            109 => "missing extension",
            112 => "unrecognised name",
            115 => "it does not know this user",
            116 => "it demands a certificate",
            number => return write!(f, "alert {number}"),
        };
        f.write_str(text)
    }
}

/// This side gave up.
#[derive(Debug)]
struct Refused {
    alert: Alert,
    text: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Refused {}

/// The connection cannot go on.
pub(super) fn broken(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.to_owned())
}

/// What a peer that is gone before the handshake is over tells by that; other errors stay what they are.
pub(super) fn closed(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => broken(
            "TLS: the peer closed the connection in the middle of the handshake; does it know other credentials only?",
        ),
        _ => error,
    }
}
