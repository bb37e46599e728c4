//! The server that a command line names: a URI, or `[ CMD ARGS ... ]`, a program to start.

use std::ffi::OsString;
use std::fmt;

use anyhow::Result;
use nbd_protocol::client::{self, Connection, Error, Greeting, Negotiated, Refusal, Server, Target, Wishes};
use nbd_protocol::uri::{self, Address};
use nbd_protocol::wire::{opt, rep_err};

/// What operands name.
pub(crate) enum Origin {
    /// A server that is there.
    Uri(Box<Address>),
    /// One that is started for each connection, and ended with it.
    Command(Vec<OsString>),
}

/// A connection, or the beginning of one, and the program that was started for it.
pub(crate) struct With<T> {
    // In this order: a server is ended after the connection to it.
    pub(crate) it: T,
    pub(crate) server: Option<Server>,
}

impl<T> With<T> {
    /// Goes on to the next stage.
    pub(crate) fn map<U, E>(self, next: impl FnOnce(T) -> Result<U, E>) -> Result<With<U>, E> {
        let With { it, server } = self;
        Ok(With { it: next(it)?, server })
    }
}

impl Origin {
    /// Reads `operands`; nothing if they are neither one URI nor a command in brackets.
    ///
    /// # Errors
    /// When a URI is none.
    pub(crate) fn parse(operands: Vec<OsString>) -> Result<Option<Self>> {
        match operands.as_slice() {
            [first, command @ .., last] if first == "[" && last == "]" && !command.is_empty() => {
                Ok(Some(Origin::Command(command.to_vec())))
            }
            [first] if first != "[" => {
                let text = crate::arguments::string(first)?;
                match uri::parse(&text) {
                    Ok(address) => Ok(Some(Origin::Uri(Box::new(address)))),
                    // The older form, and a mere word, are no URIs for libnbd.
                    Err(_) if !text.contains("://") && !text.starts_with("nbd") => Err(Complaint::new(
                        "nbd_connect_uri",
                        "NBD URI does not have a scheme: valid NBD URIs should start with a scheme like nbd://, nbds:// or nbd+unix://: Invalid argument",
                    )
                    .into()),
                    Err(error) => Err(Complaint::new("nbd_connect_uri", format!("{error}: Invalid argument")).into()),
                }
            }
            _ => Ok(None),
        }
    }

    /// What the URI says, if it is one.
    pub(crate) fn address(&self) -> Option<&Address> {
        match self {
            Origin::Uri(address) => Some(address),
            Origin::Command(_) => None,
        }
    }

    /// The name of the export that is meant.
    pub(crate) fn export(&self) -> &str {
        self.address().map_or("", |address| &address.export)
    }

    /// Connects, and goes on encrypted if that is wanted.
    ///
    /// # Errors
    /// When there is no server, or none that can be trusted.
    pub(crate) fn greet(&self) -> Result<With<Greeting>> {
        let (server, target) = match self {
            Origin::Uri(address) => (None, address.target.clone()),
            Origin::Command(command) => {
                let server = Server::start(command).map_err(|error| self.complain(&error))?;
                let target = server.target().clone();
                (Some(server), target)
            }
        };
        let stream = client::connect(&target).map_err(|error| self.complain(&error))?;
        let encryption = match self.address() {
            Some(address) => client::security(address)?,
            None => None,
        };
        let greeting = client::Handshake::begin(stream);
        let greeting = greeting.map_err(|error| self.complain(&error))?;
        let Some(encryption) = encryption else { return Ok(With { it: greeting, server }) };
        let Greeting::Newstyle(mut handshake) = greeting else {
            return Err(self.text("handshake: server is oldstyle, but handle TLS setting is 'require' (2): Operation not supported"));
        };
        match handshake.start_tls(&encryption) {
            Ok(()) => {}
            Err(Error::Refused(_)) => {
                return Err(self.text(
                    "handshake: server refused TLS, but handle TLS setting is 'require' (2): Operation not supported",
                ));
            }
            Err(error) => return Err(self.complain(&error)),
        }
        Ok(With { it: Greeting::Newstyle(handshake), server })
    }

    /// Connects to the export that is meant, with the metadata contexts of these names.
    ///
    /// # Errors
    /// As [`Origin::greet`], and when the server does not have the export.
    pub(crate) fn connect(&self, contexts: &[&str]) -> Result<With<Connection>> {
        let wishes = Wishes {
            contexts: contexts.iter().map(|name| (*name).to_owned()).collect(),
            extended: is_extended(),
            ..Wishes::new(self.export())
        };
        let greeting = self.greet()?;
        greeting.map(|greeting| match greeting {
            Greeting::Oldstyle(connection) => Ok(*connection),
            Greeting::Newstyle(handshake) => handshake.finish(&wishes).map_err(|error| self.complain(&error)),
        })
    }

    /// libnbd's function that connects.
    fn function(&self) -> &'static str {
        match self {
            Origin::Uri(_) => "nbd_connect_uri",
            Origin::Command(_) => "nbd_connect_systemd_socket_activation",
        }
    }

    fn text(&self, text: &str) -> anyhow::Error {
        Complaint::new(self.function(), text).into()
    }

    fn complain(&self, error: &Error) -> anyhow::Error {
        Complaint::new(self.function(), of_connecting(error, self.export())).into()
    }
}

/// Lengths of 64 bits are negotiated: not under the name of a program that does not know them, whose output would
/// say something else then.
pub(crate) fn is_extended() -> bool {
    !cli::plays_peer()
}

/// Which protocol it is, in the words that people look for.
pub(crate) fn protocol(negotiated: &Negotiated) -> &'static str {
    match negotiated {
        Negotiated { oldstyle: true, .. } => "oldstyle",
        Negotiated { fixed: false, .. } => "newstyle",
        _ => "newstyle-fixed",
    }
}

/// What is wrong, in libnbd's words; scripts look for them.
#[derive(Debug)]
pub(crate) struct Complaint {
    function: &'static str,
    text: String,
}

impl Complaint {
    pub(crate) fn new(function: &'static str, text: impl Into<String>) -> Self {
        Complaint { function, text: text.into() }
    }

    /// A request that failed.
    pub(crate) fn of_request(function: &'static str, request: &str, error: &Error) -> Self {
        let text = match error {
            Error::Server { errno, .. } => format!("{request}: command failed: {errno}"),
            error => of_connecting(error, ""),
        };
        Complaint::new(function, text)
    }

    /// An option that the server refused.
    pub(crate) fn of_option(function: &'static str, option: &str, error: &Error) -> Self {
        let text = match error {
            Error::Refused(refusal) => {
                format!("server replied with error to {option} request: {}", meaning(refusal))
            }
            error => of_connecting(error, ""),
        };
        Complaint::new(function, text)
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The name of a function of another library helps nobody but scripts.
        if cli::plays_peer() {
            write!(f, "{}: ", self.function)?;
        }
        f.write_str(&self.text)
    }
}

impl std::error::Error for Complaint {}

/// The system's words for a refusal.
fn meaning(refusal: &Refusal) -> &'static str {
    match refusal.kind {
        rep_err::POLICY => "Operation not permitted",
        rep_err::UNKNOWN => "No such file or directory",
        rep_err::SHUTDOWN => "Cannot send after transport endpoint shutdown",
        rep_err::INVALID | rep_err::BLOCK_SIZE_REQD | rep_err::TOO_BIG => "Invalid argument",
        _ => "Operation not supported",
    }
}

fn of_connecting(error: &Error, export: &str) -> String {
    match error {
        Error::Connect { to, source } if to.starts_with('/') || !to.contains(':') => {
            format!("connect: {}", source)
        }
        Error::Connect { to, source } => {
            let to = to.replace(['[', ']'], "");
            format!("connect: {to}: could not connect to remote host: {}", source)
        }
        Error::Resolve { to, why } => {
            let (host, port) = to.rsplit_once(':').unwrap_or((to, ""));
            format!("getaddrinfo: hostname \"{host}\" port \"{port}\": {why}")
        }
        Error::Io { action: "negotiate TLS", source } => format!("handshake: {}", source),
        Error::Io { .. } if error.to_io().kind() == std::io::ErrorKind::UnexpectedEof => {
            "recv: server disconnected unexpectedly".to_owned()
        }
        Error::Io { action, source } => {
            let direction = if action.starts_with("send") { "send" } else { "recv" };
            format!("{direction}: {}", source)
        }
        Error::Protocol(text) if text.starts_with("Bad initial magic") => {
            "handshake: server did not send expected NBD magic".to_owned()
        }
        Error::Protocol(text) if text.starts_with("Bad server magic") => {
            "handshake: server is not either an oldstyle or fixed newstyle NBD server".to_owned()
        }
        Error::Refused(refusal) => match (refusal.option, refusal.kind) {
            (opt::GO | opt::INFO, rep_err::UNKNOWN) => {
                format!("handshake: server has no export named '{export}': No such file or directory")
            }
            (_, rep_err::TLS_REQD) => {
                "handshake: server requires TLS encryption first: Operation not supported".to_owned()
            }
            (opt::GO, rep_err::POLICY | rep_err::PLATFORM) => {
                "handshake: server policy prevents NBD_OPT_GO".to_owned()
            }
            (opt::GO, rep_err::INVALID | rep_err::TOO_BIG) => {
                "handshake: server rejected NBD_OPT_GO as invalid: Invalid argument".to_owned()
            }
            (opt::GO, rep_err::SHUTDOWN) => {
                "handshake: server is shutting down: Cannot send after transport endpoint shutdown".to_owned()
            }
            (opt::GO, rep_err::BLOCK_SIZE_REQD) => {
                "handshake: server requires specific block sizes: Invalid argument".to_owned()
            }
            _ => refusal.text(),
        },
        error => cli::error::full_chain(&anyhow::Error::new(error.clone())),
    }
}

/// The URI of `export` on the same server, as libnbd writes it; nothing for a server that was started here.
pub(crate) fn uri_of(origin: &Origin, export: &str) -> Option<String> {
    let address = origin.address()?;
    let tls = if address.encrypted { "s" } else { "" };
    let user = address.user.as_ref().map_or(String::new(), |user| format!("{}@", uri::encode(user, b"")));
    let path = uri::encode(export, b"/&=@!$'()*+,;");
    let mut parameters = Vec::new();
    let place = match &address.target {
        Target::Tcp { host, port } if host.contains(':') => format!("://{user}[{host}]:{port}"),
        Target::Tcp { host, port } => format!("://{user}{host}:{port}"),
        Target::Vsock { cid, port } => format!("+vsock://{user}{cid}:{port}"),
        Target::Unix(socket) => {
            parameters.push(format!("socket={}", uri::encode(&socket.to_string_lossy(), b"/:")));
            format!("+unix://{user}")
        }
    };
    for (name, value) in
        [("tls-certificates", &address.tls.certificates), ("tls-psk-file", &address.tls.psk_file)]
    {
        if let Some(value) = value {
            parameters.push(format!("{name}={}", uri::encode(&value.to_string_lossy(), b"/:")));
        }
    }
    if let Some(verify) = address.tls.verify_peer.filter(|verify| !verify) {
        parameters.push(format!("tls-verify-peer={verify}"));
    }
    if let Some(name) = &address.tls.hostname {
        parameters.push(format!("tls-hostname={}", uri::encode(name, b"")));
    }
    let query = if parameters.is_empty() { String::new() } else { format!("?{}", parameters.join("&")) };
    Some(format!("nbd{tls}{place}/{path}{query}"))
}
