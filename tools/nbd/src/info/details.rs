//! What can be found out about one export.

use anyhow::Result;
use nbd_protocol::client::{Connection, ExportInfo, Greeting, Handshake, Negotiated};
use nbd_protocol::wire::{BlockSizes, Flags};

use super::content;
use crate::origin::{Complaint, Origin, With, uri_of};

/// One export.
pub(super) struct Details {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) size: u64,
    pub(super) content: Option<String>,
    pub(super) uri: Option<String>,
    pub(super) contexts: Vec<String>,
    pub(super) flags: Flags,
    pub(super) negotiated: Negotiated,
    pub(super) block: Option<BlockSizes>,
}

impl Details {
    fn new(name: &str, info: &ExportInfo, negotiated: &Negotiated) -> Self {
        Details {
            name: name.to_owned(),
            description: info.description.clone().filter(|text| !text.is_empty()),
            size: info.size,
            content: None,
            uri: None,
            contexts: Vec::new(),
            flags: info.flags,
            negotiated: negotiated.clone(),
            block: info.block,
        }
    }

    /// The details of a connection's export.
    pub(super) fn of_connection(connection: &Connection) -> Self {
        Details::new("", connection.info(), connection.negotiated())
    }

    /// Without answers in chunks there is nothing that must not be split.
    pub(super) fn can_df(&self) -> bool {
        self.negotiated.structured && self.flags.has(Flags::DF)
    }

    pub(super) fn can_fast_zero(&self) -> bool {
        self.flags.has(Flags::WRITE_ZEROES) && self.flags.has(Flags::FAST_ZERO)
    }

    pub(super) fn can_filter_status(&self) -> bool {
        self.negotiated.extended && self.flags.has(Flags::BLOCK_STATUS_PAYLOAD)
    }
}

/// What the server tells of the export `name` while none is chosen; nothing if it does not have it, or does not answer
/// such questions.
pub(super) fn told(handshake: &mut Handshake, origin: &Origin, name: &str) -> Option<Details> {
    let mut info = handshake.info(name).ok()?;
    let mut contexts = Vec::new();
    if handshake.negotiated().structured {
        // Not every server tells; there is nothing to show then.
        contexts = handshake.list_contexts(name, &[]).unwrap_or_default();
    }
    let contexts: Vec<_> = contexts.into_iter().map(|context| context.name).collect();
    // Some have features that only count together with contexts.
    if handshake.negotiated().extended
        && !contexts.is_empty()
        && handshake.set_contexts(name, &contexts).is_ok()
    {
        info = handshake.info(name).unwrap_or(info);
    }
    let mut details = Details::new(name, &info, handshake.negotiated());
    details.contexts = contexts;
    details.uri = uri_of(origin, name);
    Some(details)
}

/// Asks the server at the other end of `greeting` about the export `name`, and looks into it if `look`. If it was
/// `asked` before without an answer, it has to open the export at once.
pub(super) fn of_export(
    greeting: With<Greeting>,
    origin: &Origin,
    name: &str,
    look: bool,
    asked: bool,
) -> Result<Details> {
    // The server, if it is ours, is kept to the end.
    let With { it: greeting, server: _server } = greeting;
    let (details, connection) = match greeting {
        Greeting::Oldstyle(connection) => (None, *connection),
        Greeting::Newstyle(mut handshake) => {
            let details = if asked { None } else { told(&mut handshake, origin, name) };
            if let Some(details) = details {
                if !look {
                    handshake.abort();
                    return Ok(details);
                }
                (Some(details), choose(handshake, name)?)
            } else {
                (None, choose(handshake, name)?)
            }
        }
    };
    let mut details = details.unwrap_or_else(|| {
        let name = if connection.negotiated().oldstyle { "" } else { name };
        let uri = uri_of(origin, name);
        Details { uri, ..Details::new(name, connection.info(), connection.negotiated()) }
    });
    if look {
        details.content = content::of(&connection);
    }
    Ok(details)
}

fn choose(handshake: Handshake, name: &str) -> Result<Connection> {
    let connection = handshake.go(name);
    Ok(connection.map_err(|error| Complaint::of_option("nbd_opt_go", "opt_go", &error))?)
}
