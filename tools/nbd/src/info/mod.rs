//! `nbd info`: what a server tells about itself and its exports, as `nbdinfo` shows it.

mod content;
mod details;
mod json;
mod map;
mod question;
mod text;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use cli::getopt::{Name, Opt, opt, optional, ours};
use nbd_protocol::client::{Greeting, Handshake};

use crate::ansi::{self, Colours};
use crate::arguments::{self, Command, Usage, Words};
use crate::origin::{Complaint, Origin, With, is_extended, uri_of};
use details::Details;

const OPTIONS: &[Opt] = &{
    let [a, b, c, d, e, f, g, h] = ansi::OPTIONS;
    [
        arguments::HELP,
        arguments::VERSION,
        opt('\0', "json", "", "for programs"),
        opt('L', "list", "", "tell of all exports"),
        opt('\0', "size", "", "tell the size in bytes, nothing else"),
        optional(
            '\0',
            "map",
            "CONTEXT",
            "show the extents of a metadata context, of base:allocation if none is named",
        ),
        opt('\0', "totals", "", "sum up the extents of --map"),
        opt('\0', "total", "", ""),
        opt('\0', "is", "PROPERTY", "exit with 0 if read-only, rotational, tls, ..., and with 2 if not"),
        opt(
            '\0',
            "can",
            "FEATURE",
            "the same for cache, connect, df, fast-zero, flush, fua, multi-conn, read, structured-reply, trim, write, zero, extended-headers, block-status-payload",
        ),
        ours("isnt", "PROPERTY", "exit with 2 if it is, and with 0 if not"),
        ours("cannot", "FEATURE", "the same for features"),
        ours("uri", "", "write the export's URI in full, nothing else"),
        opt('\0', "content", "", "look at what is in the export; --list does not by itself"),
        opt('\0', "no-content", "", "do not look at what is in the export"),
        a,
        b,
        c,
        d,
        e,
        f,
        g,
        h,
    ]
};

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "info",
    peer: "nbdinfo",
    about: "Display information and metadata about NBD servers and exports",
    operands: "NBD-URI | [ CMD ARGS ... ]",
    options: OPTIONS,
    operands_last: false,
    run,
};

/// What is asked for.
#[derive(Default)]
enum Mode {
    /// Everything about one export.
    #[default]
    Export,
    List,
    Size,
    Uri,
    Map(String),
    Question {
        about: String,
        /// The answer is turned round.
        negated: bool,
    },
}

/// How and what to show.
struct Options {
    mode: Mode,
    json: bool,
    totals: bool,
    content: Option<bool>,
    colours: Colours,
}

impl Options {
    /// Sets the mode; two different ones are too many.
    fn choose(&mut self, mode: Mode) -> Result<()> {
        let is_same = std::mem::discriminant(&self.mode) == std::mem::discriminant(&mode);
        if !matches!(self.mode, Mode::Export) && !is_same {
            return Err(anyhow!("you cannot use --list, --map and --size together."));
        }
        self.mode = mode;
        Ok(())
    }

    fn take(&mut self, name: Name, value: &OsString) -> Result<()> {
        if self.colours.option(name) {
            return Ok(());
        }
        let question =
            |negated| -> Result<Mode> { Ok(Mode::Question { about: arguments::string(value)?, negated }) };
        match name {
            Name::Long("json") => self.json = true,
            Name::Long("size") => self.choose(Mode::Size)?,
            Name::Long("uri") => self.choose(Mode::Uri)?,
            Name::Long("totals" | "total") => self.totals = true,
            Name::Long("is" | "can") => self.choose(question(false)?)?,
            Name::Long("isnt" | "cannot") => self.choose(question(true)?)?,
            Name::Long("map") => self.choose(Mode::Map(arguments::string(value)?))?,
            Name::Long(word @ ("content" | "no-content")) => {
                let wanted = word == "content";
                if self.content.is_some_and(|content| content != wanted) {
                    return Err(anyhow!("you cannot use --content and --no-content together."));
                }
                self.content = Some(wanted);
            }
            _ => self.choose(Mode::List)?,
        }
        Ok(())
    }
}

fn run(words: Words) -> Result<ExitCode> {
    let mut options = Options {
        mode: Mode::default(),
        json: false,
        totals: false,
        content: None,
        colours: Colours::of_output(),
    };
    let operands = words.read(|name, value| options.take(name, value))?;
    if options.totals && !matches!(options.mode, Mode::Map(_)) {
        return Err(anyhow!("you must use --totals only with --map option."));
    }
    let Some(origin) = Origin::parse(operands)? else {
        return Err(Usage::error(&COMMAND, "one NBD URI, or a command in brackets, is expected"));
    };
    match &options.mode {
        Mode::Export => export(&origin, &options),
        Mode::List => list(&origin, &options),
        Mode::Size => {
            let size = origin.connect(&[])?.it.info().size;
            cli::print(&format!("{size}\n"))?;
            Ok(ExitCode::SUCCESS)
        }
        Mode::Uri => {
            let uri = uri_of(&origin, origin.export());
            let uri = uri.ok_or_else(|| anyhow!("A server that is started for this question has no URI"))?;
            cli::print(&format!("{uri}\n"))?;
            Ok(ExitCode::SUCCESS)
        }
        Mode::Map(context) => {
            let context = if context.is_empty() { map::ALLOCATION } else { context };
            map::show(&origin, context, &options)
        }
        Mode::Question { about, negated } => question::answer(&origin, about, *negated),
    }
}

/// A connection on which what can be negotiated has been.
fn greet(origin: &Origin) -> Result<With<Greeting>> {
    let greeting = origin.greet()?;
    greeting.map(|greeting| match greeting {
        Greeting::Newstyle(mut handshake) if handshake.negotiated().fixed => {
            agree(&mut handshake)
                .map_err(|error| Complaint::of_request("nbd_connect_uri", "handshake", &error))?;
            Ok(Greeting::Newstyle(handshake))
        }
        other => Ok(other),
    })
}

fn agree(handshake: &mut Handshake) -> nbd_protocol::client::Result<()> {
    // A server that wants encryption first refuses even these; what it says about exports tells more.
    let lenient = |result| match result {
        Err(nbd_protocol::client::Error::Refused(_)) => Ok(false),
        other => other,
    };
    if !is_extended() || !lenient(handshake.extended_headers())? {
        lenient(handshake.structured_replies())?;
    }
    Ok(())
}

/// Everything about the export that is meant.
fn export(origin: &Origin, options: &Options) -> Result<ExitCode> {
    let greeting = greet(origin)?;
    let negotiated = match &greeting.it {
        Greeting::Newstyle(handshake) => handshake.negotiated().clone(),
        Greeting::Oldstyle(connection) => connection.negotiated().clone(),
    };
    let found = details::of_export(greeting, origin, origin.export(), options.content.unwrap_or(true), false);
    let code = if found.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    let found = found.map_err(|error| complain(&error, origin.export(), true));
    let exports: Vec<_> = found.into_iter().collect();
    let out = match options.json {
        true => json::whole(&negotiated, &exports, exports.len(), false),
        false => text::whole(&negotiated, &exports, options.colours),
    };
    cli::print(&out)?;
    Ok(code)
}

/// Everything about all exports.
fn list(origin: &Origin, options: &Options) -> Result<ExitCode> {
    // Kept to the end if it is ours.
    let With { it: greeting, server: _server } = greet(origin)?;
    let refused = |text: &str| Err(Complaint::new("nbd_opt_list", text).into());
    let mut handshake = match greeting {
        Greeting::Oldstyle(_) => {
            return refused("invalid state: READY: the handle must be negotiating: Invalid argument");
        }
        Greeting::Newstyle(handshake) if !handshake.negotiated().fixed => {
            return refused("server is not using fixed newstyle protocol: Operation not supported");
        }
        Greeting::Newstyle(handshake) => handshake,
    };
    let listed = handshake.list().map_err(|error| Complaint::of_option("nbd_opt_list", "list", &error))?;
    let negotiated = handshake.negotiated().clone();
    let look = options.content.unwrap_or(false);
    let mut code = ExitCode::SUCCESS;
    let mut exports = Vec::new();
    for one in &listed {
        let told = if look { None } else { details::told(&mut handshake, origin, &one.name) };
        let found = match told {
            Some(details) => Ok(details),
            // An export can be chosen once in a connection.
            None => greet(origin)
                .and_then(|greeting| details::of_export(greeting, origin, &one.name, look, !look)),
        };
        let description = Some(one.description.clone()).filter(|text| !text.is_empty());
        let found = found.map(|details| Details { description, ..details });
        match found {
            Ok(details) => exports.push(details),
            Err(error) => {
                complain(&error, &one.name, false);
                code = ExitCode::FAILURE;
            }
        }
    }
    handshake.abort();
    let out = match options.json {
        true => json::whole(&negotiated, &exports, listed.len(), true),
        false => text::whole(&negotiated, &exports, options.colours),
    };
    cli::print(&out)?;
    Ok(code)
}

/// Says what is wrong with one export; what is known of the others is shown all the same.
fn complain(error: &anyhow::Error, export: &str, suggest: bool) {
    let program = cli::program();
    let which = match export {
        "" => "the default export".to_owned(),
        name => format!("export: {name}"),
    };
    eprintln!("{program}: {} for {which}", cli::error::full_chain(error));
    if suggest {
        eprintln!("{program}: suggestion: to list all exports on the server, use --list");
    }
}

/// Bytes as people write them: with the largest unit that leaves no fraction. The second value says whether there is one.
fn human_size(mut bytes: u64) -> (String, bool) {
    const UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];
    let mut unit = 0;
    while bytes != 0 && bytes.is_multiple_of(1024) {
        bytes /= 1024;
        unit += 1;
    }
    (format!("{bytes}{}", UNITS.get(unit).unwrap_or(&"")), unit > 0)
}

/// A string in quotes, with what would end or break it written otherwise.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            control if u32::from(control) < 0x20 => out += &format!("\\u{:04x}", u32::from(control)),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// What an export tells with yes or no, under the names that are shown, in their order.
fn properties(details: &Details) -> Vec<(&'static str, bool)> {
    use nbd_protocol::wire::Flags;
    let has = |flag| details.flags.has(flag);
    let mut all = vec![("is_rotational", has(Flags::ROTATIONAL)), ("is_read_only", has(Flags::READ_ONLY))];
    if is_extended() {
        all.push(("can_block_status_payload", details.can_filter_status()));
    }
    all.extend([
        ("can_cache", has(Flags::CACHE)),
        ("can_df", details.can_df()),
        ("can_fast_zero", details.can_fast_zero()),
        ("can_flush", has(Flags::FLUSH)),
        ("can_fua", has(Flags::FUA)),
        ("can_multi_conn", has(Flags::MULTI_CONN)),
        ("can_trim", has(Flags::TRIM)),
        ("can_zero", has(Flags::WRITE_ZEROES)),
    ]);
    all
}
