//! Format options: `-o cluster_size=4k,compat=1.1`.

use anyhow::{Context, Result, anyhow, bail};
use libimage::Preallocation;
use libimage::crypto::Secret;
use libimage::format::qcow2::{CompressionType, CreateOptions};
use libimage::format::{Format, luks, names};
use libimage::spec::split_commas;
use libimage::units::{SizeProblem, scan_size};

use crate::encryption;

/// What an option's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Switch,
    Number,
    Size,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Text => "str",
            Kind::Switch => "bool (on/off)",
            Kind::Number => "num",
            Kind::Size => "size",
        }
    }
}

/// An option of a format.
#[derive(Debug)]
struct Entry {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    /// What is said to be used when nothing is given.
    default: Option<&'static str>,
    /// It is the file's affair, whatever the format.
    of_file: bool,
}

const fn entry(name: &'static str, kind: Kind, default: Option<&'static str>, help: &'static str) -> Entry {
    Entry { name, kind, help, default, of_file: false }
}

const fn of_file(name: &'static str, kind: Kind, help: &'static str) -> Entry {
    Entry { name, kind, help, default: None, of_file: true }
}

/// In the order in which `create` shows them.
static QCOW2: [Entry; 23] = [
    entry(
        "encryption",
        Kind::Switch,
        None,
        "Encrypt with the old method 'aes' (say encrypt.format=aes instead)",
    ),
    entry("encrypt.format", Kind::Text, None, "How to encrypt: luks, or aes for very old readers"),
    entry("encrypt.key-secret", Kind::Text, None, "Id of the secret that is the passphrase"),
    entry("encrypt.cipher-alg", Kind::Text, None, "Cipher: aes-256 (the default), aes-128, serpent-256, ..."),
    entry("encrypt.cipher-mode", Kind::Text, None, "Mode of the cipher: xts (the default), cbc, ctr or ecb"),
    entry(
        "encrypt.ivgen-alg",
        Kind::Text,
        None,
        "How sectors are numbered: plain64 (the default), plain or essiv",
    ),
    entry("encrypt.ivgen-hash-alg", Kind::Text, None, "Digest that essiv uses (default sha256)"),
    entry("encrypt.hash-alg", Kind::Text, None, "Digest that keys are derived with (default sha256)"),
    entry(
        "encrypt.iter-time",
        Kind::Number,
        None,
        "Milliseconds that trying a passphrase should take (default 2000)",
    ),
    entry("cluster_size", Kind::Size, Some("65536"), "Size of a cluster"),
    entry("extended_l2", Kind::Switch, Some("off"), "Divide clusters into subclusters"),
    entry("preallocation", Kind::Text, None, "What to allocate at once: off, metadata, falloc or full"),
    entry("compression_type", Kind::Text, Some("zlib"), "How clusters are compressed: zlib or zstd"),
    entry("size", Kind::Size, None, "Size of the disk"),
    entry("compat", Kind::Text, None, "Compatibility level: v2 (0.10) or v3 (1.1)"),
    entry("backing_file", Kind::Text, None, "File that supplies what the image does not hold"),
    entry("backing_fmt", Kind::Text, None, "Format of the backing file"),
    entry("data_file", Kind::Text, None, "File that holds the data instead of the image"),
    entry("data_file_raw", Kind::Switch, None, "Keep the data file a raw image by itself"),
    entry("lazy_refcounts", Kind::Switch, Some("off"), "Postpone updates of reference counts"),
    entry("refcount_bits", Kind::Number, Some("16"), "Width of a reference count in bits"),
    of_file("nocow", Kind::Switch, "Switch copy-on-write of the file system off (not done)"),
    of_file("extent_size_hint", Kind::Size, "Extent size hint for the file system (not done)"),
];

static LUKS: [Entry; 12] = [
    entry("size", Kind::Size, None, "Size of the disk"),
    entry("key-secret", Kind::Text, None, "Id of the secret that is the passphrase"),
    entry("cipher-alg", Kind::Text, None, "Cipher: aes-256 (the default), aes-128, serpent-256, ..."),
    entry("cipher-mode", Kind::Text, None, "Mode of the cipher: xts (the default), cbc, ctr or ecb"),
    entry("ivgen-alg", Kind::Text, None, "How sectors are numbered: plain64 (the default), plain or essiv"),
    entry("ivgen-hash-alg", Kind::Text, None, "Digest that essiv uses (default sha256)"),
    entry("hash-alg", Kind::Text, None, "Digest that keys are derived with (default sha256)"),
    entry(
        "iter-time",
        Kind::Number,
        None,
        "Milliseconds that trying a passphrase should take (default 2000)",
    ),
    entry("detached-header", Kind::Switch, None, "Keep the header in another file (not from here)"),
    of_file("preallocation", Kind::Text, "What to allocate at once: off, falloc or full"),
    of_file("nocow", Kind::Switch, "Switch copy-on-write of the file system off (not done)"),
    of_file("extent_size_hint", Kind::Size, "Extent size hint for the file system (not done)"),
];

static RAW: [Entry; 4] = [
    entry("size", Kind::Size, None, "Size of the disk"),
    of_file("preallocation", Kind::Text, "What to allocate at once: off, falloc or full"),
    of_file("nocow", Kind::Switch, "Switch copy-on-write of the file system off (not done)"),
    of_file("extent_size_hint", Kind::Size, "Extent size hint for the file system (not done)"),
];

/// What can be changed of an existing image.
static QCOW2_AMEND: [Entry; 13] = [
    entry("backing_file", Kind::Text, None, "File that supplies what the image does not hold"),
    entry("backing_fmt", Kind::Text, None, "Format of the backing file"),
    entry("compat", Kind::Text, None, "Compatibility level: v2 (0.10) or v3 (1.1)"),
    entry("data_file", Kind::Text, None, "File that holds the data instead of the image"),
    entry("data_file_raw", Kind::Switch, None, "Keep the data file a raw image by itself"),
    entry("encrypt.iter-time", Kind::Number, None, "Milliseconds that trying the new passphrase should take"),
    entry("encrypt.keyslot", Kind::Number, None, "The key slot to change: 0 to 7"),
    entry("encrypt.new-secret", Kind::Text, None, "Id of the secret to add"),
    entry("encrypt.old-secret", Kind::Text, None, "Id of the secret whose key slots are erased"),
    entry("encrypt.state", Kind::Text, None, "What key slots become: active or inactive"),
    entry("lazy_refcounts", Kind::Switch, None, "Postpone updates of reference counts"),
    entry("refcount_bits", Kind::Number, None, "Width of a reference count in bits"),
    entry("size", Kind::Size, None, "Size of the disk"),
];

static LUKS_AMEND: [Entry; 5] = [
    entry("iter-time", Kind::Number, None, "Milliseconds that trying the new passphrase should take"),
    entry("keyslot", Kind::Number, None, "The key slot to change: 0 to 7"),
    entry("new-secret", Kind::Text, None, "Id of the secret to add"),
    entry("old-secret", Kind::Text, None, "Id of the secret whose key slots are erased"),
    entry("state", Kind::Text, None, "What key slots become: active or inactive"),
];

/// What can be changed of an existing image of `format`.
fn amend_entries(format: Format) -> &'static [Entry] {
    match format {
        Format::Qcow2 => &QCOW2_AMEND,
        Format::Luks => &LUKS_AMEND,
        Format::Raw => &[],
    }
}

fn entries(format: Format) -> &'static [Entry] {
    match format {
        Format::Qcow2 => &QCOW2,
        Format::Raw => &RAW,
        Format::Luks => &LUKS,
    }
}

/// Prints the options of a format; with those of the file that it will be in, if that is known.
pub(crate) fn print_help(format: Format, with_file: bool) -> Result<()> {
    let mut entries: Vec<&Entry> = entries(format).iter().filter(|e| with_file || !e.of_file).collect();
    entries.sort_by_key(|entry| entry.name);
    let mut text = match with_file {
        true => "Supported options:\n".to_owned(),
        false => format!("Supported {} options:\n", format.name()),
    };
    text.extend(entries.into_iter().map(Entry::help_line));
    if !with_file {
        text.push_str("\nThe protocol level may support further options.\nSpecify the target filename to include those options.\n");
    }
    cli::print(&text)
}

/// Prints the options that can be changed of an existing image.
///
/// # Errors
/// When the format has none.
pub(crate) fn print_amend_help(format: Format) -> Result<()> {
    if format == Format::Raw {
        bail!("Format driver '{}' does not support option amendment", format.name());
    }
    let lines: String = amend_entries(format).iter().map(Entry::help_line).collect();
    cli::print(&format!("Amend options for '{}':\n{lines}", format.name()))
}

impl Entry {
    fn help_line(&self) -> String {
        let name = format!("{}=<{}>", self.name, self.kind.name());
        format!("  {name:<22} - {}\n", self.help)
    }
}

/// The `-o` arguments of a command line, as they come.
#[derive(Debug, Default)]
pub(crate) struct Given {
    words: Vec<String>,
}

impl Given {
    /// Adds one `-o`.
    ///
    /// # Errors
    /// For a list that begins or ends with a comma, or is empty.
    pub(crate) fn add(&mut self, list: String) -> Result<()> {
        let commas_at_end = list.bytes().rev().take_while(|&byte| byte == b',').count();
        if list.is_empty() || list.starts_with(',') || !commas_at_end.is_multiple_of(2) {
            bail!("Invalid option list: {list}");
        }
        self.words.extend(split_commas(&list));
        Ok(())
    }

    /// There was none.
    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Takes the last value given for an option that is no format's, and all of it out of the list.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let value = |word: &String| {
            word.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')).map(str::to_owned)
        };
        let found = self.words.iter().rev().find_map(value);
        self.words.retain(|word| value(word).is_none());
        found
    }

    /// The list of options is asked for.
    pub(crate) fn wants_help(&self) -> bool {
        self.words.iter().any(|word| word == "help" || word == "?")
    }

    /// What was given, checked against what `format` knows.
    ///
    /// # Errors
    /// For names that it does not know, and values that are not of their kind.
    pub(crate) fn options(self, format: Format) -> Result<Options> {
        self.check(Options { format, entries: entries(format), pairs: Vec::new() })
    }

    /// What was given, checked against what can be changed of an existing image of `format`.
    ///
    /// # Errors
    /// The same, and for options that only a new image can have.
    pub(crate) fn amendments(self, format: Format) -> Result<Options> {
        self.check(Options { format, entries: amend_entries(format), pairs: Vec::new() })
    }

    fn check(self, mut options: Options) -> Result<Options> {
        for word in self.words {
            match word.split_once('=') {
                // A name for the list itself.
                Some(("id", _)) => {}
                Some((name, value)) => options.set(name, value)?,
                // A name alone switches something on, with "no" in front of it off.
                None => match word.strip_prefix("no") {
                    Some(name) => options.set(name, "off")?,
                    None => options.set(&word, "on")?,
                },
            }
        }
        Ok(options)
    }
}

/// The options of one image, each known to be of its kind.
#[derive(Debug)]
pub(crate) struct Options {
    format: Format,
    entries: &'static [Entry],
    pairs: Vec<(&'static str, String)>,
}

impl Options {
    /// Sets an option.
    ///
    /// # Errors
    /// When the format does not know it, or the value is not of its kind.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let Some(entry) = self.entries.iter().find(|entry| entry.name == name) else {
            let only_new = entries(self.format).iter().any(|entry| entry.name == name && !entry.of_file);
            let hint = if only_new { "\nThis option is only supported for image creation" } else { "" };
            bail!("Invalid parameter '{name}'{hint}");
        };
        match entry.kind {
            Kind::Text => {}
            Kind::Switch => drop(switch(name, value)?),
            Kind::Number => drop(number(name, value)?),
            Kind::Size => drop(size_value(name, value)?),
        }
        self.pairs.push((entry.name, value.to_owned()));
        Ok(())
    }

    /// The format does not know this option.
    pub(crate) fn lacks(&self, name: &str) -> bool {
        self.entries.iter().all(|entry| entry.name != name)
    }

    /// The last value given for `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
    }

    /// The size among them.
    ///
    /// # Errors
    /// None in practice: it was checked when it was set.
    pub(crate) fn size(&self) -> Result<Option<u64>> {
        self.get("size").map(|value| size_value("size", value)).transpose()
    }

    /// The names of what is set.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.pairs.iter().map(|(name, _)| *name)
    }

    pub(crate) fn is_on(&self, name: &str) -> Result<bool> {
        self.get(name).map_or(Ok(false), |value| switch(name, value))
    }

    /// ` name=value` for each option that is given or has a default, for an image of `size` bytes.
    pub(crate) fn describe(&self, size: u64) -> String {
        let mut out = String::new();
        for entry in self.entries {
            let value = match entry.name {
                "size" => Some(size.cast_signed().to_string()),
                name => self.get(name).or(entry.default).map(|value| shown(entry.kind, value)),
            };
            if let Some(value) = value {
                out.push_str(&format!(" {}={value}", entry.name));
            }
        }
        out
    }

    /// What is to be made of them.
    ///
    /// # Errors
    /// For values that no image can have, and for options that are not supported.
    pub(crate) fn target(&self) -> Result<Target> {
        match self.format {
            Format::Raw => {
                let value = self.get("preallocation").unwrap_or("off");
                let preallocation =
                    preallocation(value).ok_or_else(|| anyhow!("invalid parameter value: {value}"))?;
                Ok(Target::Raw { preallocation })
            }
            Format::Luks => {
                let (options, password) = encryption::of_luks(self)?;
                let value = self.get("preallocation").unwrap_or("off");
                let preallocation =
                    preallocation(value).ok_or_else(|| anyhow!("invalid parameter value: {value}"))?;
                Ok(Target::Luks { options, password, preallocation })
            }
            Format::Qcow2 => self.qcow2().map(Target::Qcow2),
        }
    }

    fn qcow2(&self) -> Result<CreateOptions> {
        let unknown = |name: &str, value: &str| anyhow!("Parameter '{name}' does not accept value '{value}'");
        let default = CreateOptions::default();
        let version = match self.get("compat") {
            None | Some("1.1" | "v3") => 3,
            Some("0.10" | "v2") => 2,
            Some(other) => return Err(unknown("version", other)),
        };
        if let Some(format) = self.get("backing_fmt").filter(|name| !names::is_driver(name)) {
            return Err(unknown("backing-fmt", format));
        }
        let mode = self.get("preallocation").unwrap_or("off");
        let preallocation = preallocation(mode).ok_or_else(|| unknown("preallocation", mode))?;
        let compression = match self.get("compression_type") {
            None | Some("zlib") => CompressionType::Zlib,
            Some("zstd") => CompressionType::Zstd,
            Some(other) => return Err(unknown("compression-type", other)),
        };
        let cluster_size = self.get("cluster_size").map(|value| size_value("cluster_size", value));
        let refcount_bits = self.get("refcount_bits").map(|value| number("refcount_bits", value));
        Ok(CreateOptions {
            version,
            compression,
            cluster_size: cluster_size.transpose()?.unwrap_or(default.cluster_size),
            // What does not fit is as wrong as 3.
            refcount_bits: refcount_bits
                .transpose()?
                .map_or(default.refcount_bits, |bits| u32::try_from(bits).unwrap_or(u32::MAX)),
            lazy_refcounts: self.is_on("lazy_refcounts")?,
            preallocation,
            backing_file: self.get("backing_file").map(str::to_owned),
            backing_format: self.get("backing_fmt").map(str::to_owned),
            encryption: encryption::of_qcow2(self)?,
            extended_l2: self.is_on("extended_l2")?,
            data_file: self.get("data_file").map(str::to_owned),
            data_file_raw: self.is_on("data_file_raw")?,
            ..default
        })
    }
}

/// What is to be made: the options of a format, understood.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// A raw image.
    Raw { preallocation: Preallocation },
    /// A qcow2 image; its size is filled in by the command.
    Qcow2(CreateOptions),
    /// A LUKS volume.
    Luks { options: luks::CreateOptions, password: Secret, preallocation: Preallocation },
}

/// A value as `create` shows it.
fn shown(kind: Kind, value: &str) -> String {
    match kind {
        Kind::Text => value.replace(',', ",,"),
        Kind::Switch => value.to_owned(),
        Kind::Size => size_value("", value).map_or(value.to_owned(), |size| size.cast_signed().to_string()),
        Kind::Number => number("", value).map_or(value.to_owned(), |number| number.cast_signed().to_string()),
    }
}

/// A preallocation mode by its name.
pub(crate) fn preallocation(value: &str) -> Option<Preallocation> {
    Some(match value {
        "off" => Preallocation::Off,
        "metadata" => Preallocation::Metadata,
        "falloc" => Preallocation::Falloc,
        "full" => Preallocation::Full,
        _ => return None,
    })
}

/// A switch.
pub(crate) fn switch(name: &str, value: &str) -> Result<bool> {
    match value {
        "on" | "yes" | "true" | "y" => Ok(true),
        "off" | "no" | "false" | "n" => Ok(false),
        _ => bail!("Parameter '{name}' expects 'on' or 'off'"),
    }
}

/// An integer as C reads it: hexadecimal after `0x`, octal after `0`; a negative one wraps around.
pub(crate) fn number(name: &str, text: &str) -> Result<u64> {
    let unsigned = text.trim_start().trim_start_matches('+');
    let (negative, digits) = match unsigned.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, unsigned),
    };
    let value = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16),
        None if digits.len() > 1 && digits.starts_with('0') => u64::from_str_radix(digits, 8),
        None => digits.parse(),
    };
    let value = value.ok().filter(|_| digits.starts_with(|c: char| c.is_ascii_digit()));
    let value = value.with_context(|| format!("Parameter '{name}' expects a number"))?;
    Ok(if negative { value.wrapping_neg() } else { value })
}

/// The value of an option that is a size.
///
/// # Errors
/// In the words that scripts know.
pub(crate) fn size_value(name: &str, text: &str) -> Result<u64> {
    scan_size(text).map_err(|problem| match problem {
        SizeProblem::OutOfRange => anyhow!("Value '{text}' is out of range for parameter '{name}'"),
        SizeProblem::Malformed => anyhow!(
            "Parameter '{name}' expects a non-negative number below 2^64\nOptional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively."
        ),
    })
}

/// A size, or a number that may be written like one, as an argument called `what`; at most `max`.
///
/// # Errors
/// In the words that scripts know.
pub(crate) fn size_argument(what: &str, text: &str, min: u64, max: u64) -> Result<u64> {
    match scan_size(text) {
        Ok(size) if (min..=max).contains(&size) => Ok(size),
        Err(SizeProblem::Malformed) => bail!("Invalid {what} specified: '{text}'."),
        _ => bail!("Invalid {what} specified. Must be between {min} and {max}."),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn options(format: Format, lists: &[&str]) -> Result<Options> {
        let mut given = Given::default();
        for list in lists {
            given.add((*list).to_owned())?;
        }
        given.options(format)
    }

    #[test]
    fn options_are_joined_and_the_last_one_counts() {
        let options =
            options(Format::Qcow2, &["cluster_size=4k,lazy_refcounts", "cluster_size=8k,backing_file=a,,b"])
                .unwrap();
        let Target::Qcow2(qcow2) = options.target().unwrap() else { panic!("not qcow2") };
        assert_eq!(qcow2.cluster_size, 8192);
        assert_eq!(qcow2.backing_file.as_deref(), Some("a,b"));
        assert!(qcow2.lazy_refcounts);
        assert!(
            options.describe(5).contains(
                " cluster_size=8192 extended_l2=off compression_type=zlib size=5 backing_file=a,,b"
            )
        );
    }

    #[test]
    fn mistakes_are_found_at_once() {
        let error = |list: &str| options(Format::Qcow2, &[list]).unwrap_err().to_string();
        assert_eq!(error("foo=1"), "Invalid parameter 'foo'");
        assert_eq!(error("nocow"), "Invalid parameter 'cow'");
        assert_eq!(error("refcount_bits=x"), "Parameter 'refcount_bits' expects a number");
        assert_eq!(error("size=-1"), "Value '-1' is out of range for parameter 'size'");
        for list in ["", ",", ",,", "a,", ",a"] {
            assert_eq!(error(list), format!("Invalid option list: {list}"));
        }
        assert!(options(Format::Raw, &["cluster_size=4k"]).is_err());
    }

    #[test]
    fn numbers_as_in_c() {
        for (text, value) in [("16", 16), ("0x10", 16), ("010", 8), ("-1", u64::MAX), ("0", 0), (" +7", 7)] {
            assert_eq!(number("n", text).unwrap(), value, "{text}");
        }
        for bad in ["", "x", "08", "0x", "1k", "--1", "18446744073709551616"] {
            assert!(number("n", bad).is_err(), "{bad}");
        }
    }
}
