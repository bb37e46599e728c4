//! What can be found out about one export.

use anyhow::Result;
use nbd_protocol::client::{BlockSizes, Connection, ExportInfo, Greeting, Negotiated};
use nbd_protocol::wire::Flags;

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
            description: info.description.clone(),
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

/// Asks the server at the other end of `greeting` about the export `name`, and looks into it if `look`.
pub(super) fn of_export(
    greeting: With<Greeting>,
    origin: &Origin,
    name: &str,
    description: Option<&String>,
    look: bool,
) -> Result<Details> {
    // Kept to the end: the server lives as long.
    let With { it: greeting, server } = greeting;
    let (mut details, connection) = match greeting {
        Greeting::Oldstyle(connection) => {
            (Details::new("", connection.info(), connection.negotiated()), Some(*connection))
        }
        Greeting::Newstyle(mut handshake) => {
            let info = handshake.info(name).ok();
            let mut contexts = Vec::new();
            if info.is_some() && handshake.negotiated().structured {
                // Not every server tells; there is nothing to show then.
                contexts = handshake.list_contexts(name, &[]).unwrap_or_default();
            }
            let negotiated = handshake.negotiated().clone();
            let (info, connection) = match info {
                Some(info) if !look => {
                    handshake.abort();
                    (info, None)
                }
                _ => {
                    let connection = handshake.go(name);
                    let connection =
                        connection.map_err(|error| Complaint::of_option("nbd_opt_go", "opt_go", &error))?;
                    (connection.info().clone(), Some(connection))
                }
            };
            let mut details = Details::new(name, &info, &negotiated);
            details.contexts = contexts.into_iter().map(|context| context.name).collect();
            (details, connection)
        }
    };
    if let Some(description) = description {
        details.description = Some(description.clone());
    }
    details.description = details.description.filter(|text| !text.is_empty());
    details.uri = uri_of(origin, &details.name);
    if let Some(connection) = connection.filter(|_| look) {
        details.content = content::of(&connection);
    }
    drop(server);
    Ok(details)
}
