//! The handshake: one option after the other, until an export is chosen.

use std::sync::Arc;

use super::connection::Connection;
use super::error::{Error, Refusal, Result};
use super::export::{Context, ExportInfo};
use super::option::{self, InfoReplies, Listed};
use crate::stream::{Encryption as _, Stream};
use crate::tls;
use crate::wire::{
    EXPORT_REPLY, FLAG_FIXED_NEWSTYLE, FLAG_NO_ZEROES, Flags, MAX_STRING, NBD_MAGIC, OLDSTYLE_MAGIC,
    OPTION_MAGIC, PADDING, be16, be32, be64, opt, rep_err,
};

/// What was agreed upon.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Negotiated {
    /// The server spoke first and last: there was no negotiation.
    pub oldstyle: bool,
    /// The server answers options that it does not know.
    pub fixed: bool,
    /// Answers come in chunks.
    pub structured: bool,
    /// Requests and answers have lengths of 64 bits.
    pub extended: bool,
    /// It is encrypted.
    pub encrypted: bool,
    /// The metadata contexts that `BLOCK_STATUS` tells of.
    pub contexts: Vec<Context>,
}

/// What a client asks a server for.
#[derive(Clone)]
pub struct Wishes {
    /// The name of the export.
    pub export: String,
    /// Lengths of 64 bits.
    pub extended: bool,
    /// Answers in chunks.
    pub structured: bool,
    /// Names of metadata contexts.
    pub contexts: Vec<String>,
    /// Encryption, without which nothing is said.
    pub tls: Option<Arc<tls::Client>>,
}

impl Wishes {
    /// All that the protocol has, with the contexts that tell where holes are.
    pub fn new(export: impl Into<String>) -> Self {
        Wishes {
            export: export.into(),
            extended: true,
            structured: true,
            contexts: vec!["base:allocation".to_owned()],
            tls: None,
        }
    }
}

/// How a server begins.
pub enum Greeting {
    /// It listens to options.
    Newstyle(Handshake),
    /// It has one export, which is open already.
    Oldstyle(Box<Connection>),
}

/// A connection on which an export has still to be chosen.
pub struct Handshake {
    stream: Stream,
    no_zeroes: bool,
    negotiated: Negotiated,
    /// For which export contexts were set.
    contexts_of: Option<String>,
}

/// Agrees with the server at the other end of `stream` upon everything in `wishes` that it knows.
///
/// # Errors
/// When the connection breaks, the server refuses the export, or does what it may not.
pub fn negotiate(stream: Stream, wishes: &Wishes) -> Result<Connection> {
    match Handshake::begin(stream)? {
        Greeting::Oldstyle(_) if wishes.tls.is_some() => {
            Err(Error::Invalid("The server speaks oldstyle, which cannot be encrypted".to_owned()))
        }
        Greeting::Oldstyle(connection) => Ok(*connection),
        Greeting::Newstyle(handshake) => handshake.finish(wishes),
    }
}

impl Handshake {
    /// Reads the server's first words, and answers them.
    ///
    /// # Errors
    /// When the connection breaks, or there is no NBD server at its other end.
    pub fn begin(stream: Stream) -> Result<Greeting> {
        let failed = |source| Error::io("read initial magic", source);
        let mut magic = [0; 8];
        stream.read_exact(&mut magic).map_err(failed)?;
        if be64(&magic, 0) != NBD_MAGIC {
            return Err(Error::Protocol(format!("Bad initial magic received: 0x{:016x}", be64(&magic, 0))));
        }
        stream.read_exact(&mut magic).map_err(failed)?;
        match be64(&magic, 0) {
            OLDSTYLE_MAGIC => {
                Self::oldstyle(stream).map(|connection| Greeting::Oldstyle(Box::new(connection)))
            }
            OPTION_MAGIC => Self::newstyle(stream).map(Greeting::Newstyle),
            other => Err(Error::Protocol(format!("Bad server magic received: 0x{other:016x}"))),
        }
    }

    fn oldstyle(stream: Stream) -> Result<Connection> {
        let mut rest = [0; 12 + PADDING];
        stream.read_exact(&mut rest).map_err(|source| Error::io("read export length", source))?;
        let flags = be32(&rest, 8);
        if flags & 0xffff_0000 != 0 {
            return Err(Error::protocol(format!("unexpected export flags 0x{flags:x}")));
        }
        let export = ExportInfo {
            size: be64(&rest, 0),
            flags: Flags((flags & 0xffff) as u16),
            ..ExportInfo::default()
        };
        let negotiated = Negotiated { oldstyle: true, ..Negotiated::default() };
        Ok(Connection::new(stream, option::checked(export)?, negotiated))
    }

    fn newstyle(stream: Stream) -> Result<Self> {
        let mut flags = [0; 2];
        stream.read_exact(&mut flags).map_err(|source| Error::io("read server flags", source))?;
        let flags = be16(&flags, 0);
        let fixed = flags & FLAG_FIXED_NEWSTYLE != 0;
        let no_zeroes = flags & FLAG_NO_ZEROES != 0;
        let answer = u32::from(flags & (FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES));
        stream.write_all(&answer.to_be_bytes()).map_err(|source| Error::io("send client flags", source))?;
        let negotiated = Negotiated { fixed, ..Negotiated::default() };
        Ok(Handshake { stream, no_zeroes, negotiated, contexts_of: None })
    }

    /// What was agreed upon so far.
    pub fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// Sends an option and takes the answers in front of the last one.
    fn ask(&mut self, option: u32, data: &[u8], each: impl FnMut(u32, &[u8]) -> Result<()>) -> Result<()> {
        if !self.negotiated.fixed {
            // Such a server hangs up when it hears an option that it does not know.
            let message = "the server does not speak fixed newstyle".to_owned();
            return Err(Error::Refused(Refusal { option, kind: rep_err::UNSUP, message }));
        }
        option::send(&self.stream, option, data)?;
        option::replies(&self.stream, option, each)
    }

    /// An option that the server may decline.
    fn ask_for(&mut self, option: u32) -> Result<bool> {
        match self.ask(option, &[], |_, _| Err(Error::protocol("an answer where ACK was expected"))) {
            Ok(()) => Ok(true),
            Err(Error::Refused(refusal)) if option::is_declined(&refusal) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Goes on encrypted. What was agreed upon in the clear is forgotten.
    ///
    /// # Errors
    /// When the server refuses, or is not whom `tls` demands, or the connection breaks.
    pub fn start_tls(&mut self, tls: &tls::Client) -> Result<()> {
        self.ask(opt::STARTTLS, &[], |_, _| Err(Error::protocol("an answer where ACK was expected")))?;
        tls.begin(&mut self.stream).map_err(|source| Error::io("negotiate TLS", source))?;
        self.negotiated =
            Negotiated { encrypted: true, fixed: self.negotiated.fixed, ..Negotiated::default() };
        self.contexts_of = None;
        Ok(())
    }

    /// Asks for lengths of 64 bits; then answers come in chunks too.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn extended_headers(&mut self) -> Result<bool> {
        self.negotiated.extended = self.ask_for(opt::EXTENDED_HEADERS)?;
        self.negotiated.structured |= self.negotiated.extended;
        Ok(self.negotiated.extended)
    }

    /// Asks for answers in chunks.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn structured_replies(&mut self) -> Result<bool> {
        if !self.negotiated.structured {
            self.negotiated.structured = self.ask_for(opt::STRUCTURED_REPLY)?;
        }
        Ok(self.negotiated.structured)
    }

    /// All exports that the server wants to tell of.
    ///
    /// # Errors
    /// When the server refuses, or the connection breaks.
    pub fn list(&mut self) -> Result<Vec<Listed>> {
        let mut found = Vec::new();
        self.ask(opt::LIST, &[], |kind, data| {
            found.push(option::listed(kind, data)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// The metadata contexts of an export that match one of `queries`; all, if there are none.
    ///
    /// # Errors
    /// When the server refuses, or the connection breaks.
    pub fn list_contexts(&mut self, export: &str, queries: &[String]) -> Result<Vec<Context>> {
        self.contexts(opt::LIST_META_CONTEXT, export, queries)
    }

    /// Chooses metadata contexts of an export, and returns those that the server has.
    ///
    /// # Errors
    /// When the server refuses, or the connection breaks.
    pub fn set_contexts(&mut self, export: &str, queries: &[String]) -> Result<Vec<Context>> {
        self.negotiated.contexts.clear();
        let chosen = self.contexts(opt::SET_META_CONTEXT, export, queries)?;
        for (index, context) in chosen.iter().enumerate() {
            if chosen.iter().take(index).any(|other| other.id == context.id) {
                return Err(Error::protocol(format!("two metadata contexts with number {}", context.id)));
            }
        }
        self.negotiated.contexts.clone_from(&chosen);
        self.contexts_of = Some(export.to_owned());
        Ok(chosen)
    }

    fn contexts(&mut self, option: u32, export: &str, queries: &[String]) -> Result<Vec<Context>> {
        let mut found = Vec::new();
        self.ask(option, &option::context_request(export, queries)?, |kind, data| {
            found.push(option::context(kind, data)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// What the server tells of an export.
    ///
    /// # Errors
    /// When the server refuses, or the connection breaks.
    pub fn info(&mut self, export: &str) -> Result<ExportInfo> {
        let mut replies = InfoReplies::default();
        self.ask(opt::INFO, &option::info_request(export)?, |kind, data| replies.take(kind, data))?;
        replies.finish()
    }

    /// Chooses an export, the old way if the server does not know the new one.
    ///
    /// # Errors
    /// When the server refuses, or the connection breaks.
    pub fn go(mut self, export: &str) -> Result<Connection> {
        let mut replies = InfoReplies::default();
        let request = option::info_request(export)?;
        let info = match self.ask(opt::GO, &request, |kind, data| replies.take(kind, data)) {
            Ok(()) => replies.finish()?,
            Err(Error::Refused(refusal)) if refusal.kind == rep_err::UNSUP => self.export_name(export)?,
            Err(error) => {
                if matches!(error, Error::Refused(_)) {
                    self.abort();
                }
                return Err(error);
            }
        };
        if self.contexts_of.as_deref() != Some(export) {
            self.negotiated.contexts.clear();
        }
        Ok(Connection::new(self.stream, info, self.negotiated))
    }

    /// The old way: a server that does not have the export hangs up.
    fn export_name(&mut self, export: &str) -> Result<ExportInfo> {
        if export.len() > MAX_STRING {
            return Err(Error::Invalid(format!("A name of {} bytes is too long", export.len())));
        }
        option::send(&self.stream, opt::EXPORT_NAME, export.as_bytes())?;
        let mut reply = [0; EXPORT_REPLY + PADDING];
        let length = if self.no_zeroes { EXPORT_REPLY } else { reply.len() };
        let reply = reply.get_mut(..length).unwrap_or_default();
        self.stream.read_exact(reply).map_err(|source| Error::io("read export length", source))?;
        option::checked(ExportInfo {
            size: be64(reply, 0),
            flags: Flags(be16(reply, 8)),
            ..ExportInfo::default()
        })
    }

    /// Says good-bye. Nothing is waited for.
    pub fn abort(&self) {
        let _ = option::send(&self.stream, opt::ABORT, &[]);
    }

    /// All of `wishes`, in the order in which servers expect them.
    ///
    /// # Errors
    /// As [`negotiate`].
    pub fn finish(mut self, wishes: &Wishes) -> Result<Connection> {
        if let Some(tls) = &wishes.tls {
            self.start_tls(tls)?;
        }
        if self.negotiated.fixed {
            let extended = wishes.extended && wishes.structured && self.extended_headers()?;
            if wishes.structured && !extended {
                self.structured_replies()?;
            }
            if self.negotiated.structured && !wishes.contexts.is_empty() {
                match self.set_contexts(&wishes.export, &wishes.contexts) {
                    Ok(_) => {}
                    Err(Error::Refused(refusal)) if option::is_declined(&refusal) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.go(&wishes.export)
    }
}
