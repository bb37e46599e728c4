//! Questions about an XML document, in XPath 1.0 (<https://www.w3.org/TR/1999/REC-xpath-19991116/>).
//!
//! White space between elements is not part of the document here, so that answers are printed in the same layout
//! whatever the document had. Documents have no types, so no element has an ID; variables do not exist.

mod eval;
mod functions;
mod node;
mod parse;
mod print;
mod token;
mod value;

use roxmltree::{Document, ParsingOptions};

/// More nodes than this are no description of guests.
const MAX_NODES: u32 = 50_000_000;
/// Nor are deeper trees.
const MAX_DEPTH: usize = 1000;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The document makes no sense.
    #[error("The XML document cannot be read")]
    Document(#[from] roxmltree::Error),
    /// It goes deeper than any that describes guests.
    #[error("The XML document is nested too deeply")]
    Deep,
    /// The question makes no sense.
    #[error("XPath error: {what}, at byte {at} of the query")]
    Query {
        /// What is wrong.
        what: String,
        /// Where, from 1.
        at: usize,
    },
    /// The question asks for what does not exist.
    #[error("XPath error: {0}")]
    Evaluation(String),
}

/// The answer to `query`: nodes as XML, one after the other, or a value as text, if it has any; each ends with a newline.
///
/// # Errors
/// When the document or the question makes no sense.
pub fn query(document: &str, query: &str) -> Result<String, Error> {
    let question = parse::parse(query)?;
    let options = ParsingOptions { nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(document, options)?;
    if is_too_deep(&document) {
        return Err(Error::Deep);
    }
    let answer = eval::evaluate(&question, node::Node::Tree(document.root()))?;
    Ok(print::answer(&answer))
}

fn is_too_deep(document: &Document<'_>) -> bool {
    let (mut node, mut depth) = (document.root(), 0);
    loop {
        if let Some(child) = node.first_child() {
            (node, depth) = (child, depth + 1);
            if depth > MAX_DEPTH {
                return true;
            }
            continue;
        }
        loop {
            if let Some(next) = node.next_sibling() {
                node = next;
                break;
            }
            let Some(parent) = node.parent() else { return false };
            (node, depth) = (parent, depth - 1);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests;
