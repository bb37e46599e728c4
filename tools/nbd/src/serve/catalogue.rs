//! All exports of a server, by their names.

use std::sync::Arc;

use nbd_protocol::server::{Export, Exports, Refusal};

use super::block_export::BlockExport;

/// What is served under which name.
pub(super) struct Catalogue {
    exports: Vec<(String, Arc<BlockExport>)>,
    /// A client that asks for no name in particular gets the first.
    first_is_default: bool,
}

impl Catalogue {
    /// Nothing so far.
    pub(super) fn new(first_is_default: bool) -> Self {
        Catalogue { exports: Vec::new(), first_is_default }
    }

    /// Serves `export` as `name`.
    pub(super) fn add(&mut self, name: String, export: BlockExport) -> bool {
        let is_new = !self.exports.iter().any(|(known, _)| *known == name);
        if is_new {
            self.exports.push((name, Arc::new(export)));
        }
        is_new
    }

    /// All exports.
    pub(super) fn all(&self) -> impl Iterator<Item = &BlockExport> {
        self.exports.iter().map(|(_, export)| &**export)
    }
}

impl Exports for Catalogue {
    fn list(&self) -> Vec<(String, Option<String>)> {
        self.exports.iter().map(|(name, export)| (name.clone(), export.description.clone())).collect()
    }

    fn open(&self, name: &str) -> Result<Arc<dyn Export>, Refusal> {
        let named = self.exports.iter().find(|(known, _)| known == name);
        let default = self.exports.first().filter(|_| self.first_is_default && name.is_empty());
        match named.or(default) {
            Some((_, export)) => Ok(Arc::clone(export) as Arc<dyn Export>),
            None => Err(Refusal::Unknown(name.to_owned())),
        }
    }
}
