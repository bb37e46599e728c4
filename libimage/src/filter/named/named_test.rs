#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use super::*;
use crate::filter::model;

fn stack(texts: &[&str]) -> Stack {
    Stack::new(texts.iter().map(|text| Named::parse(text).unwrap()).collect())
}

fn open(size: u64) -> Open {
    let memory: Arc<dyn Block> = model::memory(size);
    Arc::new(move |_| Ok(Arc::clone(&memory)))
}

#[test]
fn the_first_lies_outermost() {
    let opened = stack(&["truncate,truncate=100", "offset,offset=1k"]).open(&open(4096)).unwrap();
    assert_eq!(opened.size(), 100);
    assert!(model::all(&*opened) == model::bytes(4096)[1024..1124]);
    let opened = stack(&["offset,offset=1k", "truncate,truncate=2000"]).open(&open(4096)).unwrap();
    assert_eq!(opened.size(), 976);
}

#[test]
fn each_is_made_with_what_it_needs() {
    let directory = tempfile::tempdir().unwrap();
    let list = directory.path().join("list");
    std::fs::write(&list, "0 1k\n").unwrap();
    for kind in KINDS {
        let text = match kind.name {
            "extentlist" => format!("extentlist,extentlist={}", list.display()),
            "stats" => format!("stats,statsfile={}", directory.path().join("stats").display()),
            "retry" => "retry,retry-delay=1".to_owned(),
            // These need something below that is not there.
            "partition" => "partition,partition=1".to_owned(),
            "luks" => "luks,passphrase=x".to_owned(),
            "ext2" => "ext2,ext2file=/x".to_owned(),
            "tar" => "tar,tar-entry=x".to_owned(),
            name => name.to_owned(),
        };
        let opened = stack(&[&text]).open(&open(8192));
        match kind.name {
            "partition" | "luks" | "ext2" | "tar" | "xz" | "gzip" | "zstd" | "bzip2" | "qcow2dec" => {
                assert!(opened.is_err(), "{text}")
            }
            _ => assert!(model::all(&*opened.unwrap()).len() == 8192, "{text}"),
        }
    }
    assert!(KINDS.is_sorted_by_key(|kind| kind.name));
}

#[test]
fn what_nbdkit_refuses_is_refused() {
    // The words are those of nbdkit 1.32 for the same parameters.
    for (text, words) in [
        ("cow,cow-block-size=3000", "cow-block-size is out of range (4096..2G) or not a power of 2"),
        ("cow,cow-on-read=maybe", "could not decipher boolean (maybe)"),
        ("cow,cow-bad=1", "unknown parameter 'cow-bad'"),
        ("partition", "you must supply the partition parameter on the command line"),
        ("partition,partition=0", "invalid partition number"),
        ("offset,offset=-1", "size cannot be negative (-1)"),
        ("truncate,truncate=abc", "could not parse size string (abc)"),
        ("truncate,round-up=0", "if set, the round-up parameter must be > 0"),
        ("truncate,round-down=7", "the round-down parameter must be a power of 2"),
        ("cache,cache=foo", "invalid cache parameter, should be writeback|writethrough|unsafe"),
        (
            "cache,cache-min-block-size=512",
            "cache-min-block-size is not a power of 2, or is too small or too large",
        ),
        ("cache,cache-max-size=1k", "cache-max-size is too small"),
        ("cache,cache-high-threshold=0", "cache-high-threshold must be greater than zero"),
        ("rate,rate=x", "could not parse size string (x)"),
        ("rate,rate=1,rate=2", "rate set twice on the command line"),
        ("delay,rdelay=-1", "rdelay: negative numbers are not allowed"),
        ("error,error=EBADF", "error: unknown error name 'EBADF'"),
        ("error,error-rate=101%", "error-rate: rate out of range: '101%' parsed as 1.01"),
        ("error,error-rate=x", "error-rate: could not parse rate 'x'"),
        ("error,error-rate=-1", "error-rate: rate out of range: '-1' parsed as -1"),
        ("stats", "stats filter requires statsfile parameter"),
        ("stats,statsthreshold=101,statsfile=x", "statsthreshold must be between 0 and 100 (percent)"),
        ("retry,retries=-1", "retries: negative numbers are not allowed"),
        ("retry,retry-delay=0", "retry-delay cannot be 0"),
        ("luks", "LUKS \"passphrase\" parameter is missing"),
        ("blocksize,minblock=3", "minblock must be a power of 2"),
        ("blocksize,maxdata=0", "parameter 'maxdata' must be non-zero if specified"),
        ("swab,swab-bits=24", "invalid swab-bits, must be 8, 16, 32 or 64"),
        ("protect,protect=x", "cannot parse range, missing '-': x"),
        ("protect,protect=5-3", "invalid range, end < start: 5-3"),
        ("ext2,ext2file=x", "the file parameter must refer to an absolute path"),
        ("nozero,zeromode=x", "unknown zeromode 'x'"),
        ("nocache,cachemode=x", "unknown cachemode 'x'"),
        ("noparallel,serialize=x", "unknown noparallel serialize mode 'x'"),
        ("tar", "you must supply the tar-entry=<FILENAME> parameter"),
        ("xz,xz-max-depth=0", "'xz-max-depth' parameter must be >= 1"),
        ("extentlist", "you must supply the extentlist parameter on the command line"),
        ("readahead,foo=bar", "unknown parameter 'foo'"),
        ("blocksize-policy,blocksize-minimum=3", "blocksize-minimum must be a power of 2"),
        ("fua,fuamode=x", "unknown fuamode 'x'"),
    ] {
        let name = text.split(',').next().unwrap();
        let error = Named::parse(text).err().unwrap_or_else(|| panic!("{text} is accepted"));
        assert_eq!(error.to_string(), format!("Filter '{name}': {words}"));
    }
    assert!(Named::parse("nothing").is_err());
    assert!(Named::parse("cow,foo").is_err());
    assert!(Named::parse("stats,statsfile=/proc/none/x").is_err());
}

#[test]
fn what_nbdkit_accepts_is_accepted() {
    for text in [
        "delay,rdelay=100ms,wdelay=0.5,delay-open=1us,delay-close=0,zdelay=2ns,delay-fast-zero=false",
        "error,error-rate=1:10,error-pread-rate=0.5%,error=ESHUTDOWN,error-zero-file=/x",
        "rate,rate=1M,connection-rate=50K,burstiness=0",
        "cow,cow-on-read=/tmp/some,,file,cow-block-size=1M",
        "protect,protect=0-0x1bd,protect=~-017,protect=5-",
        "blocksize,minblock=4k,maxdata=32M,maxlen=1G",
        "cache,cache=unsafe,cache-max-size=1G,cache-high-threshold=95,cache-low-threshold=80,cache-on-read=on",
        "offset,offset=1s,range=2S",
    ] {
        Named::parse(text).unwrap();
    }
}

#[test]
fn a_server_is_told_what_not_to_offer() {
    // As nbdinfo shows it of nbdkit with the same filters.
    let withheld = |texts: &[&str]| stack(texts).withheld();
    let nothing = Withheld::default();
    assert_eq!(withheld(&["noextents", "nocache,cachemode=nop", "fua,fuamode=force", "delay"]), nothing);
    assert_eq!(withheld(&["nozero", "cow"]), Withheld { zeroes: true, fast_zeroes_refused: true, ..nothing });
    assert_eq!(
        withheld(&["nozero,zeromode=plugin,fastzeromode=none"]),
        Withheld { fast_zeroes: true, ..nothing }
    );
    assert_eq!(withheld(&["nocache", "fua"]), Withheld { cache: true, fua: true, ..nothing });
    assert_eq!(
        withheld(&["noparallel,serialize=connections"]),
        Withheld { several_connections: true, ..nothing }
    );
    assert_eq!(withheld(&["delay,delay-fast-zero=no"]), Withheld { fast_zeroes_refused: true, ..nothing });
    assert!(stack(&["cow", "rate"]).waits() && !stack(&["cow", "xz"]).waits());
}

#[test]
fn statistics_are_written_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stats");
    let stack = stack(&[&format!("stats,statsfile={}", path.display())]);
    let opened = stack.open(&open(4096)).unwrap();
    model::all(&*opened);
    stack.finish();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("read: 1 ops"), "{text}");
    drop((opened, stack));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn parameters_are_found_by_their_names() {
    let kind = |name| KINDS.iter().find(|kind| kind.name == name).unwrap();
    for (name, keys) in [
        ("error", vec!["error", "error-rate", "error-pread", "error-zero-file", "error-cache-rate"]),
        ("delay", vec!["rdelay", "delay-zero", "delay-close"]),
        ("rate", vec!["rate", "connection-rate-file", "burstiness"]),
        ("protect", vec!["protect"]),
    ] {
        assert!(keys.iter().all(|key| takes(kind(name), key)), "{name}");
        assert!(!takes(kind(name), "other") && !takes(kind(name), ""));
    }
    assert!(KINDS.iter().all(|kind| help().contains(kind.name)));
}

#[test]
fn a_retry_opens_what_lies_below_it_again() {
    let directory = tempfile::tempdir().unwrap();
    let trigger = directory.path().join("fail");
    std::fs::write(&trigger, "").unwrap();
    let error = format!("error,error-rate=1,error-file={}", trigger.display());
    let filters = stack(&["cow", "retry,retries=1,retry-delay=1", &error]);
    assert!(filters.keeps_below());
    let opened = filters.open(&open(4096)).unwrap();
    std::fs::remove_file(&trigger).unwrap();
    opened.write_at(&[1; 10], 0).unwrap();
    assert_eq!(model::read(&*opened, 0..10), [1; 10]);
    // Another client sees the same overlay.
    assert_eq!(model::read(&*filters.open(&open(4096)).unwrap(), 0..10), [1; 10]);
    assert!(Named::parse("retry").unwrap().apply(model::memory(10)).is_err());
}
