//! Completion: of commands, of their options, of devices, and of paths in the guest.

use std::cell::RefCell;

use anyhow::Result;
use guestd_api::actions::files::IsDirOptions;
use guestd_api::prelude::*;
use guestd_api::{ArgKind, find};
use rustyline::completion::{Completer, Pair};
use rustyline::{Context, Helper, Highlighter, Hinter, Validator};

use crate::local;
use crate::session::Session;

/// Completes what is typed.
#[derive(Helper, Hinter, Highlighter, Validator)]
pub(super) struct Words<'s> {
    commands: Vec<String>,
    session: &'s RefCell<&'s mut Session>,
}

impl Completer for Words<'_> {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = line.get(..position).unwrap_or(line);
        let start = word_start(typed);
        let before = typed[..start].trim();
        let word = &typed[start..];
        if before.is_empty() || matches!(before, "help" | "time" | "glob" | "-") {
            let plain = word.trim_start_matches('-').replace('_', "-").to_ascii_lowercase();
            let found = self.commands.iter().filter(|name| name.starts_with(&plain));
            let pair = |name: &String| Pair { display: name.clone(), replacement: format!("{name} ") };
            let from = position - word.trim_start_matches('-').len();
            return Ok((from, found.map(pair).collect()));
        }
        let mut found = options(before, word);
        // What cannot be asked is not completed.
        found.extend(self.places(word).unwrap_or_default());
        Ok((start, found))
    }
}

/// Where the last word begins: behind a blank that no backslash or quote holds.
fn word_start(typed: &str) -> usize {
    let (mut start, mut quote, mut escaped) = (0, None, false);
    for (at, letter) in typed.char_indices() {
        match (quote, letter) {
            _ if escaped => escaped = false,
            (_, '\\') => escaped = true,
            (None, '"' | '\'') if at == start => quote = Some(letter),
            (Some(open), _) if letter == open => quote = None,
            (None, _) if letter.is_whitespace() => start = at + letter.len_utf8(),
            _ => {}
        }
    }
    start
}

/// The options of a command that begin with a word and are not there yet.
fn options(before: &str, word: &str) -> Vec<Pair> {
    let mut typed = before.split_whitespace();
    let Some(command) = typed.next().and_then(|name| find(name.trim_start_matches('-'))) else {
        return Vec::new();
    };
    let given: Vec<&str> = typed.collect();
    if given.len() < command.args.iter().filter(|argument| argument.kind != ArgKind::Key).count() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for option in command.optargs {
        let name = format!("{}:", option.name);
        if given.iter().any(|other| other.starts_with(&name)) {
            continue;
        }
        let words = match option.kind {
            ArgKind::Bool => vec![format!("{name}true"), format!("{name}false")],
            _ => vec![name],
        };
        for text in words.into_iter().filter(|text| text.starts_with(word)) {
            found.push(Pair { display: text.clone(), replacement: text });
        }
    }
    found
}

impl<'s> Words<'s> {
    pub(super) fn new(session: &'s RefCell<&'s mut Session>) -> Self {
        let mut commands: Vec<String> = local::names().collect();
        commands.sort();
        Words { commands, session }
    }

    /// Devices or files of the guest that begin with a word, whatever the case of its letters.
    fn places(&self, word: &str) -> Result<Vec<Pair>> {
        let session = self.session.try_borrow()?;
        if !session.destination_paths || session.remote.is_some() || !session.guest.is_launched() {
            return Ok(Vec::new());
        }
        let guest = &session.guest;
        let (quote, plain) = match word.strip_prefix('"') {
            Some(inner) => ("\"", inner),
            None => ("", word),
        };
        let names = if plain.starts_with("/dev/") {
            let mut devices = guest.list_devices()?;
            devices.extend(guest.list_partitions()?);
            let names = devices.into_iter().map(|name| (name.to_string(), false));
            names.filter(|(name, _)| name.starts_with(plain)).collect()
        } else {
            files(guest, plain)?
        };
        let pair = |(name, is_dir): (String, bool)| {
            // A path with blanks must stand in quotes, which stay open behind a directory.
            let needs = !quote.is_empty() || name.contains([' ', '\t', '"', '\'', '\\']);
            let inner = if needs { name.replace('\\', "\\\\").replace('"', "\\\"") } else { name.clone() };
            let open = if needs { "\"" } else { "" };
            let end = match (is_dir, needs) {
                (true, _) => "/",
                (false, true) => "\" ",
                (false, false) => " ",
            };
            Pair { replacement: format!("{open}{inner}{end}"), display: name }
        };
        Ok(names.into_iter().map(pair).collect())
    }
}

fn files(guest: &dyn Actions, word: &str) -> Result<Vec<(String, bool)>> {
    let Some(slash) = word.rfind('/').filter(|_| word.starts_with('/')) else { return Ok(Vec::new()) };
    let (directory, begin) = word.split_at(slash + 1);
    let begin = begin.to_lowercase();
    let mut names = Vec::new();
    for name in guest.ls(directory)? {
        let Some(name) = name.to_str().filter(|name| name.to_lowercase().starts_with(&begin)) else {
            continue;
        };
        let path = format!("{directory}{name}");
        let is_dir = guest.is_dir(&path, IsDirOptions::default().followsymlinks(true))?;
        names.push((path, is_dir));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_begin_behind_blanks() {
        assert_eq!((word_start("ls /et"), word_start("cat \"/a b"), word_start("x ")), (3, 4, 2));
    }

    #[test]
    fn options_are_offered_once() {
        let shown = |before: &str, word: &str| -> Vec<String> {
            options(before, word).into_iter().map(|pair| pair.display).collect()
        };
        assert_eq!(shown("is-file /x", "fo"), ["followsymlinks:true", "followsymlinks:false"]);
        assert!(shown("is-file", "fo").is_empty());
        assert!(shown("is-file /x followsymlinks:true", "fo").is_empty());
        assert_eq!(shown("add disk", "fo"), ["format:"]);
    }
}
