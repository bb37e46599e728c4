//! The two messages that agree on everything: the client's hello and the server's (RFC 8446, section 4.1).

use super::parser::{Parser, long, message};
use super::record::Suite;
use super::schedule::HASH;

/// Types of handshake messages.
pub(super) mod kind {
    pub(in super::super) const CLIENT_HELLO: u8 = 1;
    pub(in super::super) const SERVER_HELLO: u8 = 2;
    pub(in super::super) const NEW_SESSION_TICKET: u8 = 4;
    pub(in super::super) const ENCRYPTED_EXTENSIONS: u8 = 8;
    pub(in super::super) const FINISHED: u8 = 20;
    pub(in super::super) const KEY_UPDATE: u8 = 24;
}

mod extension {
    pub(super) const SUPPORTED_GROUPS: u16 = 10;
    pub(super) const PRE_SHARED_KEY: u16 = 41;
    pub(super) const EARLY_DATA: u16 = 42;
    pub(super) const SUPPORTED_VERSIONS: u16 = 43;
    pub(super) const PSK_MODES: u16 = 45;
    pub(super) const KEY_SHARE: u16 = 51;
}

const TLS_1_2: u16 = 0x0303;
const TLS_1_3: u16 = 0x0304;
/// A shared key together with a key exchange: what is recorded cannot be read when the key is known later.
const PSK_WITH_EXCHANGE: u8 = 1;
/// Bytes behind which the binder of the one identity stands: the lengths of the list and of the binder.
const BINDERS: usize = 2 + 1 + HASH;
/// What a server's hello has for its random bytes when it asks for another one of the client's.
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
    0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// A part of the key exchange: the group and the public value.
pub(super) type Share<'a> = (u16, &'a [u8]);

/// The client's hello, with zeroes for the binder, and where the binders begin.
pub(super) fn client_hello(
    random: &[u8; 32],
    session: &[u8; 32],
    shares: &[Share<'_>],
    identity: &[u8],
) -> (Vec<u8>, usize) {
    let hello = message(kind::CLIENT_HELLO, |out| {
        out.extend_from_slice(&TLS_1_2.to_be_bytes());
        out.extend_from_slice(random);
        out.push(32);
        out.extend_from_slice(session);
        long(out, |out| {
            Suite::ALL.iter().for_each(|suite| out.extend_from_slice(&suite.number().to_be_bytes()))
        });
        // No compression.
        out.extend_from_slice(&[1, 0]);
        long(out, |out| {
            extension(out, extension::SUPPORTED_VERSIONS, |out| {
                out.push(2);
                out.extend_from_slice(&TLS_1_3.to_be_bytes());
            });
            extension(out, extension::SUPPORTED_GROUPS, |out| {
                long(out, |out| {
                    shares.iter().for_each(|(group, _)| out.extend_from_slice(&group.to_be_bytes()))
                });
            });
            extension(out, extension::KEY_SHARE, |out| {
                long(out, |out| shares.iter().for_each(|share| put_share(out, *share)));
            });
            extension(out, extension::PSK_MODES, |out| out.extend_from_slice(&[1, PSK_WITH_EXCHANGE]));
            // The last one, because its binders are a proof about all that stands before them.
            extension(out, extension::PRE_SHARED_KEY, |out| {
                long(out, |out| {
                    long(out, |out| out.extend_from_slice(identity));
                    out.extend_from_slice(&[0; 4]);
                });
                long(out, |out| {
                    out.push(u8::try_from(HASH).unwrap_or(0));
                    out.extend_from_slice(&[0; HASH]);
                });
            });
        });
    });
    let binders = hello.len().saturating_sub(BINDERS);
    (hello, binders)
}

/// The server's hello.
pub(super) fn server_hello(
    random: &[u8; 32],
    session: &[u8],
    suite: Suite,
    share: Share<'_>,
    chosen: u16,
) -> Vec<u8> {
    message(kind::SERVER_HELLO, |out| {
        out.extend_from_slice(&TLS_1_2.to_be_bytes());
        out.extend_from_slice(random);
        out.push(u8::try_from(session.len()).unwrap_or(0));
        out.extend_from_slice(session);
        out.extend_from_slice(&suite.number().to_be_bytes());
        out.push(0);
        long(out, |out| {
            extension(out, extension::SUPPORTED_VERSIONS, |out| {
                out.extend_from_slice(&TLS_1_3.to_be_bytes())
            });
            extension(out, extension::KEY_SHARE, |out| put_share(out, share));
            extension(out, extension::PRE_SHARED_KEY, |out| out.extend_from_slice(&chosen.to_be_bytes()));
        });
    })
}

fn extension(out: &mut Vec<u8>, number: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&number.to_be_bytes());
    long(out, fill);
}

fn put_share(out: &mut Vec<u8>, (group, public): Share<'_>) {
    out.extend_from_slice(&group.to_be_bytes());
    long(out, |out| out.extend_from_slice(public));
}

/// What a client says, as far as it matters for shared keys.
#[derive(Default)]
pub(super) struct ClientHello<'a> {
    pub(super) session: &'a [u8],
    pub(super) suites: Vec<Suite>,
    pub(super) speaks_1_3: bool,
    pub(super) shares: Vec<Share<'a>>,
    /// It wants a key exchange in addition to the shared key.
    pub(super) with_exchange: bool,
    pub(super) early_data: bool,
    /// Users, each with the proof that the client knows the user's key.
    pub(super) identities: Vec<(&'a [u8], &'a [u8])>,
    /// Where in the message the proofs begin.
    pub(super) binders: usize,
}

impl<'a> ClientHello<'a> {
    /// Reads the whole message; nothing if it is malformed.
    pub(super) fn parse(message: &'a [u8]) -> Option<Self> {
        let mut parser = Parser::new(message.get(4..)?);
        let mut hello = ClientHello::default();
        parser.u16()?;
        parser.take(32)?;
        hello.session = parser.short().filter(|session| session.len() <= 32)?;
        hello.suites = Parser::new(parser.long()?).numbers().filter_map(Suite::of).collect();
        parser.short().filter(|compressions| compressions.contains(&0))?;
        if parser.is_empty() {
            return Some(hello);
        }
        let mut extensions = Parser::new(parser.long()?);
        if !parser.is_empty() {
            return None;
        }
        let mut seen = Vec::new();
        while !extensions.is_empty() {
            let number = extensions.u16()?;
            let body = Parser::new(extensions.long()?);
            // A hello is at most 64 KiB, so there are few.
            if seen.contains(&number) || seen.last() == Some(&extension::PRE_SHARED_KEY) || seen.len() > 64 {
                return None;
            }
            seen.push(number);
            hello.extension(number, body, message.len())?;
        }
        Some(hello)
    }

    fn extension(&mut self, number: u16, mut body: Parser<'a>, end: usize) -> Option<()> {
        match number {
            extension::SUPPORTED_VERSIONS => {
                self.speaks_1_3 = Parser::new(body.short()?).numbers().any(|version| version == TLS_1_3);
            }
            extension::KEY_SHARE => {
                let mut list = Parser::new(body.long()?);
                while !list.is_empty() && self.shares.len() < 16 {
                    self.shares.push((list.u16()?, list.long()?));
                }
            }
            extension::PSK_MODES => self.with_exchange = body.short()?.contains(&PSK_WITH_EXCHANGE),
            extension::EARLY_DATA => self.early_data = true,
            extension::PRE_SHARED_KEY => {
                let mut identities = Parser::new(body.long()?);
                let binders = body.long()?;
                self.binders = end.checked_sub(binders.len() + 2)?;
                let mut binders = Parser::new(binders);
                while !identities.is_empty() && self.identities.len() < 16 {
                    let identity = identities.long()?;
                    identities.take(4)?;
                    self.identities.push((identity, binders.short()?));
                }
                return body.is_empty().then_some(());
            }
            _ => {}
        }
        Some(())
    }
}

/// What a server says.
pub(super) struct ServerHello<'a> {
    pub(super) session: &'a [u8],
    pub(super) suite: Option<Suite>,
    pub(super) speaks_1_3: bool,
    /// It wants another hello, with another key exchange.
    pub(super) retry: bool,
    pub(super) share: Option<Share<'a>>,
    /// Which of the client's users it takes.
    pub(super) chosen: Option<u16>,
}

impl<'a> ServerHello<'a> {
    /// Reads the whole message; nothing if it is malformed.
    pub(super) fn parse(message: &'a [u8]) -> Option<Self> {
        let mut parser = Parser::new(message.get(4..)?);
        parser.u16()?;
        let retry = parser.take(32)? == RETRY;
        let session = parser.short()?;
        let suite = Suite::of(parser.u16()?);
        parser.u8().filter(|compression| *compression == 0)?;
        let mut hello = ServerHello { session, suite, speaks_1_3: false, retry, share: None, chosen: None };
        if parser.is_empty() {
            return Some(hello);
        }
        let mut extensions = Parser::new(parser.long()?);
        while !extensions.is_empty() {
            let number = extensions.u16()?;
            let mut body = Parser::new(extensions.long()?);
            match number {
                extension::SUPPORTED_VERSIONS => hello.speaks_1_3 = body.u16()? == TLS_1_3,
                extension::KEY_SHARE if !retry => hello.share = Some((body.u16()?, body.long()?)),
                extension::PRE_SHARED_KEY => hello.chosen = Some(body.u16()?),
                _ => {}
            }
        }
        parser.is_empty().then_some(hello)
    }
}
