//! Keys of encrypted devices: given with `--key`, read from standard input, or asked for.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};

use anyhow::{Context as _, Result, bail};
use guestd_api::GuestString;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

/// Longest key file that is read.
const MAX_KEY: u64 = 1 << 20;

/// How keys are found.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// Keys that were given, and for what.
    pub selectors: Vec<Selector>,
    /// Keys are lines of standard input.
    pub from_stdin: bool,
    /// Show keys while they are typed.
    pub echo: bool,
}

/// A key that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// A device, a UUID, or `all`.
    id: String,
    key: Key,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    Text(String),
    File(String),
    Clevis,
}

impl Selector {
    /// `ID:key:TEXT`, `ID:file:NAME` or `ID:clevis`.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((id, rest)) = text.split_once(':') else { bail!("selector '{text}': missing TYPE") };
        let (kind, value) = rest.split_once(':').map_or((rest, None), |(kind, value)| (kind, Some(value)));
        let key = match (kind, value) {
            ("key", Some(value)) => Key::Text(value.to_owned()),
            ("file", Some(value)) => Key::File(value.to_owned()),
            ("clevis", None) => Key::Clevis,
            ("key" | "file", None) => bail!("selector '{text}': missing the key"),
            ("clevis", Some(_)) => bail!("selector '{text}': clevis takes no more words"),
            _ => bail!("selector '{text}': invalid TYPE"),
        };
        Ok(Selector { id: id.to_owned(), key })
    }
}

impl Keys {
    /// Whether any key was given, or promised on standard input.
    pub fn any_given(&self) -> bool {
        !self.selectors.is_empty() || self.from_stdin
    }

    /// The keys to be tried for a device with this name and UUID.
    ///
    /// # Errors
    /// When a key file cannot be read.
    pub fn for_device(&self, device: &str, uuid: &str) -> Result<Vec<GuestString>> {
        let fits = |s: &&Selector| s.id == "all" || s.id == device || s.id.eq_ignore_ascii_case(uuid);
        let given = self.selectors.iter().filter(fits).map(|selector| match &selector.key {
            Key::Text(text) => Ok(Some(GuestString::from(text.as_str()))),
            Key::File(name) => read_file(name).map(Some),
            Key::Clevis => Ok(None),
        });
        given.filter_map(Result::transpose).collect()
    }

    /// Asks for a key: the next line of standard input, or the person at the terminal.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn ask(&self, prompt: &str) -> Result<GuestString> {
        if self.from_stdin {
            let mut line = Vec::new();
            std::io::stdin().lock().read_until(b'\n', &mut line)?;
            return Ok(without_newline(line));
        }
        let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").context("/dev/tty")?;
        write!(terminal, "Enter key or passphrase (\"{prompt}\"): ")?;
        let quiet = if self.echo { None } else { Some(Quiet::new(&terminal)?) };
        let mut line = Vec::new();
        BufReader::new(&terminal).read_until(b'\n', &mut line)?;
        drop(quiet);
        if !self.echo {
            writeln!(terminal)?;
        }
        Ok(without_newline(line))
    }
}

fn read_file(name: &str) -> Result<GuestString> {
    let size = std::fs::metadata(name).with_context(|| name.to_owned())?.len();
    if size > MAX_KEY {
        bail!("{name}: it is too large to be a key");
    }
    let bytes = std::fs::read(name).with_context(|| name.to_owned())?;
    Ok(without_newline(bytes))
}

fn without_newline(mut line: Vec<u8>) -> GuestString {
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    line.into()
}

/// A terminal that does not show what is typed, until this is dropped.
struct Quiet<'t> {
    terminal: &'t File,
    before: rustix::termios::Termios,
}

impl<'t> Quiet<'t> {
    fn new(terminal: &'t File) -> Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Quiet { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs no mending.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;

    #[test]
    fn keys_are_for_their_devices() {
        let keys = Keys {
            selectors: ["/dev/sda1:key:a:b", "ABC:key:two", "all:key:three", "x:clevis"]
                .map(|text| Selector::parse(text).unwrap())
                .to_vec(),
            ..Keys::default()
        };
        assert_eq!(keys.for_device("/dev/sda1", "abc").unwrap(), ["a:b", "two", "three"]);
        assert_eq!(keys.for_device("/dev/sdb1", "").unwrap(), ["three"]);
        for wrong in ["x", "x:key", "x:what:y", "x:clevis:y"] {
            assert!(Selector::parse(wrong).is_err(), "{wrong}");
        }
    }
}
