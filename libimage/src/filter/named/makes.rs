//! How each filter is made of its parameters.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::arguments::{Arguments, parse_number, parse_size};
use super::{Apply, Make, Withheld};
use crate::block::Block;
use crate::error::{Error, Result};
use crate::filter::around::Kind as CallKind;
use crate::filter::blocksize::{BlockSize, Sizes};
use crate::filter::blocksize_policy::{Constraints, blocksize_policy};
use crate::filter::cache::{Cache, Kept, Mode, Options as CacheOptions};
use crate::filter::cow::{Cow, DEFAULT_BLOCK, Overlay};
use crate::filter::delay::{Delays, delay};
use crate::filter::extents::{ExtentList, WithList};
use crate::filter::inject::{ERRORS, Injections, inject};
use crate::filter::log::{Log, log};
use crate::filter::member::Member;
use crate::filter::packed::{self, Whole, XzOptions, ZstdOptions};
use crate::filter::protect::{Protect, Protected};
use crate::filter::rate::{Buckets, DEFAULT_BURST, Limit, rate};
use crate::filter::retry::{Options as RetryOptions, retry_request};
use crate::filter::serial::serial;
use crate::filter::slice::Slice;
use crate::filter::stats::{Stats, stats};
use crate::filter::swab::Swab;
use crate::filter::tar::tar;
use crate::filter::truncate::{NewSize, Truncate};
use crate::filter::without::{NoCache, NoFlush, NoZero, ReadEarly, ReadOnly, Zeroes};
use crate::filter::write_through::WriteThrough;
use crate::format::luks::Luks;
use crate::format::qcow2::{OpenOptions, Qcow2};
use crate::fs::ext4::Ext4;
use crate::volume;

pub(super) fn over<F>(apply: F) -> Result<Make>
where
    F: Fn(Arc<dyn Block>) -> Result<Arc<dyn Block>> + Send + Sync + 'static,
{
    Ok(Make::Over(Box::new(apply) as Box<Apply>))
}

fn invalid<T>(text: &str) -> Result<T> {
    Err(Error::Invalid(text.to_owned()))
}

pub(super) fn blocksize(arguments: &mut Arguments) -> Result<Make> {
    let sizes = Sizes {
        min_block: arguments.size("minblock")?,
        max_data: arguments.size("maxdata")?,
        max_length: arguments.size("maxlen")?,
    };
    sizes.check()?;
    over(move |below| Ok(Arc::new(BlockSize::new(below, sizes)?)))
}

pub(super) fn policy(arguments: &mut Arguments) -> Result<Make> {
    let choices = [("allow", false), ("error", true)];
    let unknown = "unknown blocksize-error-policy: '{}'";
    let strict = arguments.choice("blocksize-error-policy", &choices, unknown)?.unwrap_or(false);
    let mut size = |key: &str| {
        let Some(size) = arguments.size(key)? else { return Ok(None) };
        u32::try_from(size).map(Some).or_else(|_| invalid(&format!("{key} must be less than 4G")))
    };
    let constraints = Constraints {
        minimum: size("blocksize-minimum")?,
        preferred: size("blocksize-preferred")?,
        maximum: size("blocksize-maximum")?,
        strict,
    };
    constraints.check()?;
    over(move |below| blocksize_policy(below, constraints))
}

pub(super) fn cache(arguments: &mut Arguments) -> Result<Make> {
    let modes =
        [("writeback", Mode::WriteBack), ("writethrough", Mode::WriteThrough), ("unsafe", Mode::Unsafe)];
    let unknown = "invalid cache parameter, should be writeback|writethrough|unsafe";
    let usual = CacheOptions::default();
    let low = arguments.number("cache-low-threshold")?.unwrap_or(usual.thresholds.start);
    let high = arguments.number("cache-high-threshold")?.unwrap_or(usual.thresholds.end);
    let options = CacheOptions {
        mode: arguments.choice("cache", &modes, unknown)?.unwrap_or(usual.mode),
        keep_read: arguments.switch("cache-on-read")?,
        min_block: arguments.size("cache-min-block-size")?.unwrap_or(usual.min_block),
        max_size: arguments.size("cache-max-size")?,
        thresholds: low..high,
    };
    let kept = Arc::new(Kept::new(options)?);
    over(move |below| Ok(Arc::new(Cache::new(below, Arc::clone(&kept)))))
}

pub(super) fn cow(arguments: &mut Arguments) -> Result<Make> {
    let block = arguments.size("cow-block-size")?.unwrap_or(DEFAULT_BLOCK);
    let keep_prefetched = arguments.boolean("cow-on-cache")?.unwrap_or(false);
    let overlay = Arc::new(Overlay::new(block, arguments.switch("cow-on-read")?, keep_prefetched)?);
    over(move |below| Ok(Arc::new(Cow::new(below, Arc::clone(&overlay)))))
}

pub(super) fn delays(arguments: &mut Arguments) -> Result<Make> {
    use CallKind::{Cache, Extents, Read, Trim, Write, Zero};
    let mut delays = Delays::default();
    // What is said of one kind alone counts more than what is said of several.
    let keys: [(&str, &[CallKind]); 12] = [
        ("wdelay", &[Write, Zero, Trim]),
        ("rdelay", &[Read]),
        ("zdelay", &[Zero]),
        ("tdelay", &[Trim]),
        ("edelay", &[Extents]),
        ("cdelay", &[Cache]),
        ("delay-read", &[Read]),
        ("delay-write", &[Write]),
        ("delay-zero", &[Zero]),
        ("delay-trim", &[Trim]),
        ("delay-extents", &[Extents]),
        ("delay-cache", &[Cache]),
    ];
    for (key, kinds) in keys {
        if let Some(time) = arguments.time(key)? {
            kinds.iter().for_each(|&kind| delays.set(kind, time));
        }
    }
    delays.open = arguments.time("delay-open")?.unwrap_or_default();
    delays.close = arguments.time("delay-close")?.unwrap_or_default();
    arguments.withheld.fast_zeroes_refused = !arguments.boolean("delay-fast-zero")?.unwrap_or(true);
    over(move |below| Ok(delay(below, delays)))
}

pub(super) fn errors(arguments: &mut Arguments) -> Result<Make> {
    let calls = [
        ("pread", CallKind::Read),
        ("pwrite", CallKind::Write),
        ("trim", CallKind::Trim),
        ("zero", CallKind::Zero),
        ("extents", CallKind::Extents),
        ("cache", CallKind::Cache),
    ];
    let mut injections = Injections::default();
    // What is said of all calls first: what is said of one of them counts more.
    let all = std::iter::once(("error".to_owned(), calls.map(|(_, kind)| kind).to_vec()));
    let each = calls.map(|(name, kind)| (format!("error-{name}"), vec![kind]));
    for (key, kinds) in all.chain(each) {
        let error = arguments.choice(&key, &ERRORS, &format!("{key}: unknown error name '{{}}'"))?;
        let probability = arguments.probability(&format!("{key}-rate"))?;
        let file = arguments.path(&format!("{key}-file"));
        for kind in kinds {
            let injection = injections.of(kind);
            injection.error = error.unwrap_or(injection.error);
            injection.probability = probability.unwrap_or(injection.probability);
            injection.file = file.clone().or(injection.file.take());
        }
    }
    over(move |below| Ok(inject(below, injections.clone())))
}

pub(super) fn ext2(arguments: &mut Arguments) -> Result<Make> {
    let Some(path) = arguments.text("ext2file") else {
        return invalid("you must supply ext2file=<FILE> parameter");
    };
    if !path.starts_with('/') {
        return invalid("the file parameter must refer to an absolute path");
    }
    over(move |below| {
        let name = below.name().to_owned();
        let fs = Ext4::open(below).map_err(|error| match error {
            crate::fs::system::FsError::Image(error) => error,
            other => Error::unsupported(name, other.to_string()),
        })?;
        Ok(Arc::new(Member::open(Box::new(fs), &path)?))
    })
}

pub(super) fn extent_list(arguments: &mut Arguments) -> Result<Make> {
    let Some(path) = arguments.path("extentlist") else {
        return invalid("you must supply the extentlist parameter on the command line");
    };
    let list = Arc::new(ExtentList::read(&path)?);
    over(move |below| Ok(Arc::new(WithList::new(below, Arc::clone(&list)))))
}

pub(super) fn fua(arguments: &mut Arguments) -> Result<Make> {
    #[derive(Clone, Copy, PartialEq)]
    enum Flushes {
        Hidden,
        AsAsked,
        Always,
        Never,
    }
    use Flushes::{Always, AsAsked, Hidden, Never};
    let modes = [
        ("none", Hidden),
        ("emulate", AsAsked),
        ("native", AsAsked),
        ("pass", AsAsked),
        ("force", Always),
        ("discard", Never),
    ];
    let mode = arguments.choice("fuamode", &modes, "unknown fuamode '{}'")?.unwrap_or(Hidden);
    arguments.withheld.fua = mode == Hidden;
    over(move |below| {
        Ok(match mode {
            Hidden | AsAsked => below,
            Always => Arc::new(WriteThrough::new(below)),
            Never => Arc::new(NoFlush::new(below)),
        })
    })
}

pub(super) fn bzipped(arguments: &mut Arguments) -> Result<Make> {
    let most = arguments.size("bzip2-max-size")?.unwrap_or(u64::MAX);
    let whole = Whole::default();
    over(move |below| packed::bzip2(&*below, most, &whole))
}

pub(super) fn gzipped(arguments: &mut Arguments) -> Result<Make> {
    let most = arguments.size("gzip-max-size")?.unwrap_or(u64::MAX);
    let whole = Whole::default();
    over(move |below| packed::gzip(&*below, most, &whole))
}

pub(super) fn logged(arguments: &mut Arguments) -> Result<Make> {
    let path = arguments.path("logfile");
    let append = arguments.boolean("logappend")?.unwrap_or(false);
    let to = Arc::new(Log::new(path.as_deref(), append, arguments.text("logscript"))?);
    over(move |below| Ok(log(below, Arc::clone(&to))))
}

pub(super) fn luks(arguments: &mut Arguments) -> Result<Make> {
    let Some(passphrase) = arguments.secret("passphrase")? else {
        return invalid("LUKS \"passphrase\" parameter is missing");
    };
    let passphrase = zeroize::Zeroizing::new(passphrase);
    over(move |below| {
        let read_only = below.is_read_only();
        Ok(Arc::new(Luks::open(below, None, Some(&passphrase), read_only)?))
    })
}

pub(super) fn no_cache(arguments: &mut Arguments) -> Result<Make> {
    #[derive(Clone, Copy, PartialEq)]
    enum How {
        Hidden,
        Nothing,
        Read,
    }
    let modes = [("none", How::Hidden), ("nop", How::Nothing), ("emulate", How::Read)];
    let how = arguments.choice("cachemode", &modes, "unknown cachemode '{}'")?.unwrap_or(How::Hidden);
    arguments.withheld.cache = how == How::Hidden;
    over(move |below| {
        Ok(if how == How::Read { Arc::new(ReadEarly::new(below)) } else { Arc::new(NoCache::new(below)) })
    })
}

pub(super) fn no_parallel(arguments: &mut Arguments) -> Result<Make> {
    let modes =
        [("requests", (false, false)), ("all-requests", (true, false)), ("connections", (true, true))];
    let unknown = "unknown noparallel serialize mode '{}'";
    let (together, alone) = arguments.choice("serialize", &modes, unknown)?.unwrap_or((false, false));
    arguments.withheld.several_connections = alone;
    let turn = Arc::new(Mutex::new(()));
    over(move |below| {
        let turn = if together { Arc::clone(&turn) } else { Arc::new(Mutex::new(())) };
        Ok(serial(below, turn))
    })
}

pub(super) fn no_zero(arguments: &mut Arguments) -> Result<Make> {
    let modes = [
        ("none", (Zeroes::Written, true)),
        ("emulate", (Zeroes::Written, false)),
        ("notrim", (Zeroes::KeepAllocated, false)),
        ("plugin", (Zeroes::Unchanged, false)),
    ];
    let mode = arguments.choice("zeromode", &modes, "unknown zeromode '{}'")?;
    let (zeroes, hidden) = mode.unwrap_or((Zeroes::Written, true));
    // Hidden, or offered and refused. What is ignored is offered: each such request is then as any other.
    let emulated = zeroes == Zeroes::Written;
    let fast = [
        ("none", (true, false)),
        ("slow", (false, true)),
        ("ignore", (false, false)),
        ("default", (false, emulated)),
    ];
    let fast = arguments.choice("fastzeromode", &fast, "unknown fastzeromode '{}'")?;
    let (fast_zeroes, fast_zeroes_refused) = fast.unwrap_or((false, emulated));
    arguments.withheld = Withheld { zeroes: hidden, fast_zeroes, fast_zeroes_refused, ..arguments.withheld };
    over(move |below| Ok(Arc::new(NoZero::new(below, zeroes))))
}

pub(super) fn offset(arguments: &mut Arguments) -> Result<Make> {
    let start = arguments.size("offset")?.unwrap_or(0);
    let length = arguments.size("range")?;
    over(move |below| {
        let size = below.size();
        let name = below.name();
        if start > size {
            let text = format!("offset ({start}) is larger than its size ({size})");
            return Err(Error::unsupported(name, text));
        }
        let length = length.unwrap_or(size - start);
        if length > size - start {
            let text = format!("offset+range ({start}+{length}) is larger than its size ({size})");
            return Err(Error::unsupported(name, text));
        }
        Ok(Arc::new(Slice::new(below, start, length)?))
    })
}

pub(super) fn partition(arguments: &mut Arguments) -> Result<Make> {
    let Some(number) = arguments.number("partition")? else {
        return invalid("you must supply the partition parameter on the command line");
    };
    if number == 0 {
        return invalid("invalid partition number");
    }
    over(move |below| {
        let Some(table) = volume::partitions(&below)? else {
            let text = "disk does not contain MBR or GPT partition table signature";
            return Err(Error::unsupported(below.name(), text));
        };
        let found = table.partitions.iter().find(|partition| partition.number == number);
        let Some(partition) = found else {
            let text = format!("There is no partition {number} on '{}'", below.name());
            return Err(Error::NotFound(text));
        };
        Ok(Arc::new(partition.open(&below)?))
    })
}

pub(super) fn protect(arguments: &mut Arguments) -> Result<Make> {
    let mut all = Vec::new();
    for text in arguments.all("protect") {
        let (complement, range) = match text.strip_prefix('~') {
            Some(range) => (true, range),
            None => (false, text.as_str()),
        };
        let Some((start, last)) = range.split_once('-') else {
            return invalid(&format!("cannot parse range, missing '-': {text}"));
        };
        let number = |text: &str| match text {
            "" => Ok(None),
            text => parse_number("range", text).map(Some),
        };
        let (start, last) = (number(start)?.unwrap_or(0), number(last)?);
        if last.is_some_and(|last| last < start) {
            return invalid(&format!("invalid range, end < start: {text}"));
        }
        all.push(Protected { start, last, complement });
    }
    over(move |below| Ok(Arc::new(Protect::new(below, &all))))
}

pub(super) fn qcow2(_: &mut Arguments) -> Result<Make> {
    over(|below| {
        let below: Arc<dyn Block> = Arc::new(ReadOnly::new(below));
        let image =
            Qcow2::open(Arc::clone(&below), OpenOptions { read_only: true, ..OpenOptions::default() })?;
        let missing =
            if image.lacks_data_file() { Some("data") } else { image.backing_file()?.map(|_| "backing") };
        if let Some(kind) = missing {
            let what = format!("its bytes are in a {kind} file, and this filter has only one file");
            return Err(Error::unsupported(below.name(), what));
        }
        if image.needs_key() {
            return Err(Error::unsupported(
                below.name(),
                "it is encrypted: open it as an image, with its secret",
            ));
        }
        Ok(Arc::new(image))
    })
}

pub(super) fn rates(arguments: &mut Arguments) -> Result<Make> {
    let mut limit = |key: &str| -> Result<Limit> {
        let bits = arguments.once(key)?.map(|text| parse_size(&text)).transpose()?;
        let file = arguments.path(&format!("{key}-file"));
        Ok(Limit { bits_per_second: bits.unwrap_or(0), file, burst: DEFAULT_BURST })
    };
    let (mut all, mut each) = (limit("rate")?, limit("connection-rate")?);
    if let Some(text) = arguments.text("burstiness") {
        let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
        let Some(seconds) = seconds else {
            return invalid(&format!("burstiness: could not parse number: \"{text}\""));
        };
        (all.burst, each.burst) = (seconds, seconds);
    }
    let limits_something = |limit: &Limit| limit.bits_per_second > 0 || limit.file.is_some();
    let shared = limits_something(&all).then(|| Arc::new(Buckets::new(all)));
    over(move |below| {
        let own = limits_something(&each).then(|| Arc::new(Buckets::new(each.clone())));
        Ok(rate(below, shared.clone().into_iter().chain(own).collect()))
    })
}

pub(super) fn retry(arguments: &mut Arguments) -> Result<Make> {
    let usual = RetryOptions::default();
    let delay = match arguments.number("retry-delay")? {
        Some(0) => return invalid("retry-delay cannot be 0"),
        Some(seconds) => Duration::from_secs(u64::from(seconds)),
        None => usual.delay,
    };
    Ok(Make::Again(RetryOptions {
        retries: arguments.number("retries")?.unwrap_or(usual.retries),
        delay,
        exponential: arguments.boolean("retry-exponential")?.unwrap_or(usual.exponential),
        read_only: arguments.boolean("retry-readonly")?.unwrap_or(usual.read_only),
    }))
}

pub(super) fn request_again(arguments: &mut Arguments) -> Result<Make> {
    let retries = arguments.number("retry-request-retries")?.unwrap_or(2);
    if !(1..=1000).contains(&retries) {
        return invalid("retry-request-retries must be between 1 and 1000");
    }
    let delay = arguments.time("retry-request-delay")?.unwrap_or(Duration::from_secs(2));
    arguments.boolean("retry-request-open")?;
    over(move |below| Ok(retry_request(below, retries, delay)))
}

pub(super) fn counted(arguments: &mut Arguments) -> Result<Make> {
    let threshold = arguments.number("statsthreshold")?.unwrap_or(95);
    if threshold > 100 {
        return invalid("statsthreshold must be between 0 and 100 (percent)");
    }
    let Some(path) = arguments.path("statsfile") else {
        return invalid("stats filter requires statsfile parameter");
    };
    let append = arguments.boolean("statsappend")?.unwrap_or(false);
    let counts = Arc::new(Stats::new(&path, append, threshold)?);
    let written = Arc::clone(&counts);
    arguments.at_end = Some(Box::new(move || written.write()));
    over(move |below| Ok(stats(below, Arc::clone(&counts))))
}

pub(super) fn swab(arguments: &mut Arguments) -> Result<Make> {
    let bits = arguments.number("swab-bits")?.unwrap_or(16);
    if ![8, 16, 32, 64].contains(&bits) {
        return invalid("invalid swab-bits, must be 8, 16, 32 or 64");
    }
    over(move |below| Ok(Arc::new(Swab::new(below, bits)?)))
}

pub(super) fn member(arguments: &mut Arguments) -> Result<Make> {
    let Some(entry) = arguments.text("tar-entry") else {
        return invalid("you must supply the tar-entry=<FILENAME> parameter");
    };
    let limit = arguments.size("tar-limit")?.filter(|&limit| limit > 0);
    arguments.text("tar");
    over(move |below| Ok(Arc::new(tar(below, &entry, limit)?)))
}

pub(super) fn truncate(arguments: &mut Arguments) -> Result<Make> {
    let mut step = |key: &str| match arguments.size(key)? {
        Some(0) => invalid(&format!("if set, the {key} parameter must be > 0")),
        Some(size) if !size.is_power_of_two() => {
            invalid(&format!("the {key} parameter must be a power of 2"))
        }
        size => Ok(size),
    };
    let (up_to, down_to) = (step("round-up")?, step("round-down")?);
    let size = NewSize { exactly: arguments.size("truncate")?, up_to, down_to };
    over(move |below| Ok(Arc::new(Truncate::new(below, size)?)))
}

/// Blocks to keep: one at least.
fn depth(arguments: &mut Arguments, key: &str, usual: u32) -> Result<u32> {
    match arguments.number(key)? {
        Some(0) => invalid(&format!("'{key}' parameter must be >= 1")),
        depth => Ok(depth.unwrap_or(usual)),
    }
}

pub(super) fn xz(arguments: &mut Arguments) -> Result<Make> {
    let usual = XzOptions::default();
    let max_block = arguments.size("xz-max-block")?.unwrap_or(usual.max_block);
    let options = XzOptions { max_block, max_depth: depth(arguments, "xz-max-depth", usual.max_depth)? };
    over(move |below| packed::xz(below, options))
}

pub(super) fn zstd(arguments: &mut Arguments) -> Result<Make> {
    let usual = ZstdOptions::default();
    let options = ZstdOptions {
        max_frame: arguments.size("zstd-max-frame")?.unwrap_or(usual.max_frame),
        max_depth: depth(arguments, "zstd-max-depth", usual.max_depth)?,
        max_size: arguments.size("zstd-max-size")?.unwrap_or(usual.max_size),
    };
    let whole = Whole::default();
    over(move |below| packed::zstd(below, options, &whole))
}
