//! Command lines as GNU `getopt_long` reads them.
//!
//! Scripts written for the programs that ours replace lean on its finer points: letters written together, values with and without a
//! blank before them, long names cut short while they stay unique, operands between options, `--`, and
//! the words in which mistakes are reported.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// An option that a command knows.
pub struct Opt {
    letter: Option<char>,
    long: &'static str,
    value: Option<&'static str>,
    help: &'static str,
    /// The value may be left out; it is written behind an equals sign.
    optional: bool,
    /// Scripts of the program that is replaced do not know it.
    ours: bool,
}

/// An option: its letter and its long name (`'\0'` and `""` for none), the name of its value (`""` if it
/// takes none), and what it does.
pub const fn opt(letter: char, long: &'static str, value: &'static str, help: &'static str) -> Opt {
    Opt {
        letter: if letter == '\0' { None } else { Some(letter) },
        long,
        value: if value.is_empty() { None } else { Some(value) },
        help,
        optional: false,
        ours: false,
    }
}

/// An option whose value may be left out: `--progress`, `--progress=FD`. Its letter never has one.
pub const fn optional(letter: char, long: &'static str, value: &'static str, help: &'static str) -> Opt {
    Opt { optional: true, ..opt(letter, long, value, help) }
}

/// An option that the program replaced does not have. It has to be written out, so that what scripts cut short means what it
/// always meant.
pub const fn ours(long: &'static str, value: &'static str, help: &'static str) -> Opt {
    Opt { ours: true, ..opt('\0', long, value, help) }
}

impl Opt {
    /// The two columns that help shows; nothing for an option that is only known in order to be refused, and
    /// none of ours under the name of another program.
    pub fn help(&self) -> Option<(String, &'static str)> {
        if self.help.is_empty() || self.ours && crate::plays_peer() {
            return None;
        }
        let letter = self.letter.map(|letter| format!("-{letter}"));
        let long = (!self.long.is_empty()).then(|| format!("--{}", self.long));
        let names = letter.into_iter().chain(long).collect::<Vec<_>>().join(", ");
        let names = match self.value {
            None => names,
            Some(value) if self.optional => format!("{names}[={value}]"),
            Some(value) => format!("{names} {value}"),
        };
        Some((names, self.help))
    }

    /// It silences what is not an error.
    pub fn is_quiet(&self) -> bool {
        self.letter == Some('q')
    }

    /// `--name`, if scripts of the program called may use that.
    pub fn long_word(&self) -> Option<String> {
        let hidden = self.long.is_empty() || self.ours && crate::plays_peer();
        (!hidden).then(|| format!("--{}", self.long))
    }

    /// `-n`, if it has a letter.
    pub fn letter_word(&self) -> Option<String> {
        self.letter.map(|letter| format!("-{letter}"))
    }

    /// Its long name.
    pub fn long(&self) -> &'static str {
        self.long
    }

    /// It is the option in front of it under another name: those have no help of their own.
    fn is_other_name(&self) -> bool {
        self.letter.is_none() && self.help.is_empty()
    }

    fn is_like(&self, other: &Opt) -> bool {
        self.letter == other.letter && self.value.is_some() == other.value.is_some() && self.letter.is_some()
    }
}

/// What the next word, or part of a word, is.
pub enum Item {
    /// An option, named by its letter where it has one and by its long name otherwise.
    Option(Name, OsString),
    /// Anything else.
    Operand(OsString),
}

/// How an option is told apart from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// By its letter.
    Letter(char),
    /// By its long name.
    Long(&'static str),
}

/// Reads words one option at a time.
pub struct Getopt<'a> {
    table: &'a [Opt],
    /// Known as well, unless the table has options of the same name.
    common: &'a [Opt],
    words: std::vec::IntoIter<OsString>,
    /// The letters of a word that are still to be read.
    letters: Vec<u8>,
    only_operands: bool,
    operands_last: bool,
}

impl<'a> Getopt<'a> {
    /// Will read `words`, which know the options in `table` and, where that has none of the same name, in
    /// `common`.
    pub fn new(table: &'a [Opt], common: &'a [Opt], words: Vec<OsString>) -> Self {
        Getopt {
            table,
            common,
            words: words.into_iter(),
            letters: Vec::new(),
            only_operands: false,
            operands_last: false,
        }
    }

    /// The first operand ends the options.
    #[must_use]
    pub fn operands_last(self) -> Self {
        Getopt { operands_last: true, ..self }
    }

    /// The next option or operand.
    ///
    /// # Errors
    /// With the words that people know from `getopt`.
    pub fn item(&mut self) -> Result<Option<Item>, String> {
        if !self.letters.is_empty() {
            return self.letter().map(Some);
        }
        let Some(word) = self.words.next() else { return Ok(None) };
        let bytes = word.as_bytes();
        if self.only_operands || bytes.len() < 2 || bytes[0] != b'-' {
            self.only_operands |= self.operands_last;
            return Ok(Some(Item::Operand(word)));
        }
        if bytes == b"--" {
            self.only_operands = true;
            return self.item();
        }
        match bytes.strip_prefix(b"--") {
            Some(long) => self.long(long).map(Some),
            None => {
                self.letters = bytes[1..].to_vec();
                self.letter().map(Some)
            }
        }
    }

    /// Takes the next word, whatever it looks like, if it begins with a hyphen and a digit.
    pub fn negative_number(&mut self) -> Option<OsString> {
        match self.words.as_slice().first()?.as_bytes() {
            [b'-', digit, ..] if digit.is_ascii_digit() && self.letters.is_empty() => self.words.next(),
            _ => None,
        }
    }

    fn letter(&mut self) -> Result<Item, String> {
        let letter = char::from(self.letters.remove(0));
        let Some(option) = self.table.iter().find(|option| option.letter == Some(letter)) else {
            self.letters.clear();
            return Err(format!("invalid option -- '{letter}'"));
        };
        let value = match (option.value, self.letters.is_empty()) {
            (None, _) => OsString::new(),
            (Some(_), _) if option.optional => OsString::new(),
            (Some(_), false) => OsString::from_vec(std::mem::take(&mut self.letters)),
            (Some(_), true) => {
                self.words.next().ok_or_else(|| format!("option requires an argument -- '{letter}'"))?
            }
        };
        Ok(Item::Option(Name::Letter(letter), value))
    }

    fn long(&mut self, text: &[u8]) -> Result<Item, String> {
        let shown = || String::from_utf8_lossy(text).into_owned();
        let mut parts = text.splitn(2, |&byte| byte == b'=');
        let name = parts.next().unwrap_or_default();
        let value = parts.next();
        let option = self.find(name, &shown())?;
        let value = match (option.value, value) {
            (None, Some(_)) => return Err(format!("option '--{}' doesn't allow an argument", option.long)),
            (None, None) => OsString::new(),
            (Some(_), Some(value)) => OsString::from_vec(value.to_vec()),
            (Some(_), None) if option.optional => OsString::new(),
            (Some(_), None) => {
                self.words.next().ok_or_else(|| format!("option '--{}' requires an argument", option.long))?
            }
        };
        let name = option.letter.map_or(Name::Long(option.long), Name::Letter);
        Ok(Item::Option(name, value))
    }

    fn find(&self, name: &[u8], shown: &str) -> Result<&'a Opt, String> {
        let strict = crate::plays_peer();
        let known = |option: &&Opt| if option.ours { !strict } else { !option.long.is_empty() };
        let long = || self.table.iter().chain(self.common).filter(known);
        if let Some(exact) = long().find(|option| option.long.as_bytes() == name) {
            return Ok(exact);
        }
        // Each with the one that it is another name of.
        let mut meant = None;
        let named = long().map(|option| {
            let root = meant.filter(|_| option.is_other_name()).unwrap_or(option);
            meant = Some(root);
            (option, root)
        });
        let near = named.filter(|(option, _)| !option.ours && option.long.as_bytes().starts_with(name));
        let near: Vec<(&Opt, &Opt)> = near.collect();
        match near[..] {
            [] => Err(format!("unrecognized option '--{shown}'")),
            [(first, root), ref others @ ..]
                if others.iter().all(|(other, meant)| other.is_like(first) || std::ptr::eq(*meant, root)) =>
            {
                Ok(first)
            }
            _ => {
                let names: String = near.iter().map(|(option, _)| format!(" '--{}'", option.long)).collect();
                Err(format!("option '--{shown}' is ambiguous; possibilities:{names}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: [Opt; 8] = [
        opt('q', "quiet", "", "silence"),
        opt('f', "format", "FMT", "format"),
        opt('\0', "force", "", "force"),
        opt('\0', "output", "HOW", "form"),
        opt('c', "", "", "compress"),
        optional('p', "progress", "FD", "progress"),
        opt('\0', "colors", "", "colours"),
        opt('\0', "colours", "", ""),
    ];

    const COMMON: [Opt; 2] = [ours("force", "", "hidden by the table"), ours("safe", "", "everywhere")];

    /// All items as text, or the error.
    fn read(line: &str) -> String {
        let words = line.split_whitespace().map(OsString::from).collect();
        let mut getopt = Getopt::new(&TABLE, &COMMON, words);
        let mut out = Vec::new();
        loop {
            match getopt.item() {
                Ok(Some(Item::Option(name, value))) => {
                    let name = match name {
                        Name::Letter(letter) => letter.to_string(),
                        Name::Long(long) => long.to_owned(),
                    };
                    out.push(format!("{name}={}", value.display()));
                }
                Ok(Some(Item::Operand(word))) => out.push(word.display().to_string()),
                Ok(None) => return out.join(" "),
                Err(error) => return error,
            }
        }
    }

    #[test]
    fn forms_of_options() {
        assert_eq!(
            read("a -q b -fraw -f raw -qcfx --form=y --out z"),
            "a q= b f=raw f=raw q= c= f=x f=y output=z"
        );
        assert_eq!(read("-q -- -q --x"), "q= -q --x");
        assert_eq!(read("-f -- x"), "f=-- x");
        assert_eq!(read("- -c"), "- c=");
        assert_eq!(read("--col --colou"), "colors= colours=");
        assert_eq!(read("--safe -f --safe --force"), "safe= f=--safe force=");
        assert_eq!(read("--progress 1 --progress=2 -pq"), "p= 1 p=2 p= q=");
    }

    #[test]
    fn the_first_operand_may_end_the_options() {
        let mut getopt = Getopt::new(&TABLE, &[], vec!["-q".into(), "a".into(), "-q".into()]).operands_last();
        let mut operands = 0;
        while let Ok(Some(item)) = getopt.item() {
            operands += usize::from(matches!(item, Item::Operand(_)));
        }
        assert_eq!(operands, 2);
    }

    #[test]
    fn mistakes_in_the_words_of_getopt() {
        assert_eq!(read("-qx"), "invalid option -- 'x'");
        assert_eq!(read("a -f"), "option requires an argument -- 'f'");
        assert_eq!(read("--format"), "option '--format' requires an argument");
        assert_eq!(read("--qui=1"), "option '--quiet' doesn't allow an argument");
        assert_eq!(read("--nope=1"), "unrecognized option '--nope=1'");
        assert_eq!(read("--fo=1"), "option '--fo=1' is ambiguous; possibilities: '--format' '--force'");
    }
}
