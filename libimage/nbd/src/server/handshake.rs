//! The handshake: fixed newstyle negotiation with its options, and oldstyle for clients that know nothing else.

use std::io;
use std::sync::Arc;

use super::contexts::{self, Query};
use super::{Export, Exports, Mode, Refusal, Session};
use crate::stream::{Encryption, Stream};
use crate::wire::{
    FLAG_FIXED_NEWSTYLE, FLAG_NO_ZEROES, Flags, MAX_OPTION, MAX_STRING, NBD_MAGIC, OLDSTYLE_MAGIC,
    OPTION_HEADER, OPTION_MAGIC, OptionHeader, OptionReply, PADDING, be16, be32, info, opt, rep, rep_err,
};

/// Options that one client may send. Somebody who needs more wants something else.
const MAX_OPTIONS: u32 = 4096;

/// Whether connections are encrypted.
pub enum Security {
    /// They are not.
    Plain,
    /// They have to be.
    Required(Arc<dyn Encryption>),
    /// They may be.
    Optional(Arc<dyn Encryption>),
}

/// What a server lets its clients agree upon.
pub struct Terms {
    /// The best form of answers.
    pub best_mode: Mode,
    /// No negotiation: the export with the empty name, at once.
    pub oldstyle: bool,
    /// Clients may have several connections to one export.
    pub several: bool,
    /// Whether connections are encrypted.
    pub security: Security,
}

impl Default for Terms {
    fn default() -> Self {
        Terms { best_mode: Mode::Extended, oldstyle: false, several: true, security: Security::Plain }
    }
}

/// How a handshake ended.
pub enum Outcome {
    /// The transmission begins, on this stream.
    Transmission(Box<Session>, Arc<Stream>),
    /// The client has what it wanted.
    Finished,
}

/// Why a handshake was broken off.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The connection is broken.
    #[error("Could not speak with the client")]
    Io(#[from] io::Error),
    /// The client does not keep to the protocol.
    #[error("{0}")]
    Protocol(String),
    /// The client did not get its export, and could not be told.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

type Result<T> = std::result::Result<T, HandshakeError>;

fn protocol<T>(what: impl Into<String>) -> Result<T> {
    Err(HandshakeError::Protocol(what.into()))
}

/// Carries out the handshake with the client behind `stream`.
///
/// # Errors
/// When the client is gone, does not keep to the protocol, or wants what it cannot have by an option that knows no
/// other answer than the end.
pub fn negotiate(stream: Stream, exports: &dyn Exports, terms: &Terms) -> Result<Outcome> {
    if terms.oldstyle {
        return oldstyle(stream, exports, terms);
    }
    let mut hello = Vec::new();
    hello.extend_from_slice(&NBD_MAGIC.to_be_bytes());
    hello.extend_from_slice(&OPTION_MAGIC.to_be_bytes());
    hello.extend_from_slice(&(FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES).to_be_bytes());
    stream.write_all(&hello)?;
    let mut flags = [0; 4];
    stream.read_exact(&mut flags)?;
    let flags = be32(&flags, 0);
    if flags & !u32::from(FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES) != 0 {
        return protocol(format!("Unknown client flags 0x{flags:x} received"));
    }
    let mut talk = Talk {
        stream,
        exports,
        terms,
        encrypted: false,
        fixed: flags & u32::from(FLAG_FIXED_NEWSTYLE) != 0,
        no_zeroes: flags & u32::from(FLAG_NO_ZEROES) != 0,
        mode: Mode::Simple,
        chosen: None,
    };
    for _ in 0..MAX_OPTIONS {
        match talk.option()? {
            Step::Next => {}
            Step::Finished => return Ok(Outcome::Finished),
            Step::Transmission(session) => {
                return Ok(Outcome::Transmission(session, Arc::new(talk.stream)));
            }
        }
    }
    protocol("The client sends options without end")
}

fn oldstyle(stream: Stream, exports: &dyn Exports, terms: &Terms) -> Result<Outcome> {
    let export = exports.open("")?;
    let session = Session { flags: flags_of(&*export, terms, Mode::Simple, 0), ..Session::plain(export) };
    let mut hello = Vec::new();
    hello.extend_from_slice(&NBD_MAGIC.to_be_bytes());
    hello.extend_from_slice(&OLDSTYLE_MAGIC.to_be_bytes());
    hello.extend_from_slice(&session.export.size().to_be_bytes());
    hello.extend_from_slice(&u32::from(session.flags.0).to_be_bytes());
    hello.resize(hello.len() + PADDING, 0);
    stream.write_all(&hello)?;
    Ok(Outcome::Transmission(Box::new(session), Arc::new(stream)))
}

/// What a client of this connection hears of `export`.
fn flags_of(export: &dyn Export, terms: &Terms, mode: Mode, contexts: usize) -> Flags {
    let flags = export.flags() | Flags::HAS_FLAGS;
    let flags = if terms.several { flags } else { flags.without(Flags::MULTI_CONN) };
    flags
        .with(Flags::DF, mode >= Mode::Structured)
        .with(Flags::BLOCK_STATUS_PAYLOAD, mode == Mode::Extended && contexts > 0)
}

/// What follows an option.
enum Step {
    Next,
    Finished,
    Transmission(Box<Session>),
}

/// Metadata contexts that a client has chosen, and for which export.
struct Chosen {
    export: String,
    contexts: Vec<usize>,
}

struct Talk<'a> {
    stream: Stream,
    exports: &'a dyn Exports,
    terms: &'a Terms,
    encrypted: bool,
    fixed: bool,
    no_zeroes: bool,
    mode: Mode,
    chosen: Option<Chosen>,
}

impl Talk<'_> {
    /// Reads one option and answers it.
    fn option(&mut self) -> Result<Step> {
        let mut header = [0; OPTION_HEADER];
        self.stream.read_exact(&mut header)?;
        let Some(header) = OptionHeader::decode(&header) else { return protocol("Bad magic received") };
        if header.length > MAX_OPTION {
            return protocol(format!("len ({}) is larger than max len ({MAX_OPTION})", header.length));
        }
        let option = header.option;
        if let Security::Required(_) = self.terms.security
            && !self.encrypted
            && !matches!(option, opt::STARTTLS | opt::ABORT)
        {
            self.skip(header.length)?;
            if option == opt::EXPORT_NAME || !self.fixed {
                return protocol(format!("Option 0x{option:x} not permitted before TLS"));
            }
            let text = format!("Option 0x{option:x} not permitted before TLS");
            return self.refuse(option, rep_err::TLS_REQD, &text);
        }
        if !self.fixed && option != opt::EXPORT_NAME {
            return protocol(format!("Unsupported option {option} of a client without fixed newstyle"));
        }
        match option {
            opt::EXPORT_NAME => self.export_name(header.length),
            opt::ABORT => {
                self.skip(header.length)?;
                // The client need not wait for it.
                let _ = self.reply(option, rep::ACK, &[]);
                Ok(Step::Finished)
            }
            opt::LIST if header.length == 0 => self.list(),
            opt::STARTTLS if header.length == 0 => self.start_tls(),
            opt::STRUCTURED_REPLY if header.length == 0 => self.raise(option, Mode::Structured),
            opt::EXTENDED_HEADERS if header.length == 0 => self.raise(option, Mode::Extended),
            opt::LIST | opt::STARTTLS | opt::STRUCTURED_REPLY | opt::EXTENDED_HEADERS => {
                self.skip(header.length)?;
                self.refuse(option, rep_err::INVALID, "the option has no data")
            }
            opt::INFO | opt::GO => self.info(option, header.length),
            opt::LIST_META_CONTEXT | opt::SET_META_CONTEXT => self.meta_context(option, header.length),
            other => {
                self.skip(header.length)?;
                self.refuse(option, rep_err::UNSUP, &format!("Unsupported option {other}"))
            }
        }
    }

    fn reply(&self, option: u32, kind: u32, data: &[u8]) -> Result<()> {
        let mut out = Vec::with_capacity(20 + data.len());
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        OptionReply { option, kind, length }.encode(&mut out);
        out.extend_from_slice(data);
        Ok(self.stream.write_all(&out)?)
    }

    fn refuse(&self, option: u32, kind: u32, text: &str) -> Result<Step> {
        self.reply(option, kind, text.as_bytes())?;
        Ok(Step::Next)
    }

    fn acknowledge(&self, option: u32) -> Result<Step> {
        self.reply(option, rep::ACK, &[])?;
        Ok(Step::Next)
    }

    /// Reads the data of an option that will not be looked at.
    fn skip(&self, length: u32) -> Result<()> {
        let mut left = length as usize;
        let mut buf = vec![0; left.min(64 * 1024)];
        while left > 0 {
            let part = left.min(buf.len());
            self.stream.read_exact(buf.get_mut(..part).unwrap_or_default())?;
            left -= part;
        }
        Ok(())
    }

    /// Reads the data of an option, of which no more than `limit` bytes make sense; nothing if it is longer.
    fn data(&self, length: u32, limit: usize) -> Result<Option<Vec<u8>>> {
        if length as usize > limit {
            self.skip(length)?;
            return Ok(None);
        }
        let mut data = vec![0; length as usize];
        self.stream.read_exact(&mut data)?;
        Ok(Some(data))
    }

    fn list(&self) -> Result<Step> {
        for (name, description) in self.exports.list() {
            let mut data = Vec::new();
            data.extend_from_slice(&u32::try_from(name.len()).unwrap_or(0).to_be_bytes());
            data.extend_from_slice(name.as_bytes());
            data.extend_from_slice(description.unwrap_or_default().as_bytes());
            self.reply(opt::LIST, rep::SERVER, &data)?;
        }
        self.acknowledge(opt::LIST)
    }

    /// From now on answers have a better form.
    fn raise(&mut self, option: u32, mode: Mode) -> Result<Step> {
        if mode > self.terms.best_mode {
            return self.refuse(option, rep_err::UNSUP, &format!("Unsupported option {option}"));
        }
        if self.mode == Mode::Extended {
            let kind = if mode == Mode::Extended { rep_err::INVALID } else { rep_err::EXT_HEADER_REQD };
            return self.refuse(option, kind, "extended headers already negotiated");
        }
        if self.mode == mode {
            return self.refuse(option, rep_err::INVALID, "structured reply already negotiated");
        }
        self.mode = mode;
        self.acknowledge(option)
    }

    fn start_tls(&mut self) -> Result<Step> {
        let encryption = match &self.terms.security {
            _ if self.encrypted => {
                return self.refuse(opt::STARTTLS, rep_err::INVALID, "TLS is in use already");
            }
            Security::Plain => {
                return self.refuse(opt::STARTTLS, rep_err::POLICY, "TLS not configured");
            }
            Security::Required(encryption) | Security::Optional(encryption) => Arc::clone(encryption),
        };
        self.reply(opt::STARTTLS, rep::ACK, &[])?;
        // Whatever was agreed upon in the clear could have been put there by anybody. Nothing that was sent in the
        // clear behind the option can be left over: this side reads no byte before it needs it.
        encryption.begin(&mut self.stream)?;
        self.encrypted = true;
        self.mode = Mode::Simple;
        self.chosen = None;
        Ok(Step::Next)
    }

    /// The contexts that count for the export called `name`.
    fn contexts_for(&mut self, name: &str) -> Vec<usize> {
        match self.chosen.take() {
            Some(chosen) if chosen.export == name => chosen.contexts,
            _ => Vec::new(),
        }
    }

    fn session(&mut self, name: &str, export: Arc<dyn Export>) -> Box<Session> {
        let contexts = self.contexts_for(name);
        let flags = flags_of(&*export, self.terms, self.mode, contexts.len());
        Box::new(Session {
            name: name.to_owned(),
            mode: self.mode,
            flags,
            contexts,
            ..Session::plain(export)
        })
    }

    fn export_name(&mut self, length: u32) -> Result<Step> {
        let Some(name) = self.data(length, MAX_STRING)? else { return protocol("Bad length received") };
        let Ok(name) = String::from_utf8(name) else { return protocol("The export's name is not UTF-8") };
        if self.mode == Mode::Extended {
            return protocol("Extended headers already negotiated");
        }
        let export = self.exports.open(&name)?;
        let session = self.session(&name, export);
        let mut out = Vec::new();
        out.extend_from_slice(&session.export.size().to_be_bytes());
        out.extend_from_slice(&session.flags.0.to_be_bytes());
        if !self.no_zeroes {
            out.resize(out.len() + PADDING, 0);
        }
        self.stream.write_all(&out)?;
        Ok(Step::Transmission(session))
    }

    fn info(&mut self, option: u32, length: u32) -> Result<Step> {
        // A name and as many kinds of information as there can be.
        let invalid = |talk: &Self, text: &str| talk.refuse(option, rep_err::INVALID, text);
        let Some(data) = self.data(length, 4 + MAX_STRING + 2 + 2 * 65_535)? else {
            return invalid(self, "overlong request");
        };
        let Some((name, rest)) = string(&data) else { return invalid(self, "malformed request") };
        let Some(name) = name else { return self.refuse(option, rep_err::UNKNOWN, "the name is not UTF-8") };
        if name.len() > MAX_STRING {
            return invalid(self, "name too long");
        }
        let count = usize::from(be16(rest, 0));
        if rest.len() != 2 + 2 * count {
            return invalid(self, "malformed request");
        }
        let wanted: Vec<u16> = (0..count).map(|i| be16(rest, 2 + 2 * i)).collect();
        let name = name.to_owned();
        let export = match self.exports.open(&name) {
            Ok(export) => export,
            Err(refusal @ Refusal::Unknown(_)) => {
                return self.refuse(option, rep_err::UNKNOWN, &refusal.to_string());
            }
            Err(refusal) => return self.refuse(option, rep_err::POLICY, &refusal.to_string()),
        };
        if wanted.contains(&info::NAME) {
            self.reply(option, rep::INFO, &[&info::NAME.to_be_bytes(), name.as_bytes()].concat())?;
        }
        if let Some(text) = export.description() {
            self.reply(option, rep::INFO, &[&info::DESCRIPTION.to_be_bytes(), text.as_bytes()].concat())?;
        }
        let mut sizes = export.block_sizes();
        if !wanted.contains(&info::BLOCK_SIZE) && option != opt::INFO {
            // Whoever does not ask may send anything, and gets it done.
            sizes.minimum = 1;
        }
        let mut data = info::BLOCK_SIZE.to_be_bytes().to_vec();
        for size in [sizes.minimum, sizes.preferred, sizes.maximum] {
            data.extend_from_slice(&size.to_be_bytes());
        }
        self.reply(option, rep::INFO, &data)?;
        let mut data = info::EXPORT.to_be_bytes().to_vec();
        data.extend_from_slice(&export.size().to_be_bytes());
        let contexts =
            self.chosen.as_ref().filter(|chosen| chosen.export == name).map_or(0, |c| c.contexts.len());
        data.extend_from_slice(&flags_of(&*export, self.terms, self.mode, contexts).0.to_be_bytes());
        self.reply(option, rep::INFO, &data)?;
        self.reply(option, rep::ACK, &[])?;
        if option == opt::INFO {
            return Ok(Step::Next);
        }
        Ok(Step::Transmission(self.session(&name, export)))
    }

    fn meta_context(&mut self, option: u32, length: u32) -> Result<Step> {
        let invalid = |talk: &Self, text: &str| talk.refuse(option, rep_err::INVALID, text);
        let setting = option == opt::SET_META_CONTEXT;
        if setting {
            // The old choice is gone, however this ends.
            self.chosen = None;
        }
        let Some(data) = self.data(length, 1 << 20)? else {
            return self.refuse(option, rep_err::TOO_BIG, "too many queries");
        };
        if setting && self.mode == Mode::Simple {
            return invalid(self, "request metadata contexts only when structured reply is negotiated");
        }
        let Some((name, mut rest)) = string(&data) else { return invalid(self, "malformed request") };
        let Some(name) = name.filter(|name| name.len() <= MAX_STRING) else {
            return invalid(self, "invalid name");
        };
        let (name, count) = (name.to_owned(), be32(rest, 0));
        let Some(queries) = rest.get(4..) else { return invalid(self, "malformed request") };
        rest = queries;
        let mut queries = Vec::new();
        for _ in 0..count {
            let Some((query, next)) = string(rest) else { return invalid(self, "malformed request") };
            rest = next;
            // What is no text, or too long to be the name of a context, matches none.
            queries.extend(query.filter(|query| query.len() <= MAX_STRING).map(Query::parse));
        }
        if !rest.is_empty() {
            return invalid(self, "malformed request");
        }
        let export = match self.exports.open(&name) {
            Ok(export) => export,
            Err(refusal @ Refusal::Unknown(_)) => {
                return self.refuse(option, rep_err::UNKNOWN, &refusal.to_string());
            }
            Err(refusal) => return self.refuse(option, rep_err::POLICY, &refusal.to_string()),
        };
        let known = export.contexts();
        let found = if setting {
            contexts::chosen(&known, &queries)
        } else {
            contexts::listed(&known, &queries, count == 0)
        };
        for &index in &found {
            let Some(context) = known.get(index) else { continue };
            let id = if setting { u32::try_from(index).unwrap_or(0) } else { 0 };
            self.reply(option, rep::META_CONTEXT, &[&id.to_be_bytes(), context.as_bytes()].concat())?;
        }
        if setting {
            self.chosen = Some(Chosen { export: name, contexts: found });
        }
        self.acknowledge(option)
    }
}

/// A text behind its length, and what follows it: `None` if that is not all there, the text `None` if it is not UTF-8.
fn string(data: &[u8]) -> Option<(Option<&str>, &[u8])> {
    let rest = data.get(4..)?;
    let length = be32(data, 0) as usize;
    let text = rest.get(..length)?;
    Some((std::str::from_utf8(text).ok(), rest.get(length..)?))
}
