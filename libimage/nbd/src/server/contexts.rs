//! Which metadata contexts a client means.

/// What a client asks for: the name of a context, or the beginning of several.
pub(super) enum Query {
    /// Exactly this one.
    Name(String),
    /// All in a namespace, or all bitmaps: only for lists.
    Prefix(String),
}

/// The namespaces that are known, and the one family within them that can be asked for as a whole.
const PREFIXES: [&str; 3] = ["base:", "qemu:", "qemu:dirty-bitmap:"];

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        if PREFIXES.contains(&text) { Query::Prefix(text.to_owned()) } else { Query::Name(text.to_owned()) }
    }

    fn is_name(&self, context: &str) -> bool {
        matches!(self, Query::Name(name) if name == context)
    }

    fn is_prefix(&self, context: &str) -> bool {
        matches!(self, Query::Prefix(prefix) if context.starts_with(prefix.as_str()))
    }
}

/// The positions in `known` of what a client wants to use.
pub(super) fn chosen(known: &[String], queries: &[Query]) -> Vec<usize> {
    positions(known, |context| queries.iter().any(|query| query.is_name(context)))
}

/// The positions in `known` of what a client wants to see; everything if it asked no question.
pub(super) fn listed(known: &[String], queries: &[Query], all: bool) -> Vec<usize> {
    positions(known, |context| {
        all || queries.iter().any(|query| query.is_name(context) || query.is_prefix(context))
    })
}

fn positions(known: &[String], matches: impl Fn(&str) -> bool) -> Vec<usize> {
    known.iter().enumerate().filter(|(_, context)| matches(context)).map(|(index, _)| index).collect()
}
