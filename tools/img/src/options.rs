//! Format options: `-o cluster_size=4k,compat=1.1`.

use anyhow::{Result, bail};
use libimage::Preallocation;
use libimage::format::Format;
use libimage::format::qcow2::{CompressionType, CreateOptions};

/// The options of one image, as given; each is taken out as it is understood.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pairs: Vec<(String, String)>,
}

/// One row of the list that `-o help` prints.
type Help = (&'static str, &'static str);

const QCOW2_HELP: [Help; 9] = [
    ("backing_file=<str>", "File name of a base image"),
    ("backing_fmt=<str>", "Image format of the base image"),
    ("cluster_size=<size>", "qcow2 cluster size"),
    ("compat=<str>", "Compatibility level (v2 [0.10] or v3 [1.1])"),
    ("compression_type=<str>", "Compression method used for image cluster compression"),
    ("lazy_refcounts=<bool (on/off)>", "Postpone refcount updates"),
    ("preallocation=<str>", "Preallocation mode (allowed values: off, metadata, falloc, full)"),
    ("refcount_bits=<num>", "Width of a reference count entry in bits"),
    ("size=<size>", "Virtual disk size"),
];

const RAW_HELP: [Help; 2] = [
    ("preallocation=<str>", "Preallocation mode (allowed values: off, falloc, full)"),
    ("size=<size>", "Virtual disk size"),
];

/// Options of qcow2 that are understood as far as saying that they are not there.
const NOT_SUPPORTED: [&str; 3] = ["extended_l2", "data_file_raw", "encryption"];

fn help(format: Format) -> &'static [Help] {
    match format {
        Format::Qcow2 => &QCOW2_HELP,
        Format::Raw => &RAW_HELP,
    }
}

/// Prints the options of a format.
pub(crate) fn print_help(format: Format) -> Result<()> {
    let mut text = format!("Supported {} options:\n", format.name());
    for (name, meaning) in help(format) {
        text.push_str(&format!("  {name:<22} - {meaning}\n"));
    }
    cli::print(&text)
}

impl Options {
    /// Reads the `-o` arguments; a doubled comma stands for one. `None` when help is asked for.
    pub(crate) fn parse(arguments: &[String]) -> Result<Option<Self>> {
        let mut pairs = Vec::new();
        for word in arguments.iter().flat_map(|a| split_commas(a)) {
            match word.split_once('=') {
                Some((name, value)) => pairs.push((name.to_owned(), value.to_owned())),
                None if word == "help" || word == "?" => return Ok(None),
                None if word.is_empty() => {}
                // A name alone switches something on, with "no" in front of it off.
                None => match word.strip_prefix("no") {
                    Some(name) => pairs.push((name.to_owned(), "off".to_owned())),
                    None => pairs.push((word, "on".to_owned())),
                },
            }
        }
        Ok(Some(Options { pairs }))
    }

    /// Adds a value that came by another way.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.pairs.push((name.to_owned(), value.to_owned()));
    }

    /// Takes the last value given for `name`.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let value = self.pairs.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        self.pairs.retain(|(n, _)| n != name);
        value
    }

    pub(crate) fn take_size(&mut self, name: &str) -> Result<Option<u64>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match libimage::units::parse_size(&value) {
            Ok(size) => Ok(Some(size)),
            Err(_) => bail!(
                "Parameter '{name}' expects a non-negative number below 2^64\nOptional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively."
            ),
        }
    }

    fn take_bool(&mut self, name: &str) -> Result<Option<bool>> {
        Ok(match self.take(name).as_deref() {
            None => None,
            Some("on" | "yes" | "true" | "y") => Some(true),
            Some("off" | "no" | "false" | "n") => Some(false),
            Some(_) => bail!("Parameter '{name}' expects 'on' or 'off'"),
        })
    }

    fn take_number(&mut self, name: &str) -> Result<Option<u32>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => bail!("Parameter '{name}' expects a number"),
        }
    }

    fn take_preallocation(&mut self) -> Result<Preallocation> {
        self.take("preallocation").map_or(Ok(Preallocation::Off), |value| preallocation(&value))
    }

    /// The last value given for `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Refuses names that `format` does not know.
    pub(crate) fn check_names(&self, format: Format) -> Result<()> {
        let known = |name: &str| help(format).iter().any(|(row, _)| row.split('=').next() == Some(name));
        match self.pairs.iter().find(|(name, _)| !known(name) && !NOT_SUPPORTED.contains(&name.as_str())) {
            Some((name, _)) => bail!("Invalid parameter '{name}'"),
            None => Ok(()),
        }
    }

    /// Refuses what nobody took.
    fn finish(self) -> Result<()> {
        match self.pairs.first() {
            Some((name, _)) => bail!("Invalid parameter '{name}'"),
            None => Ok(()),
        }
    }
}

/// A preallocation mode by its name.
pub(crate) fn preallocation(value: &str) -> Result<Preallocation> {
    Ok(match value {
        "off" => Preallocation::Off,
        "metadata" => Preallocation::Metadata,
        "falloc" => Preallocation::Falloc,
        "full" => Preallocation::Full,
        _ => bail!("Parameter 'preallocation' does not accept value '{value}'"),
    })
}

/// What is to be made: the options of a format, understood.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// A raw image.
    Raw { preallocation: Preallocation },
    /// A qcow2 image; its size is filled in by the command.
    Qcow2(CreateOptions),
}

impl Target {
    /// Understands all options of `format`. The size is the caller's affair and was taken out before.
    pub(crate) fn new(format: Format, mut options: Options) -> Result<Self> {
        let target = match format {
            Format::Raw => Target::Raw { preallocation: options.take_preallocation()? },
            Format::Qcow2 => Target::Qcow2(qcow2(&mut options)?),
        };
        options.finish()?;
        Ok(target)
    }
}

fn qcow2(options: &mut Options) -> Result<CreateOptions> {
    let default = CreateOptions::default();
    let version = match options.take("compat").as_deref() {
        None | Some("1.1" | "v3") => 3,
        Some("0.10" | "v2") => 2,
        Some(other) => bail!("Parameter 'version' does not accept value '{other}'"),
    };
    let compression = match options.take("compression_type").as_deref() {
        None | Some("zlib") => CompressionType::Zlib,
        Some("zstd") => CompressionType::Zstd,
        Some(other) => bail!("Parameter 'compression-type' does not accept value '{other}'"),
    };
    for name in NOT_SUPPORTED {
        if options.take_bool(name)? == Some(true) {
            bail!("Option '{name}' is not supported; leave it out");
        }
    }
    Ok(CreateOptions {
        version,
        compression,
        cluster_size: options.take_size("cluster_size")?.unwrap_or(default.cluster_size),
        refcount_bits: options.take_number("refcount_bits")?.unwrap_or(default.refcount_bits),
        lazy_refcounts: options.take_bool("lazy_refcounts")?.unwrap_or(false),
        preallocation: options.take_preallocation()?,
        backing_file: options.take("backing_file"),
        backing_format: options.take("backing_fmt"),
        ..default
    })
}

fn split_commas(text: &str) -> Vec<String> {
    text.replace(",,", "\0").split(',').map(|part| part.replace('\0', ",")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn options_are_joined_and_the_last_one_counts() {
        let given =
            ["cluster_size=4k,lazy_refcounts".to_owned(), "cluster_size=8k,backing_file=a,,b".to_owned()];
        let mut options = Options::parse(&given).unwrap().unwrap();
        assert_eq!(options.take_size("cluster_size").unwrap(), Some(8192));
        assert_eq!(options.take("backing_file").as_deref(), Some("a,b"));
        assert_eq!(options.take_bool("lazy_refcounts").unwrap(), Some(true));
        options.finish().unwrap();
        assert!(Options::parse(&["help".to_owned()]).unwrap().is_none());
        let unknown = Options::parse(&["foo=1".to_owned()]).unwrap().unwrap();
        assert_eq!(Target::new(Format::Qcow2, unknown).unwrap_err().to_string(), "Invalid parameter 'foo'");
    }
}
