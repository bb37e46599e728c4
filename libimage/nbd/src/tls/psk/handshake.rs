//! The handshake with a shared key (RFC 8446, section 2.2): three messages from the server, two from the client.

use std::io;

use ring::rand::{SecureRandom, SystemRandom};

use super::exchange::Exchange;
use super::hello::{ClientHello, ServerHello, client_hello, kind, server_hello};
use super::layer::SharedKey;
use super::parser::{Parser, message};
use super::record::{Incoming, Keys, Outgoing, Suite, content};
use super::schedule::{Early, HASH, Secret, Transcript, is_proof, proof};
use crate::stream::Wire;
use crate::tls::failure::{Alert, broken, closed};

/// The longest message of a handshake that is accepted.
pub(super) const MAX_MESSAGE: usize = 1 << 16;
/// More records than this a handshake never takes.
const MAX_RECORDS: usize = 64;

/// A handshake that goes on.
struct Handshake<'a> {
    wire: &'a Wire,
    incoming: Incoming,
    outgoing: Outgoing,
    transcript: Transcript,
    /// Bytes of messages that came in, from `taken` on not looked at.
    pending: Vec<u8>,
    taken: usize,
    records: usize,
}

/// Proves to the server that this is `user` with `key`, and that the server knows the key too.
pub(super) fn connect(wire: &Wire, user: &[u8], key: &[u8]) -> io::Result<SharedKey> {
    let mut handshake = Handshake::new(wire);
    match handshake.client(user, key) {
        Ok((client, server)) => {
            handshake.outgoing.set_keys(client);
            handshake.incoming.set_keys(server);
            handshake.finish()
        }
        Err(error) => Err(handshake.give_up(error)),
    }
}

/// Has a client prove that it is one of the users for whom `key_of` has a key.
pub(super) fn accept(
    wire: &Wire,
    key_of: &dyn Fn(&[u8]) -> io::Result<Option<Key>>,
) -> io::Result<SharedKey> {
    let mut handshake = Handshake::new(wire);
    match handshake.server(key_of) {
        Ok((client, server)) => {
            handshake.incoming.set_keys(client);
            handshake.outgoing.set_keys(server);
            handshake.finish()
        }
        Err(error) => Err(handshake.give_up(error)),
    }
}

/// A shared key.
pub(super) type Key = zeroize::Zeroizing<Vec<u8>>;

impl<'a> Handshake<'a> {
    fn new(wire: &'a Wire) -> Self {
        Handshake {
            wire,
            incoming: Incoming::new(),
            outgoing: Outgoing::new(),
            transcript: Transcript::new(),
            pending: Vec::new(),
            taken: 0,
            records: 0,
        }
    }

    /// Returns the keys of what the client and the server send from now on.
    fn client(&mut self, user: &[u8], key: &[u8]) -> io::Result<(Keys, Keys)> {
        let random = SystemRandom::new();
        let exchanges = Exchange::all(&random);
        let shares: Vec<_> = exchanges.iter().map(|one| (one.group, one.public.as_slice())).collect();
        let session = bytes(&random)?;
        let (mut hello, binders) = client_hello(&bytes(&random)?, &session, &shares, user);
        let early = Early::new(key);
        let mut seen = Transcript::new();
        seen.add(hello.get(..binders).unwrap_or_default());
        let binder = proof(&early.binder(), &seen);
        let place = hello.len().saturating_sub(HASH);
        if let Some(place) = hello.get_mut(place..) {
            place.copy_from_slice(binder.as_ref());
        }
        self.send(&[(content::HANDSHAKE, &hello)])?;
        self.transcript.add(&hello);

        let answer = self.receive(kind::SERVER_HELLO)?;
        let bad = |text: &str| Err(Alert::ILLEGAL_PARAMETER.error(text));
        let Some(hello) = ServerHello::parse(&answer) else { return Err(malformed()) };
        if hello.retry {
            return Err(
                Alert::HANDSHAKE_FAILURE.error("The server wants a key exchange other than X25519 and P-256")
            );
        }
        if !hello.speaks_1_3 {
            return Err(Alert::PROTOCOL_VERSION.error(
                "The server does not speak TLS 1.3, which shared keys need here; have it allow that version",
            ));
        }
        if hello.session != session {
            return bad("The server answered another client's message");
        }
        let Some(suite) = hello.suite else { return bad("The server chose a cipher that was not offered") };
        if hello.chosen != Some(0) {
            return bad("The server did not take the shared key; does it work with certificates?");
        }
        let Some((group, public)) = hello.share else { return bad("The server left out the key exchange") };
        let Some(exchange) = exchanges.into_iter().find(|exchange| exchange.group == group) else {
            return bad("The server chose a key exchange that was not offered");
        };
        let Some(shared) = exchange.finish(public) else {
            return bad("The server's part of the key exchange is bad");
        };
        self.at_boundary()?;
        self.transcript.add(&answer);

        let secrets = early.exchanged(&shared, &self.transcript);
        self.incoming.set_keys(Keys::new(suite, secrets.server.clone())?);
        let extensions = self.receive(kind::ENCRYPTED_EXTENSIONS)?;
        self.transcript.add(&extensions);
        let finished = self.finished(&secrets.server, "The server")?;
        self.transcript.add(&finished);
        self.at_boundary()?;
        let (client, server) = secrets.traffic(&self.transcript);

        let mine = proof(&secrets.client, &self.transcript);
        let mine = message(kind::FINISHED, |out| out.extend_from_slice(mine.as_ref()));
        let mut out = Vec::new();
        self.outgoing.seal(content::CHANGE_CIPHER_SPEC, &[1], &mut out)?;
        self.outgoing.set_keys(Keys::new(suite, secrets.client.clone())?);
        self.outgoing.seal(content::HANDSHAKE, &mine, &mut out)?;
        self.wire.write_all(&out)?;
        Ok((Keys::new(suite, client)?, Keys::new(suite, server)?))
    }

    /// Returns the keys of what the client and the server send from now on.
    fn server(&mut self, key_of: &dyn Fn(&[u8]) -> io::Result<Option<Key>>) -> io::Result<(Keys, Keys)> {
        let random = SystemRandom::new();
        let question = self.receive(kind::CLIENT_HELLO)?;
        let Some(hello) = ClientHello::parse(&question) else { return Err(malformed()) };
        if !hello.speaks_1_3 {
            return Err(Alert::PROTOCOL_VERSION
                .error("The client does not speak TLS 1.3, which shared keys need here"));
        }
        let fail = |text: &str| Err(Alert::HANDSHAKE_FAILURE.error(text));
        if hello.identities.is_empty() || !hello.with_exchange {
            return fail(
                "The client does not offer a shared key (with a key exchange); does it work with certificates?",
            );
        }
        if hello.early_data {
            return fail("The client sends data before it proved who it is");
        }
        let Some(suite) = Suite::ALL.into_iter().find(|suite| hello.suites.contains(suite)) else {
            return fail("The client offers neither AES-128-GCM nor ChaCha20-Poly1305 with SHA-256");
        };
        let offered =
            hello.shares.iter().find_map(|(group, public)| Some((Exchange::new(*group, &random)?, *public)));
        let Some((exchange, peer)) = offered else {
            return fail("The client offers no key exchange over X25519 or P-256");
        };
        let mut seen = Transcript::new();
        seen.add(question.get(..hello.binders).unwrap_or_default());
        let mut known = None;
        for (position, (identity, binder)) in (0u16..).zip(&hello.identities) {
            // An unknown user is refused in the same way as a wrong key: nobody can ask who is known.
            let key = key_of(identity)?;
            let early = Early::new(key.as_ref().map_or(&[0; HASH][..], |key| key.as_slice()));
            if is_proof(&early.binder(), &seen, binder) && key.is_some() {
                known = Some((position, early));
                break;
            }
        }
        let Some((position, early)) = known else {
            let users: Vec<_> =
                hello.identities.iter().map(|(user, _)| String::from_utf8_lossy(user)).collect();
            let text =
                format!("The client does not know the key of the user it names ({:?})", users.join(", "));
            return Err(Alert::DECRYPT_ERROR.error(&text));
        };
        self.at_boundary()?;
        self.transcript.add(&question);

        let public = exchange.public.clone();
        let answer =
            server_hello(&bytes(&random)?, hello.session, suite, (exchange.group, &public), position);
        self.transcript.add(&answer);
        let Some(shared) = exchange.finish(peer) else {
            return Err(Alert::ILLEGAL_PARAMETER.error("The client's part of the key exchange is bad"));
        };
        let secrets = early.exchanged(&shared, &self.transcript);
        let mut out = Vec::new();
        self.outgoing.seal(content::HANDSHAKE, &answer, &mut out)?;
        if !hello.session.is_empty() {
            self.outgoing.seal(content::CHANGE_CIPHER_SPEC, &[1], &mut out)?;
        }
        self.incoming.set_keys(Keys::new(suite, secrets.client.clone())?);
        self.outgoing.set_keys(Keys::new(suite, secrets.server.clone())?);
        let extensions = message(kind::ENCRYPTED_EXTENSIONS, |out| out.extend_from_slice(&[0; 2]));
        self.transcript.add(&extensions);
        self.outgoing.seal(content::HANDSHAKE, &extensions, &mut out)?;
        let mine = proof(&secrets.server, &self.transcript);
        let mine = message(kind::FINISHED, |out| out.extend_from_slice(mine.as_ref()));
        self.transcript.add(&mine);
        self.outgoing.seal(content::HANDSHAKE, &mine, &mut out)?;
        self.wire.write_all(&out)?;

        let (client, server) = secrets.traffic(&self.transcript);
        self.finished(&secrets.client, "The client")?;
        self.at_boundary()?;
        Ok((Keys::new(suite, client)?, Keys::new(suite, server)?))
    }

    /// The peer's last message, which proves that it has seen what this side has seen.
    fn finished(&mut self, secret: &Secret, who: &str) -> io::Result<Vec<u8>> {
        let finished = self.receive(kind::FINISHED)?;
        if is_proof(secret, &self.transcript, finished.get(4..).unwrap_or_default()) {
            return Ok(finished);
        }
        Err(Alert::DECRYPT_ERROR.error(&format!("{who} has seen another handshake: somebody is in between")))
    }

    /// The next message, which has to be of the type `wanted`.
    fn receive(&mut self, wanted: u8) -> io::Result<Vec<u8>> {
        loop {
            let bytes = self.pending.get(self.taken..).unwrap_or_default();
            if let Some(found) = whole_message(bytes)? {
                let found = found.to_vec();
                if found.first() != Some(&wanted) {
                    return Err(
                        Alert::UNEXPECTED_MESSAGE.error("The peer sent a message that has no place here")
                    );
                }
                self.taken += found.len();
                return Ok(found);
            }
            self.pending.drain(..self.taken);
            self.taken = 0;
            self.more()?;
        }
    }

    /// Takes another record of the handshake.
    fn more(&mut self) -> io::Result<()> {
        loop {
            self.records += 1;
            if self.records > MAX_RECORDS {
                return Err(Alert::UNEXPECTED_MESSAGE.error("The peer's handshake does not end"));
            }
            let Some((kind, payload)) = self.incoming.next(self.wire)? else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            match (kind, payload) {
                (content::CHANGE_CIPHER_SPEC, [1]) => {}
                (content::HANDSHAKE, [_, ..]) => {
                    self.pending.extend_from_slice(payload);
                    return Ok(());
                }
                (content::ALERT, [_, reason]) => return Err(Alert(*reason).received()),
                _ => {
                    return Err(
                        Alert::UNEXPECTED_MESSAGE.error("The peer sent what has no place in a handshake")
                    );
                }
            }
        }
    }

    /// Keys change here: nothing may be left that came under the old ones.
    fn at_boundary(&self) -> io::Result<()> {
        if self.taken < self.pending.len() {
            return Err(Alert::UNEXPECTED_MESSAGE.error("The peer sent a message too many"));
        }
        Ok(())
    }

    fn send(&mut self, records: &[(u8, &[u8])]) -> io::Result<()> {
        let mut out = Vec::new();
        for (kind, plain) in records {
            for piece in plain.chunks(super::record::LARGEST) {
                self.outgoing.seal(*kind, piece, &mut out)?;
            }
        }
        self.wire.write_all(&out)
    }

    fn finish(self) -> io::Result<SharedKey> {
        Ok(SharedKey::new(self.incoming, self.outgoing))
    }

    /// Tells the peer why there will be no connection; or finds out why from the peer.
    fn give_up(&mut self, error: io::Error) -> io::Error {
        match Alert::of(&error) {
            Some(Alert(reason)) => {
                let mut out = Vec::new();
                if self.outgoing.seal(content::ALERT, &[2, reason], &mut out).is_ok() {
                    self.wire.try_write(&out);
                }
                error
            }
            // It may have said something before it left.
            None if error.kind() == io::ErrorKind::BrokenPipe => match self.more() {
                Err(last) if last.kind() == io::ErrorKind::InvalidData => last,
                _ => closed(error),
            },
            None => closed(error),
        }
    }
}

/// The message at the front of `bytes`, if it is there as a whole.
pub(super) fn whole_message(bytes: &[u8]) -> io::Result<Option<&[u8]>> {
    let mut parser = Parser::new(bytes);
    let Some(&[_, high, middle, low]) = parser.take(4) else { return Ok(None) };
    let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
    if length > MAX_MESSAGE {
        return Err(Alert::DECODE_ERROR.error("The peer sent a message that is too long"));
    }
    Ok(bytes.get(..4 + length))
}

fn bytes(random: &SystemRandom) -> io::Result<[u8; 32]> {
    let mut out = [0; 32];
    random.fill(&mut out).map_err(|_| broken("TLS: the system has no random numbers"))?;
    Ok(out)
}

fn malformed() -> io::Error {
    Alert::DECODE_ERROR.error("The peer sent a malformed message")
}
