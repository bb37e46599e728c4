//! Filters by their names, as a command line asks for them: `NAME[,key=value...]`.
//!
//! Names, parameters, units and defaults are nbdkit's. A comma within a value is doubled. What the filters of a
//! [`Stack`] share (an overlay, a log, a limit) belongs to the stack, so it may be opened once for all clients of a
//! server, or once for each of them.

mod arguments;
mod kinds;
mod makes;

use std::sync::Arc;

pub(in crate::filter) use arguments::parse_size;
pub use kinds::{KINDS, Kind};

use self::arguments::Arguments;
use super::retry;
pub use super::retry::Open;
use crate::block::Block;
use crate::error::{Error, Result};
use crate::spec::split_commas;

type Apply = dyn Fn(Arc<dyn Block>) -> Result<Arc<dyn Block>> + Send + Sync;

type AtEnd = Box<dyn Fn() + Send + Sync>;

/// How a filter gets its device.
enum Make {
    /// It lies over another one.
    Over(Box<Apply>),
    /// It opens what lies below itself, perhaps several times.
    Again(retry::Options),
}

/// What a server must not offer to its clients, though it could: filters that try how they do without.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Withheld {
    /// Zeroes that are not sent as bytes.
    pub zeroes: bool,
    /// Zeroes that are written only if that is fast.
    pub fast_zeroes: bool,
    /// Those are offered, and refused.
    pub fast_zeroes_refused: bool,
    /// Fetching early.
    pub cache: bool,
    /// Writes that are durable when they are answered.
    pub fua: bool,
    /// Several connections of one client.
    pub several_connections: bool,
}

impl Withheld {
    fn and(self, other: Self) -> Self {
        Withheld {
            zeroes: self.zeroes || other.zeroes,
            fast_zeroes: self.fast_zeroes || other.fast_zeroes,
            fast_zeroes_refused: self.fast_zeroes_refused || other.fast_zeroes_refused,
            cache: self.cache || other.cache,
            fua: self.fua || other.fua,
            several_connections: self.several_connections || other.several_connections,
        }
    }
}

/// A filter with its parameters.
pub struct Named {
    kind: &'static Kind,
    make: Make,
    withheld: Withheld,
    at_end: Option<AtEnd>,
}

impl Named {
    /// The filter of this name with these parameters.
    ///
    /// # Errors
    /// When there is no such filter, or a parameter makes no sense.
    pub fn new(name: &str, parameters: Vec<(String, String)>) -> Result<Self> {
        let Some(kind) = KINDS.iter().find(|kind| kind.name == name) else {
            let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
            return Err(Error::Invalid(format!(
                "There is no filter '{name}'; there are {}",
                names.join(", ")
            )));
        };
        let mut arguments = Arguments::new(parameters);
        let made = (kind.make)(&mut arguments).and_then(|make| arguments.finish().map(|()| make));
        let make = made.map_err(|error| match error {
            Error::Invalid(text) => Error::Invalid(format!("Filter '{name}': {text}")),
            other => other.context(format!("Could not use the filter '{name}'")),
        })?;
        Ok(Named { kind, make, withheld: arguments.withheld, at_end: arguments.at_end })
    }

    /// Understands `NAME[,key=value...]`.
    ///
    /// # Errors
    /// As for [`Named::new`].
    pub fn parse(text: &str) -> Result<Self> {
        let mut words = split_commas(text).into_iter();
        let name = words.next().unwrap_or_default();
        let mut parameters = Vec::new();
        for word in words.filter(|word| !word.is_empty()) {
            let Some((key, value)) = word.split_once('=') else {
                return Err(Error::Invalid(format!(
                    "Filter '{name}': '{word}' is no parameter: write key=value"
                )));
            };
            parameters.push((key.to_owned(), value.to_owned()));
        }
        Self::new(&name, parameters)
    }

    /// What it is.
    pub fn kind(&self) -> &'static Kind {
        self.kind
    }

    /// The filter over `below`.
    ///
    /// # Errors
    /// When `below` does not have what the filter shows; and for a filter that must open what lies below itself: that
    /// one belongs into a [`Stack`].
    pub fn apply(&self, below: Arc<dyn Block>) -> Result<Arc<dyn Block>> {
        match &self.make {
            Make::Over(apply) => apply(below),
            Make::Again(_) => {
                let what = format!("the filter '{}' has to open it itself", self.kind.name);
                Err(Error::unsupported(below.name(), what))
            }
        }
    }
}

/// What one parameter is, as [`help`] lists it: the filter that takes it.
pub fn takes(kind: &Kind, key: &str) -> bool {
    let keys = kind.parameters.iter().flat_map(|(form, _)| form.split(", "));
    keys.flat_map(|form| form.split('=').next().unwrap_or_default().split('|')).any(|form| {
        match form.split_once("CALL") {
            None => form == key,
            Some((before, after)) => {
                let calls = ["pread", "pwrite", "trim", "zero", "extents", "cache"];
                calls.iter().any(|call| {
                    key.strip_prefix(before).and_then(|rest| rest.strip_prefix(call)) == Some(after)
                })
            }
        }
    })
}

/// All filters and their parameters, for people.
pub fn help() -> String {
    let mut text = String::new();
    for kind in KINDS {
        text.push_str(&format!("{:17} {}\n", kind.name, kind.summary));
        for (form, says) in kind.parameters {
            text.push_str(&format!("    {form:34} {says}\n"));
        }
    }
    text
}

/// Filters one over the other: the first lies outermost, where clients see it.
#[derive(Clone)]
pub struct Stack {
    filters: Arc<[Named]>,
}

impl Stack {
    /// These filters, the outermost first.
    pub fn new(filters: Vec<Named>) -> Self {
        Stack { filters: filters.into() }
    }

    /// No filter in it ever writes to what lies below: that may be opened for reading only, and changed by clients
    /// nonetheless where there is a copy.
    pub fn keeps_below(&self) -> bool {
        self.filters.iter().any(|filter| filter.kind.keeps_below)
    }

    /// Calls may wait without keeping a processor busy: a server should have threads for others meanwhile.
    pub fn waits(&self) -> bool {
        self.filters.iter().any(|filter| filter.kind.waits)
    }

    /// What a server must not offer.
    pub fn withheld(&self) -> Withheld {
        self.filters.iter().fold(Withheld::default(), |all, filter| all.and(filter.withheld))
    }

    /// Does what is to be done at the end, such as to write statistics: for a server that ends without giving up what
    /// it opened. Where that is given up, it happens by itself.
    pub fn finish(&self) {
        self.filters.iter().filter_map(|filter| filter.at_end.as_ref()).for_each(|at_end| at_end());
    }

    /// Opens what lies below, with all filters over it.
    ///
    /// # Errors
    /// When that cannot be opened, or does not have what a filter shows.
    pub fn open(&self, open: &Open) -> Result<Arc<dyn Block>> {
        self.open_from(0, open, false)
    }

    fn open_from(&self, first: usize, open: &Open, read_only: bool) -> Result<Arc<dyn Block>> {
        let Some(filter) = self.filters.get(first) else { return open(read_only) };
        match &filter.make {
            Make::Over(apply) => apply(self.open_from(first + 1, open, read_only)?),
            Make::Again(options) => {
                let (stack, open) = (self.clone(), Arc::clone(open));
                retry::retry(
                    Arc::new(move |read_only| stack.open_from(first + 1, &open, read_only)),
                    *options,
                )
            }
        }
    }
}

#[cfg(test)]
#[path = "named_test.rs"]
mod tests;
